package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// Law 7: no wait goes past the caller's deadline, or towards one that can't be met, or over the limit.
func TestLaw7Time(t *testing.T) {
	held := always(503, "Retry-After", "40")
	long := always(503, "Retry-After", "70")
	for _, test := range []struct {
		name     string
		deadline time.Duration // 0: none
		opts     tether.CallOptions
		want     time.Duration // until the second call returns
		good     bool
		hold     time.Duration // 0: 40 s
	}{
		{"the hold is within the deadline", 60 * time.Second, tether.CallOptions{}, 45 * time.Second, true, 0},
		{"the hold is past the deadline", 30 * time.Second, tether.CallOptions{}, 0, false, 0},
		{"no deadline: ten seconds are not enough", 0, tether.CallOptions{}, 0, false, 0},
		{"no waiting", 60 * time.Second, tether.CallOptions{NoWait: true}, 0, false, 0},
		{"a minute at most, whatever the deadline", time.Hour, tether.CallOptions{}, 0, false, 70 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, hold := &backend{serve: held}, 40*time.Second
				if test.hold > 0 {
					b.serve, hold = long, test.hold
				}
				c := client(t, b, tether.Options{})
				get(c, api)
				b.becomes(always(200))
				ctx := tether.WithCall(t.Context(), test.opts)
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				began := time.Now()
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				resp, err := c.Do(req)
				took := time.Since(began)
				if (err == nil) != test.good || took > test.want {
					t.Errorf("%v after %v, want success: %v within %v", err, took, test.good, test.want)
				}
				if err != nil {
					r := rejected(t, err)
					if r.Stage != tether.StageHold || !r.ServerAsked || !r.RetryAt.Equal(began.Add(hold)) {
						t.Errorf("the refusal says %+v", r)
					}
				} else {
					resp.Body.Close()
				}
			})
		})
	}
}

// Law 7: cancellation returns at once, from a hold, from a backoff, from an open breaker.
func TestLaw7Cancellation(t *testing.T) {
	for _, fault := range []func(*http.Request, int) (*http.Response, error){
		always(503, "Retry-After", "5"), dead, func(*http.Request, int) (*http.Response, error) { return nil, io.EOF },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: fault}
			c := client(t, b, tether.Options{})
			for range 8 {
				ctx, cancel := context.WithCancel(t.Context())
				at := time.Now().Add(37 * time.Millisecond)
				time.AfterFunc(37*time.Millisecond, cancel)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				resp, err := c.Do(req)
				if late := time.Since(at); late > 0 {
					t.Errorf("returned %v after the cancellation", late)
				}
				if err == nil {
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
}

// Law 10: on a healthy server no call is refused or delayed.
func TestLaw10NoHarm(t *testing.T) {
	slow := func(random func() float64) time.Duration { // nine in ten take 5 ms, one 600 ms
		if random() < 0.1 {
			return 600 * time.Millisecond
		}
		return 5 * time.Millisecond
	}
	for _, test := range []struct {
		name string
		took func(random func() float64) time.Duration
	}{
		{"two modes", slow},
		{"lognormal", func(random func() float64) time.Duration {
			z := math.Sqrt(-2*math.Log(1-random())) * math.Cos(2*math.Pi*random())
			return time.Duration(math.Exp(1.5*z) * 60e6)
		}},
		{"long polls", func(random func() float64) time.Duration {
			if random() < 0.2 {
				return 40 * time.Second
			}
			return 20 * time.Millisecond
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := random.New(3)
				var waited, refused atomic.Int64
				base := roundTrip(func(req *http.Request) (*http.Response, error) {
					time.Sleep(test.took(rng.Float64))
					return answer(req, 200), nil
				})
				f := &fleet{clients: 50, perSecond: 2, lasts: time.Minute, deadline: time.Minute, base: base,
					opts: tether.Options{Observe: func(e tether.Event) {
						switch e.Kind {
						case tether.EventRefused:
							refused.Add(1)
						case tether.EventWaited:
							waited.Add(1)
						}
					}}}
				f.run(t)
				if f.good.Load() != f.calls.Load() || refused.Load() > 0 || waited.Load() > 0 {
					t.Errorf("%d of %d calls good, %d refused, %d waited", f.good.Load(), f.calls.Load(), refused.Load(), waited.Load())
				}
			})
		})
	}
}

// Law 10: the client's own trouble teaches nothing about the server.
func TestLaw10OwnTrouble(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, trouble := range []error{
		dial(syscall.EMFILE), dial(syscall.ENFILE), dial(syscall.ENETUNREACH), dial(syscall.ENETDOWN),
		dial(syscall.EADDRNOTAVAIL), dial(&net.DNSError{Err: "timeout", IsTimeout: true}),
		dial(&net.DNSError{Err: "no such host", IsNotFound: true}),
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: func(*http.Request, int) (*http.Response, error) { return nil, trouble }}
			c := client(t, b, tether.Options{})
			for range 100 {
				get(c, api)
			}
			b.becomes(always(200))
			began := time.Now()
			if status, _, err := get(c, api); status != 200 || time.Since(began) > 0 {
				t.Errorf("after %v: %d, %v after %v", trouble, status, err, time.Since(began))
			}
			if h := c.Engine().Health().Targets[0]; h.Breaker != breaker.Closed || h.PacedPerSecond != 0 {
				t.Errorf("%v taught %+v", trouble, h)
			}
		})
	}
}

// Law 10: a caller's own cancellations are not the server's fault (W21).
func TestLaw10Cancellations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := roundTrip(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		c := client(t, hangs, tether.Options{})
		for range 1000 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			cancel()
		}
		if h := c.Engine().Health().Targets[0]; h.Breaker != breaker.Closed {
			t.Error("a thousand cancellations opened the breaker")
		}
	})
}

// Law 11: memory is bounded by caps; what is held or open is not forgotten.
func TestLaw11ManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "held.example" {
				return answer(req, 503, "Retry-After", "3000"), nil
			}
			return answer(req, 200), nil
		})
		c := client(t, base, tether.Options{MaxTargets: 100})
		get(c, "http://held.example")
		for i := range 20_000 {
			get(c, fmt.Sprintf("http://%d.example", i))
		}
		targets := c.Engine().Health().Targets
		if len(targets) > 101 {
			t.Errorf("%d targets are remembered, at most 101", len(targets))
		}
		if !slices.ContainsFunc(targets, func(h tether.TargetHealth) bool { return h.Target == "held.example" && !h.HeldUntil.IsZero() }) {
			t.Error("the held target was forgotten")
		}
	})
}

// Law 11: callers that wait are bounded in number.
func TestLaw11Waiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, tether.Options{})
		open(t, e, query)
		var full atomic.Int64
		var all sync.WaitGroup
		for range 4000 {
			all.Go(func() {
				err := e.Do(t.Context(), query, func(context.Context, *tether.Permit) tether.Outcome { return failing() })
				if errors.Is(err, tether.ErrQueueFull) {
					full.Add(1)
				}
			})
		}
		all.Wait()
		if full.Load() < 1900 {
			t.Errorf("%d of 4,000 were refused for want of room, want about 2,000", full.Load())
		}
	})
}

// Law 12: every public error is found through a real http.Client.
func TestLaw12Errors(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  func(*http.Request, int) (*http.Response, error)
		doc    string
		calls  int
		pause  time.Duration // before each
		reason error
		stage  tether.Stage
		server bool
	}{
		{"held", always(503, "Retry-After", "30"), "", 1, 0, pacing.ErrHeld, tether.StageHold, true},
		{"open", dead, "", 6, 30 * time.Second, breaker.ErrOpen, tether.StageBreaker, false},
		{"paced", always(503), "", 4, 0, pacing.ErrPaced, tether.StagePacing, false},
		{"killed", always(200), string(killAll), 0, 0, tether.ErrKilled, tether.StageKill, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: test.fault}
				var events []tether.Event
				c := client(t, b, tether.Options{Observe: func(e tether.Event) { events = append(events, e) }})
				if test.doc != "" {
					if _, err := c.Engine().Apply([]byte(test.doc)); err != nil {
						t.Fatal(err)
					}
				}
				ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
				do := func() error {
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api+"?token=secret", nil)
					resp, err := c.Do(req)
					if err == nil {
						resp.Body.Close()
					}
					return err
				}
				for range test.calls {
					time.Sleep(test.pause)
					do()
				}
				sent := b.attempts()
				err := do()
				r := rejected(t, err)
				if !errors.Is(err, test.reason) || r.Stage != test.stage || r.ServerAsked != test.server {
					t.Errorf("refusal is %+v", r)
				}
				if strings.Contains(r.Error(), "secret") || strings.Contains(r.Error(), "/v1") || !strings.HasPrefix(r.Error(), "tether: api.example: ") {
					t.Errorf("text is %q", r)
				}
				if r.RetryAt.Before(time.Now()) {
					t.Errorf("it may come back at %v, which is past", r.RetryAt)
				}
				if b.attempts() != sent {
					t.Error("a refused call was sent")
				}
				last := events[len(events)-1]
				if last.Kind != tether.EventRefused || last.Stage != test.stage || !errors.Is(last.Err, test.reason) {
					t.Errorf("the last event is %+v", last)
				}
				var temporary interface{ Temporary() bool }
				if !errors.As(err, &temporary) || temporary.Temporary() {
					t.Error("a refusal counts as temporary")
				}
			})
		})
	}
}

// Law 13: a loop without a pause makes about one attempt and ten refusals a second.
func TestLaw13Loop(t *testing.T) {
	for name, fault := range map[string]func(*http.Request, int) (*http.Response, error){
		"refused": dead, "500": always(500), "503": always(503), "429": always(429),
		"503 for an hour": always(503, "Retry-After", "3600"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: fault}
				c := client(t, b, tether.Options{})
				began, refusals := time.Now(), 0
				const seconds = 60
				for calls := 0; time.Since(began) < seconds*time.Second; calls++ {
					if calls > 20*seconds { // else time would stand still for ever
						t.Fatalf("%d calls in %v: the loop spins", calls, time.Since(began))
					}
					if _, _, err := get(c, api); err != nil && errors.As(err, new(*tether.RejectedError)) {
						refusals++
					}
				}
				if most := seconds + 25; b.attempts() > most {
					t.Errorf("%d attempts in %d s", b.attempts(), seconds)
				}
				if refusals > 10*seconds+5 {
					t.Errorf("%d refusals in %d s", refusals, seconds)
				}
			})
		})
	}
}
