package tether

import (
	"sync"
	"testing"

	"github.com/tether-go/tether/internal/target"
)

// A target that is found without a look into the table is in use like any other; one that was
// forgotten is not found again.
func TestLastTarget(t *testing.T) {
	e, err := New(Options{MaxTargets: 1})
	if err != nil {
		t.Fatal(err)
	}
	key, p := target.Key{Scheme: "http", Host: "a.example"}, builtinPolicy()
	forget := func() bool {
		e.targets.Mu.Lock()
		defer e.targets.Mu.Unlock()
		return e.targets.ForgetOne()
	}
	first := e.targets.Use(key, p, 1)
	if again := e.targets.Use(key, p, 1); again != first || first.Users.Load() != 2 {
		t.Fatalf("%d users of a target that two calls have", first.Users.Load())
	}
	first.Release()
	if forget() {
		t.Error("a target was forgotten that a call has")
	}
	first.Release()
	if !forget() {
		t.Fatal("an idle target was not forgotten")
	}
	if again := e.targets.Use(key, p, 1); again == first || again.Users.Load() != 1 {
		t.Error("a forgotten target has a call")
	}
}

// However calls and forgetting meet, no call has a target that is out of the table.
func TestLastTargetProperty(t *testing.T) {
	e, err := New(Options{MaxTargets: 2})
	if err != nil {
		t.Fatal(err)
	}
	p := builtinPolicy()
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				c := target.Key{Host: string(rune('a' + (i/(worker+1))%4))}
				target := e.targets.Use(c, p, 1)
				e.targets.Mu.Lock()
				if known := e.targets.ByKey[c]; known != target && e.targets.Rest != target {
					t.Errorf("a call has a target of %v that was forgotten", c)
				}
				e.targets.Mu.Unlock()
				target.Release()
			}
		})
	}
	wg.Wait()
	for key, target := range e.targets.ByKey {
		if n := target.Users.Load(); n != 0 {
			t.Errorf("%d users of %v are left", n, key)
		}
	}
}
