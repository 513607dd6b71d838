package remoteconfigtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tether-go/tether/remoteconfig"
)

// holder is a target that takes what looks like a document.
type holder struct{}

func (holder) Apply(document []byte) ([]string, error) {
	if len(document) == 0 || document[0] != '{' {
		return nil, errors.New("not a document")
	}
	return nil, nil
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !holds(); <-tick.C {
		if time.Since(began) > soon {
			t.Fatalf("not within %v: %s", soon, what)
		}
	}
}

func numbered(version int) []byte { return fmt.Appendf(nil, `{"version": %d}`, version) }

// watcher runs a real Watcher, as fast as one may poll, while the document and the store come and go:
// the last good document stays in force, and the next one is taken.
func watcher(t *testing.T, store Store) {
	store.Put(numbered(1))
	w, err := remoteconfig.New(store.Source(), holder{}, remoteconfig.Options{
		PollMin: time.Second, PollInterval: time.Second, Rand: func() float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = w.Run(ctx) })
	applied := func(version uint64) func() bool {
		return func() bool { s := w.Status(); return s.Applied == version && s.LastErr == nil }
	}
	fails := func() bool { s := w.Status(); return s.LastErr != nil }
	eventually(t, "version 1", applied(1))
	store.Put([]byte("garbage"))
	eventually(t, "garbage is refused", fails)
	store.Put(numbered(2))
	eventually(t, "version 2 after garbage", applied(2))
	store.Delete()
	eventually(t, "a deleted document is told", fails)
	if got := w.Status().Applied; got != 2 {
		t.Errorf("version %d is in force after the document was deleted, want 2", got)
	}
	store.Put(numbered(3))
	eventually(t, "version 3 after a deletion", applied(3))
	if store.Stop == nil {
		return
	}
	store.Stop()
	eventually(t, "an absent store is told", fails)
	if got := w.Status().Applied; got != 3 {
		t.Errorf("version %d is in force while the store is away, want 3", got)
	}
	store.Start()
	store.Put(numbered(4))
	eventually(t, "version 4 after the store came back", applied(4))
}

// watch takes what a Notifier promises: told when the watch stands, of each change, and again after
// the store was away; and nothing of it is left.
func watch(t *testing.T, store Store) {
	store.Put(numbered(1))
	source, can := store.Source().(remoteconfig.Notifier)
	if !can {
		t.Skip("this source can't be watched")
	}
	told := make(chan struct{}, 1)
	changed := func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}
	wait := func(what string) {
		t.Helper()
		select {
		case <-told:
		case <-time.After(soon):
			t.Fatalf("not told within %v: %s", soon, what)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { // as a Watcher does, but at once
		for ctx.Err() == nil {
			_ = source.Watch(ctx, changed)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	wait("the watch stands")
	store.Put(numbered(2))
	wait("of a change")
	store.Delete()
	wait("of a deletion")
	store.Put(numbered(3))
	wait("of a restored document")
	if store.Stop != nil {
		store.Stop()
		store.Start()
		wait("the watch stands again after a restart")
		store.Put(numbered(4))
		wait("of a change after a restart")
	}
	cancel()
	running.Wait()
	nothingLeft(t, source)
}

// nothingLeft sets up and ends many watches: if each left a goroutine, it would show among those
// that the store and its client have in any case.
func nothingLeft(t *testing.T, source remoteconfig.Notifier) {
	t.Helper()
	const times = 20
	before := runtime.NumGoroutine()
	for range times {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		began := time.Now()
		if err := source.Watch(ctx, cancel); err == nil {
			t.Error("a watch ended without an error")
		}
		cancel()
		if took := time.Since(began); took > soon/2 {
			t.Fatalf("a watch took %v to end", took)
		}
	}
	eventually(t, "no goroutine of an ended watch is left", func() bool {
		return runtime.NumGoroutine() < before+times/2
	})
}
