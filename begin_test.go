package tether

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/retry"
)

func engineFor(t *testing.T, cfg policy.Document) *Engine {
	t.Helper()
	e, err := New(Options{Policy: cfg, Seed: 1, InitialRetries: policy.Ptr(2)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestNext: what Begin admitted is repeated by the rules that hold for Do, and given back however it ends.
func TestNext(t *testing.T) {
	down := Outcome{Class: Transient, Code: policy.CodeUnavailable, Err: errors.New("down")}
	final, forbidden, exhausted := down, down, down
	final.Final = true
	forbidden.Hint.Verdict = hint.DontRepeat
	exhausted.Class, exhausted.Code, exhausted.Partitioned = Overloaded, policy.CodeResourceExhausted, true
	waits := exhausted
	waits.Hint.Explicit, waits.Hint.Wait = true, 2*time.Second
	lost := Outcome{Class: Healthy, Code: 5, Err: errors.New("not found")}
	for _, test := range []struct {
		name     string
		safe     bool
		out      Outcome
		attempts int
		reason   error
	}{
		{"repeats", true, down, 3, retry.ErrAttempts},
		{"unsafe", false, down, 1, retry.ErrUnsafe},
		{"final", true, final, 1, final.Err},
		{"forbidden", true, forbidden, 1, retry.ErrForbidden},
		{"exhausted, without a wait", true, exhausted, 1, exhausted.Err},
		{"exhausted, with a wait", true, waits, 3, retry.ErrAttempts},
		{"an answer", true, lost, 1, lost.Err},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := engineFor(t, policy.Document{})
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				p, err := e.Begin(ctx, Call{Host: "db", CallOptions: CallOptions{Idempotent: test.safe}})
				if err != nil {
					t.Fatal(err)
				}
				attempts := 1
				for p != nil {
					if AttemptFrom(p.Context()) != attempts || p.Attempt() != attempts {
						t.Errorf("attempt %d says %d", attempts, AttemptFrom(p.Context()))
					}
					var next *Permit
					next, err = p.Next(test.out)
					if again, againErr := p.Next(test.out); again != nil || againErr != nil {
						t.Error("the second Next counts")
					}
					if p = next; p != nil {
						attempts++
					}
				}
				if attempts != test.attempts || !errors.Is(err, test.reason) {
					t.Errorf("%d attempts, %v; want %d, %v", attempts, err, test.attempts, test.reason)
				}
				for _, target := range e.targets.ByKey {
					if n := target.Users.Load(); n != 0 {
						t.Errorf("%d calls are left", n)
					}
				}
			})
		})
	}
}

// TestKeep: a place among those under way outlasts Done until its end.
func TestKeep(t *testing.T) {
	cfg := policy.Document{}
	cfg.Defaults.Target.Concurrency = &policy.ConcurrencySettings{Max: policy.Ptr(1)}
	e := engineFor(t, cfg)
	call := Call{Host: "db", CallOptions: CallOptions{NoWait: true}}
	p, err := e.Begin(context.Background(), call)
	if err != nil {
		t.Fatal(err)
	}
	end := p.Keep()
	p.Done(Outcome{Class: Healthy})
	if _, err := e.Begin(context.Background(), call); !errors.Is(err, ratelimit.ErrBusy) {
		t.Errorf("beside it: %v", err)
	}
	end()
	end()
	p, err = e.Begin(context.Background(), call)
	if err != nil {
		t.Fatal(err)
	}
	p.Done(Outcome{Class: Healthy})
}

// TestServicesLearnApart: a hold of one service of a host is not another's, outlives the process, and is named.
func TestServicesLearnApart(t *testing.T) {
	e := engineFor(t, policy.Document{})
	stock := Call{Scheme: "grpc", Host: "shop:443", Service: "shop.Stock", CallOptions: CallOptions{NoWait: true}}
	orders := stock
	orders.Service = "shop.Orders"
	p, err := e.Begin(context.Background(), stock)
	if err != nil {
		t.Fatal(err)
	}
	p.Done(Outcome{Class: Overloaded, Code: policy.CodeUnavailable, Hint: hint.Hint{Explicit: true, Wait: time.Minute}})
	restored := engineFor(t, policy.Document{})
	if err := restored.Restore(e.Snapshot()); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*Engine{e, restored} {
		_, err := e.Begin(context.Background(), stock)
		var refused *RejectedError
		if !errors.As(err, &refused) || refused.Stage != StageHold || refused.Target != "shop:443 shop.Stock" {
			t.Errorf("the held service: %v", err)
		}
		p, err := e.Begin(context.Background(), orders)
		if err != nil {
			t.Fatalf("the other service: %v", err)
		}
		p.Done(Outcome{Class: Healthy})
	}
}

// TestShownDeadline: an attempt's context tells when the policy ends it.
func TestShownDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := policy.Document{}
		cfg.Defaults.Call.AttemptTimeout = policy.Ptr(2 * time.Second)
		e := engineFor(t, cfg)
		err := e.Do(context.Background(), Call{Host: "db"}, func(ctx context.Context, p *Permit) Outcome {
			if ends, ok := ctx.Deadline(); !ok || time.Until(ends) != 2*time.Second {
				t.Errorf("the attempt ends %v (%v)", ends, ok)
			}
			<-ctx.Done()
			return Outcome{Class: Ignored, Code: 1, Err: ctx.Err()}
		})
		if !errors.Is(err, ErrAttemptTimeout) || !errors.Is(err, retry.ErrUnsafe) {
			t.Error(err)
		}
	})
}

// TestNextTeaches: what Next reports counts as what Do would.
func TestNextTeaches(t *testing.T) {
	down := Outcome{Class: Transient, Code: policy.CodeUnavailable, Err: errors.New("down")}
	call := Call{Host: "db", CallOptions: CallOptions{Idempotent: true}}
	begin := func(t *testing.T, e *Engine, ctx context.Context) *Permit {
		p, err := e.Begin(ctx, call)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	synctest.Test(t, func(t *testing.T) { // deadlines that leave no time say nothing
		e := engineFor(t, policy.Document{})
		for range 8 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			p := begin(t, e, ctx)
			<-ctx.Done()
			p.Next(down)
			cancel()
		}
		if h := e.Health().Targets[0]; h.Breaker != breaker.Closed {
			t.Errorf("after deadlines of a millisecond the breaker is %v", h.Breaker)
		}
	})
	synctest.Test(t, func(t *testing.T) { // answers save, and failures are told
		e, err := New(Options{Seed: 1, InitialRetries: policy.Ptr(0)})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if next, err := begin(t, e, context.Background()).Next(Outcome{Class: Healthy}); next != nil || err != nil {
				t.Fatal(next, err)
			}
		}
		next, err := begin(t, e, context.Background()).Next(down)
		if next == nil {
			t.Fatalf("nothing was saved: %v", err)
		}
		down.Final = true
		_, err = next.Next(down)
		if story, ok := Explain(nil, err); !ok || len(story.Attempts) != 2 {
			t.Errorf("the story is %q", story)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a stream's first message may be hours away
		e := engineFor(t, policy.Document{})
		p := begin(t, e, context.Background())
		time.Sleep(time.Hour)
		p.Done(Outcome{Class: Healthy})
		for _, target := range e.targets.ByKey {
			if useful := target.Useful(); useful != 0 {
				t.Errorf("an answer is thought to take %v", useful)
			}
		}
	})
}

// TestAnsweredFaults: a code that the server gave counts by its share, also when the caller has just gone.
func TestAnsweredFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engineFor(t, policy.Document{})
		for n := 1; n <= 40; n++ {
			ctx, cancel := context.WithCancel(context.Background())
			e.Do(ctx, Call{Host: "db"}, func(context.Context, *Permit) Outcome {
				cancel()
				return Outcome{Class: Transient, Code: 13, Answered: true, Err: errors.New("internal")}
			})
			cancel()
			if e.Health().Targets[0].Breaker == breaker.Closed {
				continue
			}
			if n < 10 {
				t.Errorf("%d answers opened it, as if they had not come", n)
			}
			return
		}
		t.Error("forty faults leave it closed")
	})
}

// TestBeginWhoseCallbackPanics: a caller's function that panics while a call is admitted leaves nothing counted.
func TestBeginWhoseCallbackPanics(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	what := Call{Scheme: "https", Host: "a", Credential: "me"}
	p, err := e.Begin(t.Context(), what)
	if err != nil {
		t.Fatal(err)
	}
	p.Done(Outcome{Class: Overloaded, Answered: true, Partitioned: true, Hint: hint.Hint{Wait: time.Minute, Explicit: true}})
	what.CredentialFrom = func(context.Context) string { panic("no credential") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it wasn't asked")
			}
		}()
		_, _ = e.Begin(t.Context(), what)
	}()
	for _, target := range e.targets.ByKey {
		if users := target.Users.Load(); users != 0 {
			t.Errorf("%d calls are under way", users)
		}
	}
}
