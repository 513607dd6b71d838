package tether

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/ratelimit/hint"
)

// heldTarget is a target of which credential 1 was told, on route 1 and by partition 7, to wait a minute.
func heldTarget(t *testing.T) (*Engine, *target.Target) {
	t.Helper()
	e, err := New(Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	at := e.targets.Make(target.Key{Host: "x"}, target.SettingsOf(builtinPolicy()), 1)
	at.Hold(at.LaneFor(1, 1, 7, hint.SomeRequests, true, e.rand), time.Minute)
	return e, at
}

func isHeld(at *target.Target, credential, route uint64) bool {
	l := at.Lane(credential, route)
	if l == nil {
		return false
	}
	until, _ := l.Gate.Status()
	return !until.IsZero()
}

// TestRemappedRouteStaysHeld: an answer to another credential names another partition of a route that is held: the
// first one's hold stays until its end, however many names follow. // law 2
func TestRemappedRouteStaysHeld(t *testing.T) {
	for _, names := range []int{1, 3, 20} {
		synctest.Test(t, func(t *testing.T) {
			e, at := heldTarget(t)
			for name := range uint64(names) {
				at.Hold(at.LaneFor(2, 1, 100+name, hint.SomeRequests, true, e.rand), time.Minute)
			}
			if !isHeld(at, 1, 1) {
				t.Errorf("%d names later the route isn't held", names)
			}
			time.Sleep(time.Minute)
			if isHeld(at, 1, 1) || isHeld(at, 2, 1) {
				t.Errorf("%d names later the route is held past its time", names)
			}
		})
	}
}

// TestEvictedRouteStaysHeld: a route that is held isn't forgotten for 3,000 others, held ones or not. // law 2
func TestEvictedRouteStaysHeld(t *testing.T) {
	for _, held := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e, at := heldTarget(t)
			for route := range uint64(3000) {
				name := 7 + route%100
				l := at.LaneFor(2, 10+route, name, hint.SomeRequests, held, e.rand)
				if held {
					at.Hold(l, time.Minute)
				}
				if n := len(at.Partitions.ByRoute); n > target.MaxRoutes || len(at.Lanes) > target.MaxLanes+1 {
					t.Fatalf("%d routes, %d lanes", n, len(at.Lanes))
				}
			}
			if !isHeld(at, 1, 1) {
				t.Errorf("others held: %v; 3,000 routes later the first isn't held", held)
			}
		})
	}
}

// TestFullTargetKeepsHolds: where there is no room for a partition's lane its credential's is held, also if it has one
// already; and a credential that gets a lane later keeps the hold that it shared. // law 2
func TestFullTargetKeepsHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, at := heldTarget(t)
		for credential := uint64(2); len(at.Lanes) < target.MaxLanes; credential++ {
			at.Hold(at.LaneFor(credential, 1, 0, hint.AllRequests, true, e.rand), time.Second)
		}
		at.Hold(at.LaneFor(2, 5, 9, hint.SomeRequests, true, e.rand), time.Minute)  // has a lane of its own
		at.Hold(at.LaneFor(999, 5, 0, hint.AllRequests, true, e.rand), time.Minute) // has none
		time.Sleep(2 * time.Second)
		if !isHeld(at, 2, 5) {
			t.Error("a partition's hold went to a lane that its credential doesn't look at")
		}
		if !isHeld(at, 999, 5) {
			t.Error("a credential without a lane isn't held")
		}
		at.LaneFor(999, 6, 11, hint.SomeRequests, true, e.rand) // idle lanes have made room
		if !isHeld(at, 999, 6) {
			t.Error("a credential that has got a lane isn't held any more")
		}
	})
}
