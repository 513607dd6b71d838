package tether

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

var unavailable = Outcome{Class: Transient, Code: policy.CodeUnavailable, Err: errors.New("down")}

const usualAnswer = 10 * time.Millisecond

// answers is a function that makes attempts: each takes its time and brings the next outcome; the last one
// stays.
func answers(outcomes ...Outcome) func(context.Context) Outcome {
	return func(context.Context) Outcome {
		time.Sleep(usualAnswer)
		out := outcomes[0]
		outcomes = outcomes[min(1, len(outcomes)-1):]
		return out
	}
}

// hushed is the target of what, once it is quiet and the usual time is known, and how many calls that took.
func hushed(t *testing.T, e *Engine, what *Call) (*target.Target, uint64) {
	t.Helper()
	const calls = 20
	for range calls {
		if err := e.Run(t.Context(), new(Room), what, answers(Outcome{Class: Healthy})); err != nil {
			t.Fatal(err)
		}
	}
	target := e.targets.Last.Load()
	if !target.Fast.On.Load() {
		t.Fatal("the target isn't quiet")
	}
	return target, calls
}

// TestRunLeavesNothing: however a call past a quiet target ends, it is counted once, gives everything back,
// and the stages have heard of it.
func TestRunLeavesNothing(t *testing.T) {
	good := Outcome{Class: Healthy}
	held := Outcome{Class: Overloaded, Code: policy.CodeUnavailable, Err: errors.New("not now")}
	held.Hint.Explicit, held.Hint.Wait = true, time.Second
	for _, test := range []struct {
		name     string
		attempt  func(context.Context) Outcome
		attempts uint64
		err      error
		quiet    bool // afterwards
	}{
		{"good", answers(good), 1, nil, true},
		{"slow", func(context.Context) Outcome { time.Sleep(time.Second); return good }, 1, nil, true},
		{"good at the second attempt", answers(unavailable, good), 2, nil, true},
		{"never", answers(unavailable), 3, retry.ErrAttempts, false},
		{"held, and then good", answers(held, good), 2, nil, false},
		{"ignored", answers(Outcome{Err: errFailed, Final: true}), 1, errFailed, true},
		{"panics", func(context.Context) Outcome { panic("on purpose") }, 1, nil, true},
		{"goes", func(context.Context) Outcome { runtime.Goexit(); return good }, 1, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := engineFor(t, policy.Document{})
				what := &Call{Host: "db", GRPCMethod: "/db.Rows/Get", CallOptions: CallOptions{Idempotent: true}}
				target, calls := hushed(t, e, what)
				before, _ := target.Budget.Saved()
				done := make(chan error, 1)
				go func() {
					var err error
					defer func() {
						recover()
						done <- err
					}()
					err = e.Run(t.Context(), new(Room), what, test.attempt)
				}()
				if err := <-done; !errors.Is(err, test.err) {
					t.Errorf("error is %v, want %v", err, test.err)
				}
				h := healthOf(target) // which has the stages told
				if h.Calls != calls+1 || h.Attempts != calls+test.attempts {
					t.Errorf("%d calls and %d attempts, want %d and %d", h.Calls, h.Attempts, calls+1, calls+test.attempts)
				}
				if passed := h.Stages[StageBreaker].Passed; passed != h.Attempts {
					t.Errorf("%d attempts passed the breaker of %d", passed, h.Attempts)
				}
				if users, under := target.Users.Load(), target.Fast.UnderWay; users != 0 || under != 0 || target.InFlight.Load() != 0 {
					t.Errorf("%d users, %d quiet calls, %d attempts are left", users, under, target.InFlight.Load())
				}
				if on := target.Fast.On.Load(); on != test.quiet {
					t.Errorf("quiet is %v", on)
				}
				if after, _ := target.Budget.Saved(); test.attempts > 1 && after >= before+0.2 {
					t.Errorf("%v re-attempts saved, %v before a repeat", after, before)
				}
			})
		})
	}
}

// TestRunShowsItsAttempts: the first attempt, which no whole call made, is one of the call's like the others.
func TestRunShowsItsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engineFor(t, policy.Document{})
		what := &Call{Host: "db", GRPCMethod: "/db.Rows/Get", CallOptions: CallOptions{Idempotent: true}}
		hushed(t, e, what)
		var seen []int
		ctx := criticality.With(t.Context(), criticality.Default)
		err := e.Run(ctx, new(Room), what, func(ctx context.Context) Outcome {
			seen = append(seen, AttemptFrom(ctx))
			if criticality.From(ctx) != criticality.Default || ctx.Value(insideKey{}) == nil || ctx.Done() != t.Context().Done() {
				t.Error("an attempt's context doesn't show its call")
			}
			return unavailable
		})
		var failed *retry.Error
		if !errors.As(err, &failed) || failed.Attempts != 3 || !errors.Is(err, unavailable.Err) {
			t.Errorf("the error is %v", err)
		}
		if len(seen) != 3 || seen[0] != 1 || seen[1] != 2 || seen[2] != 3 {
			t.Errorf("attempts %v", seen)
		}
		story, ok := Explain(nil, err)
		if !ok || len(story.Attempts) != 3 || story.Attempts[0].Code != policy.CodeUnavailable || story.Attempts[1].Wait <= 0 {
			t.Errorf("the story is %v", story)
		}
	})
}

// TestRunInsideOfRun: a call within another leaves the repeating to that, whichever of them passes quietly.
func TestRunInsideOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, inner := engineFor(t, policy.Document{}), engineFor(t, policy.Document{})
		what := &Call{Host: "db", CallOptions: CallOptions{Idempotent: true}}
		hushed(t, outer, what)
		hushed(t, inner, what)
		var seen []int
		err := outer.Run(t.Context(), new(Room), what, func(ctx context.Context) Outcome {
			err := inner.Run(ctx, new(Room), what, func(ctx context.Context) Outcome {
				seen = append(seen, AttemptFrom(ctx))
				return unavailable
			})
			out := unavailable
			out.Err = err
			return out
		})
		if err == nil || len(seen) != 3 || seen[0] != 1 || seen[2] != 3 {
			t.Errorf("attempts %v, error %v", seen, err)
		}
	})
}

// TestRunInsideOfARepeat: a call that passes quietly shows the attempt of the one that it is inside of.
func TestRunInsideOfARepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, inner := engineFor(t, policy.Document{}), engineFor(t, policy.Document{})
		what := &Call{Host: "db", CallOptions: CallOptions{Idempotent: true}}
		hushed(t, inner, what)
		seen := 0
		err := outer.Run(t.Context(), new(Room), what, func(ctx context.Context) Outcome {
			if AttemptFrom(ctx) == 1 {
				return unavailable
			}
			return Outcome{Class: Healthy, Err: inner.Run(ctx, new(Room), what, func(ctx context.Context) Outcome {
				seen = AttemptFrom(ctx)
				return Outcome{Class: Healthy}
			})}
		})
		if err != nil || seen != 2 {
			t.Errorf("attempt %d, error %v", seen, err)
		}
	})
}

// TestRunAllocates the room and nothing else.
func TestRunAllocates(t *testing.T) {
	e := engineFor(t, policy.Document{})
	what := &Call{Host: "db", GRPCMethod: "/db.Rows/Get", CallOptions: CallOptions{Idempotent: true}}
	good := func(context.Context) Outcome { return Outcome{Class: Healthy} }
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	allocs := testing.AllocsPerRun(1000, func() {
		if err := e.Run(ctx, new(Room), what, good); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 1 {
		t.Errorf("%v allocations", allocs)
	}
}
