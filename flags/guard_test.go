package flags

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const halfOn = `{"flags": {"flags": {"f": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
	"targeting": {"fractional": [["on", 50], ["off", 50]]}}}}, "flagSettings": {"guards": {"f": {}}}}`

var allOn = strings.Replace(halfOn, `["on", 50], ["off", 50]`, `["on", 1]`, 1)

// guarded is a guard with two paths that fail as told.
type guarded struct {
	*Guard
	store  *Store
	rng    *rand.Rand
	events []GuardEvent
	calls  int
}

func newGuarded(t testing.TB, document string, policy GuardPolicy, options GuardOptions) *guarded {
	t.Helper()
	g := &guarded{store: mustNew(t, Options{Load: LoadOptions{Format: Tether}}), rng: rand.New(rand.NewPCG(1, 2))}
	mustApply(t, g.store, document)
	options.Observe = func(e GuardEvent) { g.events = append(g.events, e) }
	var err error
	if g.Guard, err = NewGuard(g.store, "f", policy, options); err != nil {
		t.Fatal(err)
	}
	return g
}

var errFailed = errors.New("failed")

// call makes one call whose paths fail at the two rates, and tells whether the new one ran.
func (g *guarded) call(newRate, oldRate float64) (fresh bool, err error) {
	g.calls++
	who := Attributes{TargetingKey: strconv.Itoa(g.calls)}
	fail := func(rate float64) error {
		if g.rng.Float64() < rate {
			return errFailed
		}
		return nil
	}
	err = g.Do(context.Background(), who,
		func(context.Context) error { fresh = true; return fail(newRate) },
		func(context.Context) error { return fail(oldRate) })
	return fresh, err
}

func (g *guarded) kinds() string {
	kinds := []string{}
	for _, e := range g.events {
		if e.Kind != FellBack {
			kinds = append(kinds, string(e.Kind))
		}
	}
	return strings.Join(kinds, ", ")
}

// TestW31GuardTurnsOff: 30 % failures of the new path turn the flag off within the window, and the old path is
// never touched.
func TestW31GuardTurnsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, halfOn, GuardPolicy{}, GuardOptions{})
		start, newCalls := time.Now(), 0
		for !g.Status().Off && time.Since(start) < time.Minute {
			if fresh, _ := g.call(0.3, 0); fresh {
				newCalls++
			}
			time.Sleep(100 * time.Millisecond)
		}
		status := g.Status()
		if !status.Off || newCalls > 200 {
			t.Fatalf("off: %v after %d calls and %v", status.Off, newCalls, time.Since(start))
		}
		t.Logf("off after %v, %d calls of the new path, %d failures", time.Since(start), newCalls, status.New.Failures)
		if status.Old.Failures != 0 {
			t.Errorf("%+v", status)
		}
		for range 1000 {
			if fresh, err := g.call(1, 0); fresh || err != nil {
				t.Fatal("the new path runs while the flag is off")
			}
			time.Sleep(time.Second)
		}
		if e := g.events[len(g.events)-1]; g.kinds() != "turned off" || e.New.Failures == 0 || e.Old.Calls < 20 {
			t.Errorf("events %+v", g.events)
		}
	})
}

// TestW31NoiseTripsNothing: a million calls, where the new path fails at 0.1 %, and where both fail alike.
func TestW31NoiseTripsNothing(t *testing.T) {
	for _, test := range []struct {
		fresh, old float64
		calls      int
	}{
		{0.001, 0, 1_000_000}, {0.3, 0.3, 1_000_000}, {0.001, 0.001, 100_000}, {0.04, 0, 100_000},
		{0.5, 0.5, 100_000}, {0.9, 0.9, 100_000}, {1, 1, 100_000},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGuarded(t, halfOn, GuardPolicy{}, GuardOptions{})
			for i := range test.calls {
				g.call(test.fresh, test.old)
				if i%20 == 0 {
					time.Sleep(time.Second)
				}
			}
			if len(g.events) > 0 {
				t.Errorf("failing at %v and %v: %+v", test.fresh, test.old, g.events)
			}
		})
	}
}

// TestRequirement4NewPathFailsByItself: with FallBack neither error nor panic nor hang of the new path
// reaches the caller, and the guard learns from the fallbacks even where everybody has the flag.
func TestRequirement4NewPathFailsByItself(t *testing.T) {
	for name, fresh := range map[string]func(context.Context) error{
		"error": func(context.Context) error { return errFailed },
		"panic": func(context.Context) error { panic("new") },
		"hang":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuarded(t, allOn, GuardPolicy{}, GuardOptions{FallBack: true, Timeout: time.Second})
				for range 30 {
					answered := false
					err := g.Do(context.Background(), Attributes{TargetingKey: "a"}, fresh,
						func(context.Context) error { answered = true; return nil })
					if err != nil || !answered {
						t.Fatalf("%v, answered by the old path: %v", err, answered)
					}
				}
				if s := g.Status(); !s.Off || s.Fallbacks != 21 || s.New.Failures != 21 || g.kinds() != "turned off" {
					t.Errorf("%+v, events %s", s, g.kinds())
				}
				var panicked *PanicError
				if e := g.events[0]; e.Kind != FellBack || e.Err == nil || errors.As(e.Err, &panicked) != (name == "panic") {
					t.Errorf("first event %+v", e)
				}
			})
		})
	}
}

// TestBackendThatIsDownTripsNothing: the fallbacks fail, too.
func TestBackendThatIsDownTripsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, allOn, GuardPolicy{}, GuardOptions{FallBack: true})
		for range 10_000 {
			if fresh, err := g.call(1, 1); !fresh || err == nil {
				t.Fatal("it answers")
			}
		}
		if g.kinds() != "" {
			t.Error(g.kinds())
		}
	})
}

// TestWithoutFallBackTheFailureIsTheCallers: the guard counts it and hands it on.
func TestWithoutFallBackTheFailureIsTheCallers(t *testing.T) {
	g := newGuarded(t, allOn, GuardPolicy{}, GuardOptions{Failed: func(err error) bool { return err != context.Canceled }})
	old := func(context.Context) error { t.Error("the old path ran"); return nil }
	do := func(ctx context.Context, fresh func(context.Context) error) (value any, err error) {
		defer func() { value = recover() }()
		return nil, g.Do(ctx, Attributes{TargetingKey: "a"}, fresh, old)
	}
	if _, err := do(context.Background(), func(context.Context) error { return errFailed }); err != errFailed {
		t.Error(err)
	}
	if value, _ := do(context.Background(), func(context.Context) error { panic("new") }); value != "new" {
		t.Error(value)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := do(cancelled, func(ctx context.Context) error { return errFailed }); err != errFailed {
		t.Error(err)
	}
	if _, err := do(context.Background(), func(context.Context) error { return context.Canceled }); err != context.Canceled {
		t.Error(err)
	}
	var ended sync.WaitGroup
	ended.Go(func() { _, _ = do(context.Background(), func(context.Context) error { runtime.Goexit(); return nil }) })
	ended.Wait()
	if s := g.Status(); s.New != (GuardCounts{Calls: 3, Failures: 2}) || s.Old != (GuardCounts{}) || s.Fallbacks != 0 {
		t.Errorf("%+v", s)
	}
}

// TestReentry: after the latch five calls, one at a time, decide; a push doesn't end the latch, but a
// shorter one does.
func TestReentry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, halfOn, GuardPolicy{Latch: time.Hour}, GuardOptions{Seed: 7})
		breakIt := func() {
			for range 1000 {
				g.call(1, 0)
				if g.Status().Off {
					return
				}
			}
			t.Fatal("nothing turns it off")
		}
		until := func(limit time.Duration) time.Duration {
			start := time.Now()
			for time.Since(start) < limit {
				if fresh, _ := g.call(1, 0); fresh {
					break
				}
				time.Sleep(time.Second)
			}
			return time.Since(start)
		}
		breakIt()
		mustApply(t, g.store, strings.Replace(halfOn, `["off", 50]`, `["off", 49]`, 1))
		if took := until(2 * time.Hour); took < time.Hour || took > 75*time.Minute+10*time.Second {
			t.Errorf("tried again after %v", took)
		}
		if g.kinds() != "turned off, trying again, stays off" {
			t.Error(g.kinds())
		}
		mustApply(t, g.store, strings.Replace(halfOn, `"f": {}}}`, `"f": {"latch": "60s"}}}`, 1))
		if took := until(time.Hour); took < time.Minute || took > 76*time.Second+10*time.Second {
			t.Errorf("tried again after %v", took)
		}
		g.events = nil
		time.Sleep(2 * time.Minute)
		for range 10 * reentry {
			g.call(0, 0)
		}
		if g.kinds() != "trying again, turned on" || g.Status().Off {
			t.Error(g.kinds())
		}
	})
}

// TestProbesAreFewAndLapse: one at a time; one that hangs frees its place, and its late result changes nothing.
func TestProbesAreFewAndLapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, allOn, GuardPolicy{Latch: time.Minute}, GuardOptions{FallBack: true})
		for range 30 {
			g.call(1, 0)
		}
		time.Sleep(2 * time.Minute)
		release, under := make(chan struct{}), 0
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				_ = g.Do(context.Background(), Attributes{TargetingKey: "a"},
					func(context.Context) error { under++; <-release; return nil },
					func(context.Context) error { return nil })
			})
			synctest.Wait()
		}
		if under != 1 {
			t.Errorf("%d probes at once", under)
		}
		time.Sleep(probeLease)
		g.call(0, 0) // notices
		close(release)
		all.Wait()
		if want := "turned off, trying again, stays off"; g.kinds() != want {
			t.Errorf("%s, want %s", g.kinds(), want)
		}
	})
}

// TestLateResultsChangeNothing: a probe that fails long after its lease has nothing to say about the probes
// of a later latch.
func TestLateResultsChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, allOn, GuardPolicy{Latch: time.Minute}, GuardOptions{FallBack: true})
		for range 30 {
			g.call(1, 0)
		}
		time.Sleep(2 * time.Minute)
		release := make(chan struct{})
		var late sync.WaitGroup
		late.Go(func() {
			_ = g.Do(context.Background(), Attributes{TargetingKey: "a"},
				func(context.Context) error { <-release; return errFailed },
				func(context.Context) error { return nil })
		})
		time.Sleep(probeLease)
		g.call(0, 0) // notices
		time.Sleep(2 * time.Minute)
		g.call(0, 0) // tries again
		close(release)
		late.Wait()
		for range reentry - 1 {
			g.call(0, 0)
		}
		if want := "turned off, trying again, stays off, trying again, turned on"; g.kinds() != want {
			t.Errorf("%s, want %s", g.kinds(), want)
		}
	})
}

// TestSlownessTripsWhereAskedFor: four times as long, against a policy of twice; and not by default.
func TestSlownessTripsWhereAskedFor(t *testing.T) {
	for _, test := range []struct {
		policy GuardPolicy
		factor time.Duration
		want   bool
	}{{GuardPolicy{SlowerBy: 2}, 4, true}, {GuardPolicy{SlowerBy: 2}, 1, false}, {GuardPolicy{}, 4, false}} {
		synctest.Test(t, func(t *testing.T) {
			g := newGuarded(t, halfOn, test.policy, GuardOptions{})
			take := func(factor time.Duration) func(context.Context) error {
				return func(context.Context) error {
					time.Sleep(factor * time.Duration(10+90*g.rng.Float64()) * time.Millisecond)
					return nil
				}
			}
			for i := range 600 {
				_ = g.Do(context.Background(), Attributes{TargetingKey: strconv.Itoa(i)}, take(test.factor), take(1))
			}
			if g.Status().Off != test.want {
				t.Errorf("%+v, %d times as slow: %+v", test.policy, test.factor, g.Status())
			}
		})
	}
}

// TestOldFailuresLeaveTheWindow: the paths are compared at the same time.
func TestOldFailuresLeaveTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, halfOn, GuardPolicy{}, GuardOptions{})
		for range 18 { // about nine calls each: too few to tell
			g.call(1, 0)
		}
		time.Sleep(time.Minute)
		for range 200 {
			g.call(0, 0)
		}
		fresh, old := g.window.sums()
		if fresh.counts.Failures != 0 || fresh.counts.Calls == 0 || old.counts.Calls == 0 {
			t.Errorf("after a window: %+v, %+v", fresh.counts, old.counts)
		}
	})
}

func TestGuardPolicy(t *testing.T) {
	if err := (GuardPolicy{}).Validate(); err != nil {
		t.Error(err)
	}
	for want, policy := range map[string]GuardPolicy{
		"minCalls": {MinCalls: 1}, "worseBy": {WorseBy: 1.5}, "slowerBy": {SlowerBy: 1},
		"window": {Window: time.Millisecond}, "latch": {Latch: -time.Second},
	} {
		if err := policy.Validate(); err == nil || !strings.HasPrefix(err.Error(), "flags: "+want+" is ") {
			t.Errorf("%+v: %v", policy, err)
		}
		if _, err := NewGuard(mustNew(t, Options{}), "f", policy, GuardOptions{}); err == nil {
			t.Errorf("took %+v", policy)
		}
	}
	store := mustNew(t, Options{})
	for _, err := range []error{
		second(NewGuard(nil, "f", GuardPolicy{}, GuardOptions{})), second(NewGuard(store, "", GuardPolicy{}, GuardOptions{})),
		second(NewGuard(store, "f", GuardPolicy{}, GuardOptions{Timeout: -1})),
	} {
		if err == nil {
			t.Error("took what is impossible")
		}
	}
	p := GuardPolicy{MinCalls: 2, WorseBy: 0.5, SlowerBy: 3, Window: time.Second, Latch: time.Second}
	if got := overlaid(GuardPolicy{}, p); got != p || overlaid(p, GuardPolicy{}) != p {
		t.Errorf("%+v", got)
	}
	if fmt.Sprint(GuardPolicy{}.WithDefaults()) != "{20 0.05 0 1m0s 1h0m0s}" {
		t.Error(GuardPolicy{}.WithDefaults())
	}
}

func second(_ *Guard, err error) error { return err }
