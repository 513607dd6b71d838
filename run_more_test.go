package tether

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/target"

	"github.com/tether-go/tether/internal/loopguard"
	"github.com/tether-go/tether/policy"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
)

// TestCriticalCallsAreHeard: they ask the stages, which know from then on that there are such calls.
func TestCriticalCallsAreHeard(t *testing.T) {
	for name, make := range map[string]func(context.Context, *Engine, *Call) error{
		"run": func(ctx context.Context, e *Engine, what *Call) error {
			return e.Run(ctx, new(Room), what, answers(Outcome{Class: Healthy}))
		},
		"do": func(ctx context.Context, e *Engine, what *Call) error { return e.Do(ctx, *what, within(usualAnswer)) },
	} {
		synctest.Test(t, func(t *testing.T) {
			e, what := engineFor(t, policy.Document{}), &Call{Host: "db"}
			target, _ := hushed(t, e, what)
			if err := make(criticality.With(t.Context(), criticality.Critical), e, what); err != nil {
				t.Fatal(err)
			}
			if !target.Shedder.Active() || target.Fast.On.Load() {
				t.Errorf("%s: heard of a critical call: %v; quiet: %v", name, target.Shedder.Active(), target.Fast.On.Load())
			}
		})
	}
}

// TestRunKeepsTheClock: the policy's timeouts end attempts at a quiet target too.
func TestRunKeepsTheClock(t *testing.T) {
	for want, settings := range map[error]policy.CallSettings{
		ErrAttemptTimeout: {AttemptTimeout: policy.Ptr(time.Second)},
		ErrCallTimeout:    {Timeout: policy.Ptr(time.Second)},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, what := engineFor(t, policy.Document{Defaults: policy.Settings{Call: settings}}), &Call{Host: "db"}
			hushed(t, e, what)
			err := e.Run(t.Context(), new(Room), what, func(ctx context.Context) Outcome {
				<-ctx.Done()
				return Outcome{Class: Transient, Err: ctx.Err()}
			})
			if !errors.Is(err, want) {
				t.Errorf("error is %v, want %v", err, want)
			}
		})
	}
}

// TestQuietCallsKeepTheirTarget: one that has some under way is not forgotten.
func TestQuietCallsKeepTheirTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, what := engineFor(t, policy.Document{}), &Call{Host: "db"}
		at, _ := hushed(t, e, what)
		time.Sleep(2 * target.ReturnMemory)
		if err := e.Run(t.Context(), new(Room), what, func(context.Context) Outcome {
			if at.Fast.UnderWay != 1 || at.Forget() {
				t.Errorf("%d quiet calls are under way, and their target was forgotten", at.Fast.UnderWay)
			}
			return Outcome{Class: Healthy}
		}); err != nil {
			t.Fatal(err)
		}
		if !at.Forget() {
			t.Error("a target that nobody uses was kept")
		}
	})
}

// TestQuietVoicesFromThePast: what a call brings that passed before the breaker opened teaches it nothing once it has
// closed, whether or not the target is quiet again.
func TestQuietVoicesFromThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, what := engineFor(t, policy.Document{}), &Call{Host: "db"}
		target, _ := hushed(t, e, what)
		ends, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			e.Run(t.Context(), new(Room), what, func(context.Context) Outcome {
				<-ends
				return unavailable
			})
		}()
		synctest.Wait()
		for target.Breaker.State() == breaker.Closed {
			e.Run(t.Context(), new(Room), what, answers(unavailable))
		}
		for deadline := time.Now().Add(10 * time.Minute); !target.Fast.On.Load() && time.Now().Before(deadline); {
			time.Sleep(time.Second)
			e.Run(t.Context(), new(Room), what, answers(Outcome{Class: Healthy}))
		}
		if !target.Fast.On.Load() || target.Breaker.State() != breaker.Closed {
			t.Fatalf("quiet is %v, the breaker %v", target.Fast.On.Load(), target.Breaker.State())
		}
		close(ends)
		<-ended
		if c := target.Breaker.Health().Counts; c.Failures != 0 {
			t.Errorf("%+v after a voice from the past", c)
		}
	})
}

// TestRunTells: events that wait are delivered at a quiet call's end, and its route may be named as a loop.
func TestRunTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := map[EventKind]int{}
		e, err := New(Options{Seed: 1, Observe: func(ev Event) { told[ev.Kind]++ }})
		if err != nil {
			t.Fatal(err)
		}
		what := &Call{Host: "db", GRPCMethod: "/db.Rows/Get"}
		call := func() {
			if err := e.Run(t.Context(), new(Room), what, answers(Outcome{Class: Healthy})); err != nil {
				t.Fatal(err)
			}
		}
		target, _ := hushed(t, e, what)
		e.note(Event{Kind: EventGaveUp})
		if call(); told[EventGaveUp] != 1 {
			t.Errorf("%d events were told at the call's end, want 1", told[EventGaveUp])
		}
		for range 8 {
			time.Sleep(loopguard.Window)
			call()
		}
		for range 200 {
			call()
		}
		if told[EventLoop] != 1 || !target.Fast.On.Load() {
			t.Errorf("the loop was named %d times, quiet is %v", told[EventLoop], target.Fast.On.Load())
		}
	})
}
