package tether_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/policy"
)

// TestW16DeniedHedge: what stands in a hedge's way between its attempt and its time keeps it back for
// good, and the attempt's answer is the call's.
func TestW16DeniedHedge(t *testing.T) {
	ask := func(path string, until func(tether.TargetHealth) bool) func(*testing.T, *tether.Client) {
		return func(t *testing.T, c *tether.Client) {
			for range 20 {
				req, _ := http.NewRequestWithContext(tether.WithCall(t.Context(), tether.CallOptions{NoWait: true}),
					http.MethodPost, "http://api.example/"+path, nil)
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
				}
				if until(c.Engine().Health().Targets[0]) {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Error("it never came about")
		}
	}
	for name, test := range map[string]struct {
		obstacle func(*testing.T, *tether.Client)
		saved    int
		hedges   uint64
	}{
		"nothing":   {func(*testing.T, *tether.Client) {}, 1, 1},
		"no budget": {func(*testing.T, *tether.Client) {}, 0, 0},
		"breaker":   {ask("dead", func(h tether.TargetHealth) bool { return h.Breaker != breaker.Closed }), 1, 0},
		"hold":      {ask("hold", func(h tether.TargetHealth) bool { return !h.HeldUntil.IsZero() }), 1, 0},
		"pacing":    {ask("busy", func(h tether.TargetHealth) bool { return h.PacedPerSecond > 0 }), 1, 0},
		"lane held": {ask("limit", func(tether.TargetHealth) bool { return true }), 1, 0},
		"lane paced": {ask("quota", func(h tether.TargetHealth) bool {
			return h.Stages[tether.StagePacing].Refused > 0
		}), 1, 0},
		"kill": {func(t *testing.T, c *tether.Client) {
			if _, err := c.Engine().Apply(killAll); err != nil {
				t.Fatal(err)
			}
		}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
					switch req.URL.Path {
					case "/dead":
						return nil, errRefused
					case "/busy":
						return answer(req, 503), nil
					case "/hold":
						return answer(req, 503, "Retry-After", "100"), nil
					case "/quota":
						return answer(req, 429), nil
					case "/limit":
						return answer(req, 429, "Retry-After", "100"), nil
					}
					return after(req, 15*time.Second, answer(req, 200))
				}}
				own := policy.Settings{Call: policy.CallSettings{
					HedgingPolicy: &policy.HedgingSettings{HedgingDelay: policy.Ptr(5 * time.Second)}}}
				if name == "breaker" { // pacing would be in the way sooner
					own.Target.Pacing = &policy.PacingSettings{Mode: policy.Ptr("off")}
				}
				c := clientBy(t, b, own, tether.Options{InitialRetries: &test.saved})
				var all sync.WaitGroup
				all.Go(func() {
					if status, _, err := get(c, "http://api.example/slow"); status != 200 || err != nil {
						t.Errorf("the attempt got %d, %v", status, err)
					}
				})
				synctest.Wait()
				test.obstacle(t, c)
				all.Wait()
				h := c.Engine().Health().Targets[0]
				if h.Hedges != test.hedges {
					t.Errorf("%d hedges: %+v", h.Hedges, h)
				}
				if want := float64(test.saved) + 0.1 - float64(test.hedges); math.Abs(h.RetriesSaved-want) > 1e-9 {
					t.Errorf("%v re-attempts are saved, want %v", h.RetriesSaved, want)
				}
			})
		})
	}
}

// TestW16LatencyStep: when every call takes ten times as long, hedges stay within the budget, whether by a
// fixed delay or by a quantile, and every call is served.
func TestW16LatencyStep(t *testing.T) {
	for name, settings := range map[string]policy.HedgingSettings{
		"fixed":    {HedgingDelay: policy.Ptr(100 * time.Millisecond)},
		"quantile": {Quantile: policy.Ptr(0.95)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := random.New(3)
				var slower atomic.Bool
				b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
					wait := 40 + 20*rng.Float64()
					if slower.Load() {
						wait *= 10
					}
					return after(req, time.Duration(wait*1e6), answer(req, 200))
				}}
				c := hedgedBy(t, b, settings, tether.Options{})
				const calls = 1000
				phase := func() (attempts int) {
					before := b.attempts()
					var all sync.WaitGroup
					for range calls {
						all.Go(func() {
							if status, _, err := get(c, api); status != 200 || err != nil {
								t.Errorf("%d, %v", status, err)
							}
						})
						time.Sleep(20 * time.Millisecond)
					}
					all.Wait()
					return b.attempts() - before
				}
				healthy := phase()
				saved := c.Engine().Health().Targets[0].RetriesSaved
				slower.Store(true)
				slow := phase()
				t.Logf("healthy %d, slow %d attempts for %d calls; %v saved", healthy, slow, calls, saved)
				if most := calls + 0.1*calls + saved; float64(slow) > most {
					t.Errorf("%d attempts for %d calls, at most %v", slow, calls, most)
				}
				if slow == calls {
					t.Error("no hedge at all: it proves nothing")
				}
			})
		})
	}
}

// TestHedgeQuantile: with a quantile, as many calls are hedged as it says, and go on being so though the
// slowest attempts never end; before it is known none is, or after the fixed delay. Its hedges bring the
// slowest answers down.
func TestHedgeQuantile(t *testing.T) {
	for _, quantile := range []float64{0.7, 0.9, 0.95, 0.99} {
		synctest.Test(t, func(t *testing.T) {
			rng := random.New(5)
			b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
				wait := -100 * math.Log(1-rng.Float64())
				return after(req, time.Duration(wait*1e6), answer(req, 200))
			}}
			c := clientBy(t, b, policy.Settings{
				Call:   policy.CallSettings{HedgingPolicy: &policy.HedgingSettings{Quantile: &quantile}},
				Target: policy.TargetSettings{RetryBudget: &policy.BudgetSettings{Ratio: policy.Ptr(1.0)}},
			}, tether.Options{})
			ask := func(n int) (hedges float64) {
				before := c.Engine().Health()
				for range n {
					get(c, api)
				}
				hedges = float64(c.Engine().Health().Targets[0].Hedges)
				if len(before.Targets) > 0 {
					hedges -= float64(before.Targets[0].Hedges)
				}
				return hedges
			}
			if n := ask(50); n > 0 {
				t.Errorf("%v: %v hedges before it is known", quantile, n)
			}
			ask(500)
			const calls = 4000
			share := ask(calls) / calls
			t.Logf("%v: %.1f %% hedged", quantile, 100*share)
			if want := 1 - quantile; share < 0.86*want || share > 1.14*want {
				t.Errorf("%v: %.2f %% of the calls are hedged, want %.2f %%", quantile, 100*share, 100*want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{wait: time.Second, status: 200})}
		c := hedgedBy(t, b, policy.HedgingSettings{HedgingDelay: policy.Ptr(hedgeDelay), Quantile: policy.Ptr(0.9)}, tether.Options{})
		get(c, api)
		if n := c.Engine().Health().Targets[0].Hedges; n != 1 {
			t.Errorf("%d hedges after the fixed delay, want 1", n)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the fixed delay is the shortest
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			return after(req, map[bool]time.Duration{true: 10 * time.Millisecond, false: 180 * time.Millisecond}[n <= 100], answer(req, 200))
		}}
		c := hedgedBy(t, b, policy.HedgingSettings{HedgingDelay: policy.Ptr(hedgeDelay), Quantile: policy.Ptr(0.9)}, tether.Options{})
		for range 101 {
			get(c, api)
		}
		if n := c.Engine().Health().Targets[0].Hedges; n != 0 {
			t.Errorf("%d hedges before the shortest delay", n)
		}
	})
}

// Law 3: clients that ask together don't hedge together.
func TestLaw3HedgesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{wait: time.Second, status: 200})}
		var all sync.WaitGroup
		began := time.Now()
		for i := range 1000 {
			c := hedged(t, b, tether.Options{Seed: uint64(i + 1)})
			all.Go(func() { get(c, api) })
		}
		all.Wait()
		for from := began.Add(hedgeDelay); from.Before(began.Add(hedgeDelay * 3 / 2)); from = from.Add(10 * time.Millisecond) {
			if n := b.attemptsSince(from) - b.attemptsSince(from.Add(10*time.Millisecond)); n < 50 || n > 150 {
				t.Errorf("%d of 1,000 hedges within 10 ms", n)
			}
		}
	})
}

// Law 2: what the loser's server says in the last moment is obeyed, and the winner's answer is the call's.
func TestLaw2OutrunAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &tracked{base: &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			if n == 1 {
				<-req.Context().Done()
				return answer(req, 503, "Retry-After", "60"), nil
			}
			return answer(req, 200), nil
		}}}
		c := hedged(t, b, tether.Options{})
		resp, err := explained(t, c, http.MethodGet, api)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if c.Engine().Health().Targets[0].HeldUntil.IsZero() {
			t.Error("the server is not held")
		}
		a := storyOf(t, resp, nil).Attempts[0]
		if resp.StatusCode != 200 || a.Status != 503 || !errors.Is(a.Err, tether.ErrOutrun) {
			t.Errorf("%d, and %+v before", resp.StatusCode, a)
		}
		b.check(t)
	})
}

// TestW15HedgedBody: over HTTP/1 and HTTP/2 the winner's body is read to its end however slowly, and the
// server sees the loser end.
func TestW15HedgedBody(t *testing.T) {
	for _, winner := range []int32{1, 2} {
		for protocol, serve := range map[string]func(testing.TB, http.Handler) (*http.Transport, string){
			"http1": memnet.Serve, "h2c": memnet.ServeH2C} {
			t.Run(fmt.Sprint(protocol, " ", winner), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n, ended atomic.Int32
					base, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if n.Add(1) != winner {
							<-r.Context().Done()
							ended.Add(1)
							return
						}
						time.Sleep(400 * time.Millisecond)
						for range 64 {
							io.WriteString(w, strings.Repeat("x", 16<<10))
							time.Sleep(50 * time.Millisecond)
						}
					}))
					bodies := &tracked{base: base}
					c := hedged(t, bodies, tether.Options{})
					resp, err := c.Get(url)
					if err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if ended.Load() != 1 {
						t.Error("the loser goes on")
					}
					read := 0
					for chunk := make([]byte, 32<<10); err == nil; time.Sleep(100 * time.Millisecond) {
						var got int
						got, err = resp.Body.Read(chunk)
						read += got
					}
					resp.Body.Close()
					if read != 1<<20 || err != io.EOF {
						t.Errorf("%d bytes, then %v", read, err)
					}
					bodies.check(t)
					for _, ctx := range bodies.contexts {
						if ctx.Err() == nil {
							t.Error("a context is left")
						}
					}
				})
			})
		}
	}
}

// TestHedgeOverSockets: the same over TCP and TLS, with HTTP/1 and HTTP/2, one call after another.
func TestHedgeOverSockets(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprint("http2 ", h2), func(t *testing.T) {
			var n atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1)%3 == 0 { // one request in three would never be answered
					<-r.Context().Done()
					return
				}
				io.WriteString(w, strings.Repeat("x", 100_000))
			}))
			server.EnableHTTP2 = h2
			server.StartTLS()
			defer server.Close()
			c := clientBy(t, server.Client().Transport, policy.Settings{
				Call: policy.CallSettings{Timeout: policy.Ptr(5 * time.Second),
					HedgingPolicy: &policy.HedgingSettings{HedgingDelay: policy.Ptr(5 * time.Millisecond)},
					RetryPolicy:   &policy.RetrySettings{MaxAttempts: policy.Ptr(2)}},
				Target: policy.TargetSettings{RetryBudget: &policy.BudgetSettings{Ratio: policy.Ptr(1.0)}},
			}, tether.Options{})
			for range 12 { // a hedge at most each: what follows a hang is answered, and saves the next one
				if status, body, err := get(c, server.URL); status != 200 || len(body) != 100_000 || err != nil {
					t.Fatalf("%d, %d bytes, %v", status, len(body), err)
				}
			}
			if hedges := c.Engine().Health().Targets[0].Hedges; hedges < 4 {
				t.Errorf("%d hedges", hedges)
			}
		})
	}
}

// TestHedgePush: a document switches hedging on only as far as the bounds say, and off always.
func TestHedgePush(t *testing.T) {
	const early = `"defaults": {"call": {"hedgingPolicy": {"hedgingDelay": "0.1s", "quantile": 0.6}}}`
	for _, test := range []struct {
		name   string
		own    policy.HedgingSettings
		bounds policy.Bounds
		push   string
		hedges uint64
		notes  int
	}{
		{name: "off in the code, on by push", push: early, notes: 2},
		{name: "allowed", bounds: policy.Bounds{MinHedgingDelay: 50 * time.Millisecond, MinHedgingQuantile: 0.5}, push: early, hedges: 1},
		{name: "sooner than the code", own: policy.HedgingSettings{HedgingDelay: policy.Ptr(900 * time.Millisecond)}, push: early, notes: 2},
		{name: "later than the code", own: policy.HedgingSettings{HedgingDelay: policy.Ptr(50 * time.Millisecond)},
			push: `"defaults": {"call": {"hedgingPolicy": {"hedgingDelay": "900ms"}}}`},
		{name: "off", own: policy.HedgingSettings{HedgingDelay: policy.Ptr(50 * time.Millisecond)},
			push: `"defaults": {"call": {"hedgingPolicy": {"hedgingDelay": "0s", "quantile": 1}}}`},
		{name: "on in the code", own: policy.HedgingSettings{HedgingDelay: policy.Ptr(50 * time.Millisecond)}, push: `"label": "x"`, hedges: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: steps(step{wait: 600 * time.Millisecond, status: 200})}
				c := hedgedBy(t, b, test.own, tether.Options{Bounds: test.bounds})
				notes, err := c.Engine().Apply(doc(1, ","+test.push))
				if err != nil || len(notes) != test.notes {
					t.Fatalf("%q, %v", notes, err)
				}
				get(c, api)
				if n := c.Engine().Health().Targets[0].Hedges; n != test.hedges {
					t.Errorf("%d hedges", n)
				}
			})
		})
	}
}
