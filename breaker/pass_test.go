package breaker

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPassIsRight: a look without the lock sees a call's generation while every call passes untimed, else 0.
func TestPassIsRight(t *testing.T) {
	timed := Policy{SlowCallRatio: 0.5, SlowCallDuration: time.Second}
	for _, test := range []struct {
		policy       Policy
		closed, then uint64 // in generation 0, and after it has opened and closed
	}{
		{Policy{}, 1, 4},
		{Policy{Mode: ObserveOnly}, 1, 4},
		{Policy{SlowCallRatio: 0.5}, 1, 4},
		{Policy{SlowCallDuration: time.Second}, 1, 4},
		{timed, 0, 0},
		{Policy{Mode: ForcedOpen}, 0, 0},
		{Policy{Mode: ForcedClosed}, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, test.policy, Options{})
			expect := func(when string, want uint64) {
				if got := b.pass.Load(); got != want {
					t.Errorf("%+v: %d %s, want %d", test.policy, got, when, want)
				}
			}
			push := func(p Policy) {
				if err := b.SetPolicy(p); err != nil {
					t.Fatal(err)
				}
			}
			expect("when new", test.closed)
			push(Policy{})
			expect("when set to defaults", 1)
			push(test.policy)
			expect("when set", test.closed)
			push(Policy{})
			fail(b, 5)
			expect("when open", 0)
			push(test.policy)
			expect("when set while open", 0)
			push(Policy{})
			time.Sleep(time.Minute)
			b.State()
			expect("when half-open", 0)
			push(test.policy)
			expect("when set while half-open", 0)
			push(Policy{})
			probe, err := b.Allow()
			if err != nil {
				t.Fatal(err)
			}
			expect("with a probe out", 0)
			probe.Done(Success)
			expect("when closed again", 4)
			push(test.policy)
			expect("when set after that", test.then)
			if ticket, err := b.Allow(); err == nil && ticket.call != nil && ticket.call.generation != 3 {
				t.Errorf("%+v: a ticket of generation %d", test.policy, ticket.call.generation)
			}
		})
	}
}

// TestAllowBesideChanges: the look without the lock, beside all that changes what it sees. Whoever asks after
// SetPolicy has returned is answered by that policy, and no ticket of an earlier state counts.
func TestAllowBesideChanges(t *testing.T) {
	b := mustNew(t, Policy{}, Options{})
	modes := []Mode{Auto, ForcedOpen, ForcedClosed, Auto, ObserveOnly}
	var set atomic.Int64 // the mode in force, as 1 + its index + len(modes) * n; 0: it is being changed
	var callers sync.WaitGroup
	var stop atomic.Bool
	var seen [5]atomic.Int64
	kept := make([][]Ticket, 4)
	for i := range kept {
		callers.Go(func() {
			var room Room
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for !stop.Load() {
				before := set.Load()
				ticket, err := b.AllowIn(&room)
				if before == 0 || set.Load() != before {
					ticket.Done(Ignored)
					continue
				}
				mode := (before - 1) % int64(len(modes))
				seen[mode].Add(1)
				var open *OpenError
				switch modes[mode] {
				case ForcedOpen:
					if !errors.As(err, &open) || !open.Forced {
						t.Errorf("forced open, and %v", err)
					}
				case ForcedClosed, ObserveOnly:
					if err != nil || modes[mode] == ForcedClosed && ticket.call != nil {
						t.Errorf("%s, and %v", modes[mode], err)
					}
				default:
					if errors.As(err, &open) && open.Forced {
						t.Error("forced, though the mode is auto")
					}
				}
				ticket.Done(Result(rng.IntN(5)))
				if old, err := b.Allow(); err == nil && len(kept[i]) < 1000 {
					kept[i] = append(kept[i], old)
				}
				b.State()
			}
		})
	}
	for n := range int64(100) {
		mode := n % int64(len(modes))
		set.Store(0)
		policy := Policy{Mode: modes[mode], OpenTime: time.Millisecond, ConsecutiveFailures: 2 + int(n%3)}
		if err := b.SetPolicy(policy); err != nil {
			t.Fatal(err)
		}
		set.Store(1 + mode + int64(len(modes))*n)
		for before := seen[mode].Load(); seen[mode].Load() < before+5; runtime.Gosched() {
			b.mu.Lock()
			pass, want := b.pass.Load(), uint64(0)
			if b.state == Closed && !b.policy.Mode.forced() {
				want = b.generation + 1
			}
			b.mu.Unlock()
			if pass != want {
				t.Fatalf("%d, want %d", pass, want)
			}
		}
	}
	stop.Store(true)
	callers.Wait()

	if err := b.SetPolicy(Policy{Mode: ForcedClosed}); err != nil { // stands still
		t.Fatal(err)
	}
	if b.generation == 0 {
		t.Error("nothing opened: it proves little")
	}
	var now, earlier int
	want := b.Health()
	b.policy.Mode = Auto
	for _, ticket := range slices.Concat(kept...) {
		if ticket.call == nil || ticket.Probe() {
			continue
		}
		if uint64(ticket.call.generation) == b.generation {
			now++
			continue
		}
		earlier++
		ticket.Done(Failure)
	}
	b.policy.Mode = ForcedClosed
	if got := b.Health(); got != want || earlier == 0 {
		t.Errorf("%d tickets of earlier states, beside %d of this: from %+v to %+v", earlier, now, want, got)
	}
}
