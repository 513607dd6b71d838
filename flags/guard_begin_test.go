package flags

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestGuardedCalls: a caller that runs the paths itself is counted as Do counts, each path once.
func TestGuardedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, allOn, GuardPolicy{}, GuardOptions{})
		served := g.Begin(true)
		served.Done(false, time.Second, nil)
		served.Done(true, time.Second, errFailed) // too late
		served.Cancel()
		fell := g.Begin(true)
		if !fell.New() {
			t.Error("has the flag and is not to run the new path")
		}
		fell.Done(true, time.Second, errFailed)
		fell.FallBack(errFailed)
		fell.FallBack(errFailed) // it has
		if fell.New() {
			t.Error("still of the new path")
		}
		fell.Done(false, time.Second, nil)
		without := g.Begin(false)
		without.Cancel()
		without.Done(true, time.Second, errFailed)
		var none GuardedCall
		none.Done(true, 0, nil)
		none.FallBack(nil)
		if s := g.Status(); s.New != (GuardCounts{Calls: 2, Failures: 1}) || s.Old != (GuardCounts{Calls: 1}) || s.Fallbacks != 1 {
			t.Errorf("%+v", s)
		}
		if len(g.events) != 1 || g.events[0].Kind != FellBack || g.events[0].Err != errFailed {
			t.Errorf("%+v", g.events)
		}
		for range 30 { // of each path
			broken := g.Begin(true)
			broken.Done(true, time.Second, errFailed)
			broken.FallBack(errFailed)
			broken.Done(false, time.Second, nil)
		}
		if off := g.Begin(true); !g.Status().Off || off.New() {
			t.Errorf("not turned off: %+v", g.Status())
		}
		if err := g.Do(context.Background(), Attributes{}, func(context.Context) error { return errFailed },
			func(context.Context) error { return nil }); err != nil {
			t.Error("Do runs the new path")
		}
	})
}
