package tether

import (
	"sync"
	"testing"
)

// A target that is found without a look into the table is in use like any other; one that was
// forgotten is not found again.
func TestLastTarget(t *testing.T) {
	e, err := New(Options{MaxTargets: 1})
	if err != nil {
		t.Fatal(err)
	}
	key, p := targetKey{scheme: "http", host: "a.example"}, builtinPolicy()
	forget := func() bool {
		e.targets.mu.Lock()
		defer e.targets.mu.Unlock()
		return e.targets.forgetOne()
	}
	first := e.targets.use(key, p, 1)
	if again := e.targets.use(key, p, 1); again != first || first.users.Load() != 2 {
		t.Fatalf("%d users of a target that two calls have", first.users.Load())
	}
	first.release()
	if forget() {
		t.Error("a target was forgotten that a call has")
	}
	first.release()
	if !forget() {
		t.Fatal("an idle target was not forgotten")
	}
	if again := e.targets.use(key, p, 1); again == first || again.users.Load() != 1 {
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
				c := targetKey{host: string(rune('a' + (i/(worker+1))%4))}
				target := e.targets.use(c, p, 1)
				e.targets.mu.Lock()
				if known := e.targets.byKey[c]; known != target && e.targets.rest != target {
					t.Errorf("a call has a target of %v that was forgotten", c)
				}
				e.targets.mu.Unlock()
				target.release()
			}
		})
	}
	wg.Wait()
	for key, target := range e.targets.byKey {
		if n := target.users.Load(); n != 0 {
			t.Errorf("%d users of %v are left", n, key)
		}
	}
}
