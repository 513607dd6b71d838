// Package remoteconfigtest is what a [remoteconfig.Source] must do, as a test that any source can run.
//
//	func TestConformance(t *testing.T) {
//		remoteconfigtest.Run(t, func(t *testing.T) remoteconfigtest.Store { return newStore(t) })
//	}
//
// It runs in real time, against a real store, and takes a few seconds.
package remoteconfigtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/remoteconfig"
)

// soon bounds everything that is to happen at once, on a slow machine too.
const soon = 10 * time.Second

// maxDocument is the most bytes that a document may have.
const maxDocument = 1 << 20

// Store is a store that holds one document, which a test changes and takes away. The functions fail
// the test by themselves, and take effect before they return. They aren't called at the same time.
type Store struct {
	// Source returns a source of the document, as another process would have it.
	Source func() remoteconfig.Source
	// Put publishes a document; Delete takes it away.
	Put    func(document []byte)
	Delete func()
	// Stop has the store go away, and Start brings it back at the same place with what it had. Both
	// nil: it can't.
	Stop, Start func()
	// Secret must not be in the text of any error: part of an address or a credential. Empty: there
	// is none.
	Secret string
}

// Run runs the suite as subtests, each with a new store, which must be gone when its test ends.
func Run(t *testing.T, newStore func(t *testing.T) Store) {
	t.Helper()
	for _, test := range []struct {
		name  string
		check func(*testing.T, Store)
	}{
		{"fetch", fetch}, {"unchanged", unchanged}, {"replaced", replaced}, {"deleted", deleted},
		{"size", size}, {"content", content}, {"cancelled", cancelled}, {"away", away},
		{"watcher", watcher}, {"watch", watch},
	} {
		t.Run(test.name, func(t *testing.T) { test.check(t, newStore(t)) })
	}
}

// get fetches what must be there.
func get(t *testing.T, source remoteconfig.Source, tag string) remoteconfig.Fetched {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	fetched, err := source.Fetch(ctx, tag)
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	if len(fetched.Tag) > 1024 || strings.IndexFunc(fetched.Tag, func(r rune) bool {
		return r < ' ' || r > '~'
	}) >= 0 {
		t.Errorf("the tag %.40q is too long or isn't printable ASCII", fetched.Tag)
	}
	return fetched
}

func want(t *testing.T, got remoteconfig.Fetched, document []byte) {
	t.Helper()
	if got.Unchanged || !bytes.Equal(got.Document, document) {
		t.Fatalf("unchanged %t with %d bytes, want the document of %d bytes",
			got.Unchanged, len(got.Document), len(document))
	}
}

// refuse fetches what must fail.
func refuse(t *testing.T, store Store, source remoteconfig.Source, tag string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	fetched, err := source.Fetch(ctx, tag)
	if err == nil {
		t.Fatalf("no error, but unchanged %t and %d bytes", fetched.Unchanged, len(fetched.Document))
	}
	if store.Secret != "" && strings.Contains(err.Error(), store.Secret) {
		t.Errorf("the error tells %q: %v", store.Secret, err)
	}
	return err
}

func fetch(t *testing.T, store Store) {
	first := []byte(`{"version": 1}`)
	store.Put(first)
	source := store.Source()
	got := get(t, source, "")
	want(t, got, first)
	clear(got.Document) // it belongs to the caller
	want(t, get(t, source, ""), first)
	want(t, get(t, source, "never-heard-of"), first)
}

func unchanged(t *testing.T, store Store) {
	store.Put([]byte(`{"version": 1}`))
	tag := get(t, store.Source(), "").Tag
	if tag == "" {
		t.Skip("the source has no tags")
	}
	same := func(when string) {
		t.Helper()
		if got := get(t, store.Source(), tag); !got.Unchanged || len(got.Document) != 0 {
			t.Errorf("%s: unchanged %t with %d bytes", when, got.Unchanged, len(got.Document))
		}
	}
	same("in another process")
	if store.Stop != nil {
		store.Stop()
		store.Start()
		same("after a restart of the store")
	}
}

func replaced(t *testing.T, store Store) {
	source := store.Source()
	one, two := []byte(`{"version": 1}`), []byte(`{"version": 2}`)
	store.Put(one)
	first := get(t, source, "")
	store.Put(two)
	second := get(t, source, first.Tag)
	want(t, second, two)
	store.Put(one)
	want(t, get(t, source, second.Tag), one)
}

func deleted(t *testing.T, store Store) {
	source, document := store.Source(), []byte(`{"version": 1}`)
	refuse(t, store, source, "")
	store.Put(document)
	tag := get(t, source, "").Tag
	store.Delete()
	refuse(t, store, source, "")
	refuse(t, store, source, tag)
	store.Put(document)
	want(t, get(t, source, ""), document)
}

func size(t *testing.T, store Store) {
	source, whole := store.Source(), bytes.Repeat([]byte("x"), maxDocument+1)
	store.Put(whole[1:])
	want(t, get(t, source, ""), whole[1:])
	store.Put(whole)
	if err := refuse(t, store, source, ""); !errors.Is(err, remoteconfig.ErrTooLarge) {
		t.Errorf("a byte too many: %v, want ErrTooLarge", err)
	}
}

// content is not for a source to judge: it hands on what is there.
func content(t *testing.T, store Store) {
	source, all := store.Source(), make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	store.Put(all)
	got := get(t, source, "")
	want(t, got, all)
	store.Put(nil)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if empty, err := source.Fetch(ctx, got.Tag); err == nil {
		want(t, empty, nil)
	}
}

func cancelled(t *testing.T, store Store) {
	store.Put([]byte(`{"version": 1}`))
	source := store.Source()
	if store.Stop != nil {
		store.Stop()
		defer store.Start()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	_, _ = source.Fetch(ctx, "")
	if took := time.Since(began); took > soon/2 {
		t.Errorf("Fetch took %v with a context that had ended", took)
	}
}

func away(t *testing.T, store Store) {
	if store.Stop == nil {
		t.Skip("this store can't go away")
	}
	document := []byte(`{"version": 1}`)
	store.Put(document)
	source := store.Source()
	tag := get(t, source, "").Tag
	store.Stop()
	var fault *remoteconfig.FetchError
	if err := refuse(t, store, source, tag); !errors.As(err, &fault) {
		t.Errorf("%v is no FetchError", err)
	}
	store.Start()
	want(t, get(t, source, ""), document)
}
