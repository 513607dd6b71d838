package tether

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/target"
)

// crowded is an engine whose table is full of targets of 256 lanes each.
func crowded(t testing.TB, targets, lanes int) *Engine {
	t.Helper()
	e, err := New(Options{Seed: 1, MaxTargets: targets})
	if err != nil {
		t.Fatal(err)
	}
	for i := range targets {
		x := e.targets.Find(target.Key{Host: fmt.Sprint("host", i)}, builtinPolicy(), 1)
		x.Mu.Lock()
		for l := range lanes {
			x.OpenLane(target.LaneKey{Credential: uint64(l + 1)}, e.rand)
		}
		x.Mu.Unlock()
	}
	return e
}

// TestForgettingLooksAtFewLanes: room for a new server costs at most one target's worth of lanes, which aren't looked at
// again. Lanes that are held keep their target (law 2).
func TestForgettingLooksAtFewLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const targets = 40
		e := crowded(t, targets, target.MaxLanes)
		lanes := func() (n int) {
			for _, x := range e.targets.ByKey {
				n += len(x.Lanes)
			}
			return n
		}
		for room := range targets {
			before := lanes()
			if !e.targets.ForgetOne() {
				t.Fatalf("no room was made for server %d", room)
			}
			if looked := before - lanes(); looked > target.MaxLanes+1 {
				t.Errorf("%d lanes were looked at", looked)
			}
			if left := e.targets.ByKey; len(left) != targets-room-1 {
				t.Fatalf("%d targets are left", len(left))
			}
		}
		e = crowded(t, targets, 3)
		for _, x := range e.targets.ByKey {
			x.Hold(x.Lanes[target.LaneKey{Credential: 2, Partition: 0}], time.Minute)
		}
		if e.targets.ForgetOne() {
			t.Error("a hold was forgotten")
		}
		time.Sleep(10 * time.Minute)
		if !e.targets.ForgetOne() {
			t.Error("a hold that has ended keeps its target")
		}
	})
}

// TestForgottenPermitLapses: laws 5 and 11: a permit without Done keeps its target in the table for an hour, and no longer.
func TestForgottenPermitLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Options{Seed: 1, MaxTargets: 4})
		if err != nil {
			t.Fatal(err)
		}
		begin := func(host string) *Permit {
			p, err := e.Begin(t.Context(), Call{Host: host})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		var forgotten []*Permit
		for i := range 4 {
			forgotten = append(forgotten, begin(fmt.Sprint("host", i)))
		}
		time.Sleep(50 * time.Minute)
		begin("new").Done(Outcome{Class: Healthy})
		if e.targets.Rest == nil || len(e.targets.ByKey) != 4 {
			t.Fatal("a call that may still be under way doesn't keep its target")
		}
		time.Sleep(11 * time.Minute)
		begin("new").Done(Outcome{Class: Healthy})
		if e.targets.ByKey[target.Key{Host: "new"}] == nil {
			t.Error("forgotten permits keep their targets after an hour")
		}
		for i, p := range forgotten { // late, and harmless
			p.Done(Outcome{Class: Healthy})
			begin(fmt.Sprint("host", i)).Done(Outcome{Class: Healthy})
		}
	})
}

// BenchmarkNewServer: what a call to a new server pays where the table is full, with and without lanes in it.
func BenchmarkNewServer(b *testing.B) {
	for _, lanes := range []int{0, target.MaxLanes} {
		b.Run(fmt.Sprint(lanes, "lanes"), func(b *testing.B) {
			e := crowded(b, 1000, lanes)
			for _, x := range e.targets.ByKey {
				for _, l := range x.Lanes { // one in the way: else they are gone after a look
					l.Gate.Hold(time.Hour)
					break
				}
			}
			b.ResetTimer()
			for i := range b.N {
				e.targets.Find(target.Key{Host: fmt.Sprint("new", i)}, builtinPolicy(), 1)
			}
		})
	}
}
