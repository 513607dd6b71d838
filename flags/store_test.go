package flags

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// A store is what a remoteconfig.Watcher hands documents to.
var _ interface {
	Apply(document []byte) (notes []string, err error)
} = (*Store)(nil)

func mustNew(t testing.TB, options Options) *Store {
	t.Helper()
	store, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func mustApply(t testing.TB, store *Store, document string) []string {
	t.Helper()
	notes, err := store.Apply([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

const twoFlags = `{"$evaluators": {"e": {"==": [{"var": "x"}, 1]}}, "flags": {
	"a": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on", "metadata": {"m": 1}},
	"b": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off", "targeting": {"if": [{"$ref": "e"}, "on"]}}}}`

func TestChangedFlags(t *testing.T) {
	var heard []string
	store := mustNew(t, Options{})
	store.Listen(func(keys []string) { heard = append(heard, strings.Join(keys, ",")) })
	document := twoFlags
	for _, step := range []struct{ old, new, want string }{
		{"", "", "a,b"},
		{"", "", ""},
		{`"m": 1`, `"m": 2`, "a"},
		{`"x"}, 1`, `"x"}, 2`, "b"},
		{`"a": {"state": "ENABLED"`, `"a": {"state": "DISABLED"`, "a"},
		{`"a": {`, `"c": {`, "a,c"},
		{`"flags": {`, `"metadata": {"all": 1}, "flags": {`, "b,c"},
		{`"flags": {`, `"flags"  :  {`, ""},
	} {
		document = strings.Replace(document, step.old, step.new, 1)
		heard = nil
		mustApply(t, store, document)
		if got := strings.Join(heard, ";"); got != step.want {
			t.Errorf("%s for %s: changed %q, want %q", step.new, step.old, got, step.want)
		}
	}
}

// TestRefusedDocumentChangesNothing: what was in force stays, and nobody hears of it.
func TestRefusedDocumentChangesNothing(t *testing.T) {
	calls := 0
	store := mustNew(t, Options{})
	store.Listen(func([]string) { calls++ })
	if !store.Bool(nil, "a", true) || store.Bool(nil, "a", false) || store.Int(nil, "a", 5) != 5 {
		t.Error("a store without a document doesn't give the caller's default")
	}
	mustApply(t, store, twoFlags)
	before := store.Current()
	_, err := store.Apply([]byte(strings.Replace(twoFlags, `"==": [`, `"====": [`, 1)))
	var refused *DocumentError
	if !errors.As(err, &refused) || refused.Problems[0].Line != 1 || !strings.Contains(err.Error(), `did you mean "==="?`) {
		t.Errorf("%v", err)
	}
	if store.Current() != before || calls != 1 || !store.Bool(nil, "a", false) {
		t.Error("a refused document changed something")
	}
	notes := mustApply(t, store, strings.Replace(twoFlags, `"defaultVariant": "on"`, `"defaultVarient": "on"`, 1))
	want := []string{`line 2: flags.a.defaultVarient: not known to this version, ignored: did you mean "defaultVariant"?`}
	if !reflect.DeepEqual(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
}

// TestRequirement5EachIsUndoneAlone: one push turns one flag off, for whoever asks next.
func TestRequirement5EachIsUndoneAlone(t *testing.T) {
	store := mustNew(t, Options{})
	mustApply(t, store, twoFlags)
	as := Attributes{"x": 1}
	if !store.Bool(nil, "a", false) || !store.Bool(as, "b", false) {
		t.Fatal("the flags are off")
	}
	mustApply(t, store, strings.Replace(twoFlags, `"a": {"state": "ENABLED"`, `"a": {"state": "DISABLED"`, 1))
	if store.Bool(nil, "a", false) || !store.Bool(as, "b", false) {
		t.Error("turning a off left it on, or took b with it")
	}
}

// TestW33EvaluationWaitsForNobody: not for a document that is being applied, nor for a listener that hangs.
func TestW33EvaluationWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		store := mustNew(t, Options{})
		store.Listen(func([]string) { <-hang })
		var applying sync.WaitGroup
		applying.Go(func() { mustApply(t, store, twoFlags) })
		synctest.Wait()
		if !store.Bool(nil, "a", false) {
			t.Error("the document isn't in force while the listener hangs")
		}
		mustApply(t, store, strings.Replace(twoFlags, `"defaultVariant": "on"`, `"defaultVariant": "off"`, 1))
		if store.Bool(nil, "a", true) {
			t.Error("the second document waits for the listener")
		}
		store.mu.Lock()
		store.Bool(nil, "a", true)
		store.mu.Unlock()
		close(hang)
		applying.Wait()
	})
}

// TestSetsAgreeWithThemselves: whoever keeps a set sees one version of all flags while others apply.
func TestSetsAgreeWithThemselves(t *testing.T) {
	store := mustNew(t, Options{})
	version := func(n int) string {
		return fmt.Sprintf(`{"flags": {"a": {"state": "ENABLED", "variants": {"v": %d}, "defaultVariant": "v"},
			"b": {"state": "ENABLED", "variants": {"v": %d}, "defaultVariant": "v", "targeting": {"if": [{"var": "x"}, "v"]}}}}`, n, n)
	}
	mustApply(t, store, version(0))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				set := store.Current()
				if a, b := set.Int(nil, "a", -1), set.Int(Attributes{"x": true}, "b", -2); a != b {
					t.Errorf("a is %d and b is %d", a, b)
					return
				}
			}
		})
	}
	for n := range 200 {
		mustApply(t, store, version(n))
	}
	all.Wait()
}
