package tether

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/ratelimit/hint"
)

// quietly makes an engine whose target is quiet, and returns that.
func quietly(t *testing.T, what Call, usual time.Duration) (*Engine, *target.Target) {
	t.Helper()
	e, err := New(Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := e.Do(t.Context(), what, within(usual)); err != nil {
			t.Fatal(err)
		}
	}
	target := e.targets.Last.Load()
	if !target.Fast.On.Load() {
		t.Fatal("the target is not quiet")
	}
	return e, target
}

func served(context.Context, *Permit) Outcome { return Outcome{Class: Healthy} }

// within answers after a time.
func within(d time.Duration) func(context.Context, *Permit) Outcome {
	return func(context.Context, *Permit) Outcome {
		time.Sleep(d)
		return Outcome{Class: Healthy}
	}
}

var db = Call{Host: "orders-db", CallOptions: CallOptions{Idempotent: true}}

// What a burst of long ago allowed must not be allowed later, whatever call first hears of it (laws 1 and 4).
func TestQuietCallsAreDated(t *testing.T) {
	for name, next := range map[string]func(*testing.T, *Engine){
		"nothing": func(*testing.T, *Engine) {},
		"a call":  func(t *testing.T, e *Engine) { e.Do(t.Context(), db, served) },
		"a stream": func(t *testing.T, e *Engine) {
			p, err := e.Begin(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			p.Done(Outcome{Class: Healthy})
		},
		"an explained call": func(t *testing.T, e *Engine) {
			what := db
			what.Explained = true
			e.Do(t.Context(), what, served)
		},
		"a failure": func(t *testing.T, e *Engine) {
			e.Do(t.Context(), db, func(context.Context, *Permit) Outcome { return Outcome{Class: Transient, Final: true} })
		},
		"a critical call": func(t *testing.T, e *Engine) { e.Do(criticality.With(t.Context(), criticality.Critical), db, served) },
	} {
		for burst, took := range map[string]time.Duration{"short": time.Millisecond, "long": time.Minute} {
			t.Run(burst+" calls, then "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e, _ := quietly(t, db, took)
					time.Sleep(time.Minute)
					var wg sync.WaitGroup
					for range 5000 {
						wg.Go(func() { e.Do(t.Context(), db, within(took)) })
					}
					wg.Wait()
					if took < time.Minute {
						time.Sleep(time.Minute)
					}
					next(t, e)
					h := e.Health().Targets[0]
					if h.RetriesSaved > 2 || h.RetriesSavedLimit > 2 {
						t.Errorf("%v of %v re-attempts are saved a minute after the burst", h.RetriesSaved, h.RetriesSavedLimit)
					}
					if h.UsualPerSecond > 20 {
						t.Errorf("%v calls a second are usual a minute after the burst", h.UsualPerSecond)
					}
				})
			})
		}
	}
}

// Whoever has heard of a hold, or of pacing, is kept back by it: no good answer that comes at the same moment calms
// the target down meanwhile (law 2).
func TestNoCallIsQuietOnceAHoldIsTold(t *testing.T) {
	impatient := db
	impatient.NoWait = true
	for range 100 {
		var e *Engine
		var passed atomic.Bool
		e, err := New(Options{Seed: 1, Observe: func(ev Event) {
			if ev.Kind == EventHeld {
				for range 3 {
					err := e.Do(context.Background(), impatient, func(context.Context, *Permit) Outcome {
						passed.Store(true)
						return Outcome{}
					})
					if err == nil {
						passed.Store(true)
					}
				}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			e.Do(t.Context(), db, within(time.Microsecond))
		}
		var over atomic.Bool
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for !over.Load() {
					e.Do(t.Context(), impatient, served)
				}
			})
		}
		held := Outcome{Class: Overloaded, Final: true, Hint: hint.Hint{Wait: time.Minute, Explicit: true}}
		wg.Go(func() {
			e.Do(t.Context(), db, func(context.Context, *Permit) Outcome { return held })
			over.Store(true)
		})
		wg.Wait()
		if passed.Load() {
			t.Fatal("a call passed after the hold was told")
		}
	}
}

// Good answers of long calls are counted when they come, so that failures among them are the few that they are
// (law 10).
func TestQuietAnswersCountWhenTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const usual = 40 * time.Second // longer than the breaker's window
		e, target := quietly(t, db, usual)
		time.Sleep(time.Minute)
		var first atomic.Bool
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				e.Do(t.Context(), db, func(_ context.Context, p *Permit) Outcome {
					if p.call.Timed && !first.Swap(true) {
						time.Sleep(usual + 2*time.Second)
						return Outcome{Class: Healthy}
					}
					if i%12 == 5 {
						time.Sleep(usual + time.Second)
						return Outcome{Class: Transient, Status: 500, Final: true}
					}
					time.Sleep(usual)
					return Outcome{Class: Healthy}
				})
			})
		}
		wg.Wait()
		if state := target.Breaker.State(); state != breaker.Closed {
			t.Errorf("the breaker is %v: one call in twelve failed", state)
		}
	})
}

// After as many spells as can be told apart, calls are counted as before.
func TestQuietSpellsOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, target := quietly(t, db, time.Millisecond)
		fails := func(context.Context, *Permit) Outcome {
			time.Sleep(10 * time.Millisecond)
			return Outcome{Class: Transient, Err: errFailed, Final: true}
		}
		target.Fast.Generation = math.MaxUint32 - 2
		for range 6 {
			e.Do(t.Context(), db, fails)
			e.Do(t.Context(), db, within(time.Millisecond))
			if !target.Fast.On.Load() || target.Fast.Generation == 0 {
				t.Fatalf("quiet is %v in spell %d", target.Fast.On.Load(), target.Fast.Generation)
			}
		}
		if target.Users.Load() != 0 || target.Fast.UnderWay != 0 || target.InFlight.Load() != 0 {
			t.Errorf("%d users, %d quiet calls, %d attempts are left", target.Users.Load(),
				target.Fast.UnderWay, target.InFlight.Load())
		}
		var wg sync.WaitGroup
		for range 20 { // all pass in one spell, and fail
			wg.Go(func() { e.Do(t.Context(), db, fails) })
		}
		wg.Wait()
		if state := target.Breaker.State(); state == breaker.Closed {
			t.Error("the breaker has not heard of failures in a row")
		}
	})
}
