package tether_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

func engine(t testing.TB, opts tether.Options) *tether.Engine {
	t.Helper()
	if opts.Seed == 0 {
		opts.Seed = 1
	}
	e, err := tether.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var (
	errQuery = errors.New("the query failed")
	query    = tether.Call{Host: "orders-db", CallOptions: tether.CallOptions{Idempotent: true}}
)

func failing() tether.Outcome { return tether.Outcome{Class: tether.Transient, Err: errQuery} }
func fine() tether.Outcome    { return tether.Outcome{Class: tether.Healthy} }

// open makes the target's breaker open.
func open(t testing.TB, e *tether.Engine, what tether.Call) {
	t.Helper()
	for range 50 {
		e.Do(t.Context(), what, func(context.Context, *tether.Permit) tether.Outcome { return failing() })
		if e.Health().Targets[0].Breaker == breaker.Open {
			return
		}
	}
	t.Fatal("the breaker does not open")
}

func TestDo(t *testing.T) {
	noRetry := query
	noRetry.Idempotent = false
	for _, test := range []struct {
		name     string
		what     tether.Call
		outcomes []tether.Outcome // the last one repeats
		attempts int
		want     []error
	}{
		{"healthy", query, []tether.Outcome{fine()}, 1, nil},
		{"a healthy target's error is the caller's", query,
			[]tether.Outcome{{Class: tether.Healthy, Err: errQuery}}, 1, []error{errQuery}},
		{"second attempt", query, []tether.Outcome{failing(), fine()}, 2, nil},
		{"budget of one", query, []tether.Outcome{failing()}, 2, []error{errQuery, retry.ErrBudget}},
		{"final", query, []tether.Outcome{{Class: tether.Transient, Err: errQuery, Final: true}}, 1, []error{errQuery}},
		{"not idempotent", noRetry, []tether.Outcome{failing()}, 1, []error{errQuery, retry.ErrUnsafe}},
		{"not idempotent, not sent", noRetry,
			[]tether.Outcome{{Class: tether.Transient, Err: errQuery, Sent: tether.NotSent}, fine()}, 2, nil},
		{"not idempotent, not processed", noRetry,
			[]tether.Outcome{{Class: tether.Transient, Err: errQuery, Sent: tether.NotProcessed}, fine()}, 2, nil},
		{"no error given", query, []tether.Outcome{{Class: tether.Transient, Final: true}}, 1, []error{retry.ErrFinal}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, attempts := engine(t, tether.Options{}), 0
				err := e.Do(t.Context(), test.what, func(_ context.Context, p *tether.Permit) tether.Outcome {
					if attempts++; p.Attempt() != attempts {
						t.Errorf("permit is for attempt %d, this is %d", p.Attempt(), attempts)
					}
					return test.outcomes[min(attempts, len(test.outcomes))-1]
				})
				if attempts != test.attempts {
					t.Errorf("%d attempts, want %d", attempts, test.attempts)
				}
				if (err == nil) != (test.want == nil) {
					t.Errorf("error is %v", err)
				}
				for _, want := range test.want {
					if !errors.Is(err, want) {
						t.Errorf("error %q is not %q", err, want)
					}
				}
			})
		})
	}
}

// TestSettledOnce: however an attempt ends, what admitted it hears of it once, and the next call goes
// on as before (law 5).
func TestSettledOnce(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(e *tether.Engine)
	}{
		{"panic", func(e *tether.Engine) {
			defer func() {
				if recover() == nil {
					panic("the panic was swallowed")
				}
			}()
			e.Do(context.Background(), query, func(context.Context, *tether.Permit) tether.Outcome { panic("boom") })
		}},
		{"goexit", func(e *tether.Engine) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				e.Do(context.Background(), query, func(context.Context, *tether.Permit) tether.Outcome {
					runtime.Goexit()
					return fine()
				})
			}()
			<-done
		}},
		{"cancelled", func(e *tether.Engine) {
			ctx, cancel := context.WithCancel(context.Background())
			e.Do(ctx, query, func(context.Context, *tether.Permit) tether.Outcome { cancel(); return failing() })
		}},
		{"ignored", func(e *tether.Engine) {
			e.Do(context.Background(), query, func(context.Context, *tether.Permit) tether.Outcome {
				return tether.Outcome{Err: errQuery, Final: true}
			})
		}},
		{"permit settled by hand, and again", func(e *tether.Engine) {
			p, err := e.Begin(context.Background(), query)
			if err != nil {
				panic(err)
			}
			p.Done(tether.Outcome{})
			p.Done(failing())
		}},
	} {
		t.Run(test.name+", closed", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := engine(t, tether.Options{})
				for range 100 {
					test.end(e)
				}
				if state := e.Health().Targets[0].Breaker; state != breaker.Closed {
					t.Errorf("what teaches nothing left the breaker %v", state)
				}
			})
		})
		t.Run(test.name+", as a probe", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := engine(t, tether.Options{})
				open(t, e, query)
				time.Sleep(5 * time.Second)
				test.end(e)
				before := time.Now()
				err := e.Do(t.Context(), query, func(context.Context, *tether.Permit) tether.Outcome { return fine() })
				if err != nil || time.Since(before) > 10*time.Second { // a gap or two of pacing
					t.Errorf("the next call was not the next probe: %v after %v", err, time.Since(before))
				}
				if state := e.Health().Targets[0].Breaker; state != breaker.Closed {
					t.Errorf("a good probe left the breaker %v", state)
				}
			})
		})
	}
}

// TestForgottenProbeLapses: a probe that never reports frees its slot within its lease (law 5).
func TestForgottenProbeLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, tether.Options{})
		open(t, e, query)
		time.Sleep(5 * time.Second)
		forgotten, err := e.Begin(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for e.Do(t.Context(), query, func(context.Context, *tether.Permit) tether.Outcome { return fine() }) != nil {
		}
		if took := time.Since(began); took < 9*time.Second || took > 16*time.Second {
			t.Errorf("the next probe came after %v, want the lease of 10s and an open time", took)
		}
		forgotten.Done(failing()) // of a state that is over
		if state := e.Health().Targets[0].Breaker; state != breaker.Closed {
			t.Errorf("a voice from the past left the breaker %v", state)
		}
	})
}

func TestBeginCountsForTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, tether.Options{InitialRetries: policy.Ptr(0)})
		for range 20 {
			p, err := e.Begin(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			p.Done(fine())
		}
		if saved := e.Health().Targets[0].RetriesSaved; saved < 1.9 || saved > 2 {
			t.Errorf("20 successes saved %v re-attempts, want 2", saved)
		}
	})
}

func TestImpossibleOptions(t *testing.T) {
	for _, opts := range []tether.Options{
		{InitialRetries: policy.Ptr(-1)}, {InitialRetries: policy.Ptr(3)}, {MaxTargets: -1},
	} {
		if _, err := tether.New(opts); err == nil {
			t.Errorf("%+v was accepted", opts)
		}
	}
}
