package tether_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// TestHedgeCallersTime: the caller's cancellation and all timeouts end both.
func TestHedgeCallersTime(t *testing.T) {
	for name, test := range map[string]struct {
		call     policy.CallSettings
		cancel   time.Duration
		deadline time.Duration
		want     error
		attempts int
		took     time.Duration
	}{
		"cancelled":       {cancel: 700 * time.Millisecond, want: context.Canceled, attempts: 2, took: 700 * time.Millisecond},
		"deadline":        {deadline: 700 * time.Millisecond, want: context.DeadlineExceeded, attempts: 2, took: 700 * time.Millisecond},
		"deadline before": {deadline: 199 * time.Millisecond, want: context.DeadlineExceeded, attempts: 1, took: 199 * time.Millisecond},
		"call timeout": {call: policy.CallSettings{Timeout: policy.Ptr(700 * time.Millisecond)}, want: tether.ErrCallTimeout,
			attempts: 2, took: 700 * time.Millisecond},
		"attempt timeout": {call: policy.CallSettings{AttemptTimeout: policy.Ptr(400 * time.Millisecond),
			RetryPolicy: &policy.RetrySettings{MaxAttempts: policy.Ptr(2)}}, want: tether.ErrAttemptTimeout, attempts: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: steps(step{wait: time.Hour, status: 200})}
				test.call.HedgingPolicy = &policy.HedgingSettings{HedgingDelay: policy.Ptr(hedgeDelay)}
				c := clientBy(t, b, policy.Settings{Call: test.call}, tether.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.cancel > 0 {
					time.AfterFunc(test.cancel, cancel)
				}
				if test.deadline > 0 {
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				began := time.Now()
				_, err := c.Do(req)
				took := time.Since(began)
				if !errors.Is(err, test.want) || b.attempts() != test.attempts {
					t.Errorf("%v after %d attempts, want %v after %d", err, b.attempts(), test.want, test.attempts)
				}
				if test.took > 0 && took != test.took || took > time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// TestHedgeOfNoUse: no hedge is sent that can't be answered in time, or that nobody waits for any more.
func TestHedgeOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{wait: 100 * time.Millisecond, status: 200})}
		c := hedged(t, b, tether.Options{})
		get(c, api)
		b.becomes(steps(step{wait: time.Second, status: 200}))
		c.Timeout = 295 * time.Millisecond // the delay is 200 ms at least, an answer takes 100 ms
		if _, _, err := get(c, api); err == nil || b.attempts() != 2 {
			t.Errorf("%v, %d attempts", err, b.attempts())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(time.Second) // and does not heed the caller
			return answer(req, 200), nil
		}}
		c := hedged(t, b, tether.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		time.AfterFunc(100*time.Millisecond, cancel)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
		}
		if b.attempts() != 1 {
			t.Errorf("%d attempts", b.attempts())
		}
	})
}

// TestHedgeBrokenTransport: a panic of the hedge reaches the caller, as the attempt's would; a goroutine
// that ends harms nobody; neither leaves anything behind.
func TestHedgeBrokenTransport(t *testing.T) {
	for name, test := range map[string]struct {
		attempt, hedge func()
		panics         bool
	}{
		"the hedge panics":   {nil, func() { panic("broken") }, true},
		"the attempt panics": {func() { panic("broken") }, nil, true},
		"the hedge exits":    {nil, runtime.Goexit, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bodies := &tracked{base: roundTrip(func(req *http.Request) (*http.Response, error) {
					hedge := req.Header.Get("N") != ""
					if _, err := after(req, 500*time.Millisecond, nil); err != nil {
						return nil, err
					}
					if do := map[bool]func(){false: test.attempt, true: test.hedge}[hedge]; do != nil {
						do()
					}
					return after(req, time.Second, answer(req, 200))
				})}
				c := hedged(t, bodies, tether.Options{AttemptHeader: "N", InitialRetries: policy.Ptr(2)})
				for range 2 {
					var status int
					var recovered any
					began := time.Now()
					func() {
						defer func() { recovered = recover() }()
						status, _, _ = get(c, api)
					}()
					if test.panics != (recovered == "broken") || !test.panics && status != 200 {
						t.Errorf("recovered %v, status %d", recovered, status)
					}
					if took := time.Since(began); test.panics && took > time.Second {
						t.Errorf("told of the panic after %v", took)
					}
				}
				if h := c.Engine().Health().Targets[0]; h.PacedPerSecond > 0 || h.Hedges != 2 {
					t.Errorf("%d hedges, paced at %v: a panic teaches nothing", h.Hedges, h.PacedPerSecond)
				}
				for i, ctx := range bodies.contexts {
					if ctx.Err() == nil {
						t.Errorf("the context of attempt %d is left", i+1)
					}
				}
				bodies.check(t)
			})
		})
	}
}

// TestHedgeUntidyTransport: transports that write into the request that they are given are common.
func TestHedgeUntidyTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := hedged(t, roundTrip(func(req *http.Request) (*http.Response, error) {
			for range 300 {
				time.Sleep(time.Millisecond)
				req.Header.Set("Authorization", "signed")
				req.URL.Host = "elsewhere.example"
			}
			return answer(req, 200), nil
		}), tether.Options{})
		req, _ := http.NewRequest(http.MethodGet, api, nil)
		req.Header.Set("Accept", "text/plain")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if len(req.Header) != 1 || req.URL.Host != "api.example" {
			t.Errorf("the caller's request became %v %v", req.URL, req.Header)
		}
		if n := c.Engine().Health().Targets[0].Hedges; n != 1 {
			t.Errorf("%d hedges: it proves nothing", n)
		}
	})
}

// TestHedgeNotInDo: a function may not be safe to run twice at once.
func TestHedgeNotInDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := hedged(t, nil, tether.Options{})
		var running, most atomic.Int32
		err := c.Engine().Do(t.Context(), tether.Call{Host: "orders", Method: "GET", CallOptions: tether.CallOptions{Idempotent: true}},
			func(context.Context, *tether.Permit) tether.Outcome {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				time.Sleep(time.Second)
				return tether.Outcome{Class: tether.Healthy}
			})
		if err != nil || most.Load() != 1 {
			t.Errorf("%v, %d at once", err, most.Load())
		}
	})
}

// TestHedgeInner: inside of another wrapper's call, that one does the hedging.
func TestHedgeInner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{wait: time.Second, status: 200})}
		inner := hedged(t, b, tether.Options{})
		outer := client(t, inner.Transport, tether.Options{})
		if status, _, err := get(outer, api); status != 200 || b.attempts() != 1 {
			t.Errorf("%d, %v, %d attempts", status, err, b.attempts())
		}
	})
}

// TestHedgeFailure: where both fail for good the error tells both, and nothing is left of them.
func TestHedgeFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &tracked{base: &backend{serve: steps(step{wait: time.Second}, step{wait: time.Millisecond})}}
		_, err := hedged(t, b, tether.Options{}).Get(api)
		for _, ctx := range b.contexts {
			if ctx.Err() == nil {
				t.Error("a context is left")
			}
		}
		var failed *retry.Error
		if !errors.As(err, &failed) || failed.Attempts != 2 || !errors.Is(err, io.EOF) || !errors.Is(err, retry.ErrBudget) {
			t.Errorf("%v", err)
		}
		if s := storyOf(t, nil, err); len(s.Attempts) != 2 || !s.Attempts[1].Hedge {
			t.Errorf("%v", s)
		}
	})
}

// TestHedgeAttempts: a hedge is one of the attempts that a call may make.
func TestHedgeAttempts(t *testing.T) {
	for _, most := range []int{1, 2, 3, 4} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: always(200)}
			c := clientBy(t, b, policy.Settings{Call: policy.CallSettings{
				HedgingPolicy: &policy.HedgingSettings{HedgingDelay: policy.Ptr(hedgeDelay)},
				RetryPolicy:   &policy.RetrySettings{MaxAttempts: &most}}, Target: policy.TargetSettings{
				RetryBudget: &policy.BudgetSettings{Ratio: policy.Ptr(1.0)},
				Pacing:      &policy.PacingSettings{Mode: policy.Ptr("off")}}}, tether.Options{})
			for range 10 { // saves what the budget may hold
				get(c, api)
			}
			before := b.attempts()
			b.becomes(func(req *http.Request, _ int) (*http.Response, error) {
				return after(req, 600*time.Millisecond, answer(req, 502))
			})
			resp, err := explained(t, c, http.MethodGet, api)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			s := storyOf(t, resp, nil)
			if n := b.attempts() - before; n != most || !errors.Is(s.NotRepeated, retry.ErrAttempts) {
				t.Errorf("%d of at most %d attempts: %v", n, most, s)
			}
		})
	}
}
