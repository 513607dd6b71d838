package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
)

const api = "http://api.example/v1/items"

// fleet runs independent clients, each an open-loop source of calls with exponential gaps, and waits
// for the last call to end.
type fleet struct {
	clients   int
	perSecond float64 // of one client
	lasts     time.Duration
	deadline  time.Duration // of a call
	base      http.RoundTripper
	opts      tether.Options

	calls, good atomic.Int64
}

func (f *fleet) run(t *testing.T) {
	var all sync.WaitGroup
	for i := range f.clients {
		opts := f.opts
		opts.Seed = uint64(i + 1)
		c := client(t, f.base, opts)
		all.Go(func() { f.source(t, c, random.New(opts.Seed+1e6), &all) })
	}
	all.Wait()
}

func (f *fleet) source(t *testing.T, c *tether.Client, rng *random.Source, all *sync.WaitGroup) {
	end := time.Now().Add(f.lasts)
	for {
		time.Sleep(time.Duration(-math.Log(1-rng.Float64()) / f.perSecond * 1e9))
		if time.Now().After(end) {
			return
		}
		f.calls.Add(1)
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), f.deadline)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := c.Do(req)
			if err != nil {
				return
			}
			if resp.StatusCode == 200 {
				f.good.Add(1)
			}
			resp.Body.Close()
		})
	}
}

// Law 1: into a dead server, a client's ten thousand calls make ten thousand attempts and one.
func TestLaw1OneClient(t *testing.T) {
	for _, fault := range []func(*http.Request, int) (*http.Response, error){
		dead, always(500), always(503), func(*http.Request, int) (*http.Response, error) { return nil, io.EOF },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: fault}
			c := client(t, b, tether.Options{})
			const calls = 10_000
			for range calls {
				get(c, api)
			}
			if most := calls + 1; b.attempts() > most {
				t.Errorf("%d attempts, at most %d", b.attempts(), most)
			}
		})
	}
}

// Law 1: a fleet's re-attempts are at most what each client starts with and a tenth of the successes.
func TestLaw1Fleet(t *testing.T) {
	for _, failing := range []float64{0.01, 0.3, 1} {
		synctest.Test(t, func(t *testing.T) {
			rng := random.New(9)
			b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
				if rng.Float64() < failing {
					return answer(req, 500), nil
				}
				return answer(req, 200), nil
			}}
			f := &fleet{clients: 200, perSecond: 1, lasts: time.Minute, deadline: 10 * time.Second, base: b}
			f.run(t)
			calls, good := f.calls.Load(), f.good.Load()
			most := float64(calls) + float64(f.clients) + 0.1*float64(good)
			if n := float64(b.attempts()); n > most {
				t.Errorf("%.0f%% failing: %v attempts for %d calls, %d good: at most %v", failing*100, n, calls, good, most)
			}
			if failing == 0.01 && float64(good) < 0.999*float64(calls) {
				t.Errorf("1%% failing: %d of %d calls succeed", good, calls)
			}
		})
	}
}

// Law 2: after "not before T" nothing covered leaves before T, whatever form it had; a 503 covers the
// target, a 429 the credential alone.
func TestLaw2Silence(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		fields func(now time.Time) []string
		silent time.Duration
	}{
		{"503 seconds", 503, func(time.Time) []string { return []string{"Retry-After", "20"} }, 20 * time.Second},
		{"429 seconds", 429, func(time.Time) []string { return []string{"Retry-After", "20"} }, 20 * time.Second},
		{"503 date", 503, func(now time.Time) []string {
			return []string{"Retry-After", now.Add(20 * time.Second).UTC().Format(http.TimeFormat)}
		}, 20 * time.Second},
		{"503 date, the server's clock a day off", 503, func(now time.Time) []string {
			theirs := now.Add(24 * time.Hour).UTC()
			return []string{"Retry-After", theirs.Add(20 * time.Second).Format(http.TimeFormat), "Date", theirs.Format(http.TimeFormat)}
		}, 20 * time.Second},
		{"the ceiling", 503, func(time.Time) []string { return []string{"Retry-After", "9223372037"} }, time.Hour},
		{"thirty digits", 503, func(time.Time) []string { return []string{"Retry-After", strings.Repeat("9", 30)} }, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				b := &backend{}
				b.serve = func(req *http.Request, n int) (*http.Response, error) {
					if n == 1 {
						return answer(req, test.status, test.fields(began)...), nil
					}
					return answer(req, 200), nil
				}
				c := client(t, b, tether.Options{})
				if status, _, err := get(c, api); status != test.status || err != nil {
					t.Fatalf("the first call got %d, %v, want the server's own answer", status, err)
				}
				var all sync.WaitGroup
				for range max(2, int(4000/test.silent.Seconds())) {
					all.Go(func() {
						for time.Since(began) < test.silent+5*time.Second {
							_, _, err := get(c, api)
							if err != nil {
								r := rejected(t, err)
								if !r.ServerAsked && time.Since(began) < test.silent-11*time.Second {
									t.Errorf("refused by %v, not by the hold", r.Stage)
								}
							}
							time.Sleep(time.Duration(1+len(err2string(err))) * 100 * time.Millisecond)
						}
					})
				}
				all.Wait()
				if early := b.attemptsSince(began.Add(time.Nanosecond)) - b.attemptsSince(began.Add(test.silent)); early != 0 {
					t.Errorf("%d attempts before T", early)
				}
				if b.attempts() < 2 {
					t.Error("nothing came back after T")
				}
			})
		})
	}
}

func err2string(err error) string {
	if err == nil {
		return ""
	}
	return "refused"
}

// Law 2: one tenant's 429 never stalls another; a 503 stalls both.
func TestLaw2Partitions(t *testing.T) {
	for _, test := range []struct {
		status int
		other  bool // the other tenant is served
	}{{429, true}, {503, false}} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
				if n == 1 {
					return answer(req, test.status, "Retry-After", "30"), nil
				}
				return answer(req, 200), nil
			}}
			c := client(t, b, tether.Options{})
			as := func(token string) error {
				ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				req.Header.Set("Authorization", token)
				resp, err := c.Do(req)
				if err == nil {
					resp.Body.Close()
				}
				return err
			}
			as("Bearer a")
			if err := as("Bearer a"); !errors.Is(err, pacing.ErrHeld) {
				t.Errorf("%d: the tenant that was told to wait got %v", test.status, err)
			} else if strings.Contains(err.Error(), "Bearer") {
				t.Errorf("the error shows the credential: %v", err)
			}
			if err := as("Bearer b"); (err == nil) != test.other {
				t.Errorf("%d: the other tenant got %v", test.status, err)
			}
		})
	}
}

// Law 3 and 4: a fleet that was told the same moment comes back spread, at no more than its usual rate.
func TestLaw4ReturnOfAFleet(t *testing.T) {
	served := func(req *http.Request, _ int) (*http.Response, error) {
		time.Sleep(20 * time.Millisecond)
		return answer(req, 200), nil
	}
	rate := float64(max(200, times(500))) // calls a second, of all clients together
	for _, fault := range []struct {
		name    string
		clients int
		set     func(b *backend, began time.Time)
	}{
		{"hold", int(2 * rate), func(b *backend, began time.Time) {
			until := began.Add(80 * time.Second)
			b.becomes(func(req *http.Request, _ int) (*http.Response, error) {
				if left := time.Until(until); left > 0 {
					return answer(req, 503, "Retry-After", fmt.Sprint(int(math.Ceil(left.Seconds())))), nil
				}
				return served(req, 0)
			})
		}},
		// Busy clients: a quiet one's breaker hardly opens, its pacing is rehearsed in package tethertest.
		{"open breaker", int(rate / 50), func(b *backend, began time.Time) {
			until := began.Add(80 * time.Second)
			b.becomes(func(req *http.Request, n int) (*http.Response, error) {
				if time.Until(until) > 0 {
					return nil, errRefused
				}
				return served(req, 0)
			})
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: served}
				began := time.Now()
				time.AfterFunc(60*time.Second, func() { fault.set(b, began) })
				f := &fleet{clients: fault.clients, perSecond: rate / float64(fault.clients),
					lasts: 120 * time.Second, deadline: 30 * time.Second, base: b}
				f.run(t)
				after := began.Add(80 * time.Second)
				busiest := 0
				seconds := make(map[int]int)
				b.mu.Lock()
				for _, at := range b.times {
					if !at.Before(after) {
						seconds[int(at.Sub(after)/time.Second)]++
					}
				}
				b.mu.Unlock()
				for _, n := range seconds {
					busiest = max(busiest, n)
				}
				// 1.1 times the usual rate, growing by good answers to 1.3 times. A client knows its rate to
				// about a sixth from some twenty calls, half of it in the sum; four deviations of the count.
				if most := rate*1.3*1.08 + 4*math.Sqrt(rate); float64(busiest) > most {
					t.Errorf("the busiest second after it had %d attempts, at most %.0f", busiest, most)
				}
				if most := rate*1.1*1.08 + 4*math.Sqrt(rate); float64(max(seconds[0], seconds[1])) > most {
					t.Errorf("the first seconds had %d and %d attempts, at most %.0f", seconds[0], seconds[1], most)
				}
				if float64(seconds[2]) < 0.8*rate {
					t.Errorf("in the third second after it %d attempts: too slow a return", seconds[2])
				}
			})
		})
	}
}

// Law 5: at the moment a breaker may be tested, ten thousand waiting callers make one probe.
func TestLaw5Probes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, tether.Options{})
		open(t, e, query)
		var under, most, sent atomic.Int64
		var all sync.WaitGroup
		for range 10_000 {
			all.Go(func() {
				e.Do(t.Context(), query, func(context.Context, *tether.Permit) tether.Outcome {
					sent.Add(1)
					most.Store(max(most.Load(), under.Add(1)))
					time.Sleep(500 * time.Millisecond)
					under.Add(-1)
					return failing()
				})
			})
		}
		all.Wait()
		if most.Load() != 1 || sent.Load() == 0 || sent.Load() > 10 {
			t.Errorf("%d probes in all, %d at once", sent.Load(), most.Load())
		}
	})
}

// Law 2: a call that waits for its turn when its credential is told to wait is covered too.
func TestLaw2CoversThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			if req.URL.Path == "/slow" {
				time.Sleep(500 * time.Millisecond)
				return answer(req, 429, "Retry-After", "30"), nil
			}
			return answer(req, 503), nil
		}}
		c := client(t, b, tether.Options{InitialRetries: policy.Ptr(0)})
		send := func(url string, opts tether.CallOptions) {
			ctx, cancel := context.WithTimeout(tether.WithCall(t.Context(), opts), 60*time.Second)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if resp, err := c.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		var all sync.WaitGroup
		all.Go(func() { send("http://api.example/slow", tether.CallOptions{}) })
		synctest.Wait()
		for range 5 { // slows the target down
			send(api, tether.CallOptions{NoWait: true})
		}
		all.Go(func() { send(api, tether.CallOptions{}) })
		all.Wait()
		told := began.Add(500 * time.Millisecond)
		if early := b.attemptsSince(told) - b.attemptsSince(told.Add(30*time.Second)); early != 0 {
			t.Errorf("%d attempts of the credential before its time", early)
		}
		if b.attemptsSince(told.Add(30*time.Second)) == 0 {
			t.Error("the call that waited was never sent")
		}
	})
}
