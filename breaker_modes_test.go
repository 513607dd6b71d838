package tether_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
)

func breakerDoc(members string) string {
	return `,"defaults":{"target":{"circuitBreaker":{` + members + `}}}`
}

// A document that forces a breaker open refuses at once whoever waits and whoever comes, says that this
// is the server's decision, and leaves what was learnt as it was.
func TestForcedOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := client(t, b, tether.Options{})
		var all sync.WaitGroup
		openLoop(c, time.Second, 60*time.Second, &all)
		b.becomes(always(503, "Retry-After", "20"))
		get(c, api)
		b.becomes(always(200))
		var refused atomic.Int32
		for range 5 { // they wait for the hold's end
			all.Go(func() {
				if _, err := c.Do(waiting(t, time.Minute, tether.CallOptions{})); errors.Is(err, breaker.ErrForcedOpen) {
					refused.Add(1)
				}
			})
		}
		time.Sleep(time.Second)
		apply(t, c, 1, breakerDoc(`"mode":"forced-open"`))
		time.Sleep(time.Second)
		if n := refused.Load(); n != 5 {
			t.Errorf("%d of 5 who waited were refused", n)
		}
		time.Sleep(time.Hour)
		forced := b.attempts()
		began := time.Now()
		_, err := c.Do(waiting(t, time.Minute, tether.CallOptions{}))
		r := rejected(t, err)
		if r.Stage != tether.StageBreaker || !r.ServerAsked || !r.RetryAt.IsZero() || !errors.Is(err, breaker.ErrOpen) ||
			time.Since(began) > time.Second || strings.Contains(r.Error(), "try again after") {
			t.Errorf("refused with %v after %v", err, time.Since(began))
		}
		h := c.Engine().Health().Targets[0]
		if h.Breaker != breaker.Closed || h.BreakerMode != breaker.ForcedOpen {
			t.Errorf("the breaker is %v, %s", h.Breaker, h.BreakerMode)
		}
		for range 100 { // callers in distress
			all.Go(func() { get(c, api) })
		}
		all.Wait()
		if b.attempts() != forced {
			t.Errorf("%d attempts though forced open", b.attempts()-forced)
		}
		// Law 4: set back, the client returns at its usual rate, about one call a second.
		apply(t, c, 2, breakerDoc(`"mode":"auto"`))
		back := time.Now()
		for range 50 {
			all.Go(func() { get(c, api) })
		}
		time.Sleep(5 * time.Second)
		if n := b.attemptsSince(back); n < 2 || n > 12 {
			t.Errorf("%d attempts in the first 5 s, usual are 5", n)
		}
		all.Wait()
	})
}

// What was learnt returns when the mode is set back.
func TestForcedModesKeepWhatWasLearnt(t *testing.T) {
	for _, mode := range []string{"forced-open", "forced-closed"} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: dead}
			c := client(t, b, tether.Options{Bounds: policy.Bounds{BreakerOff: true}})
			apply(t, c, 1, breakerDoc(`"openTime":"3600s","maxOpenTime":"3600s"`))
			var all sync.WaitGroup
			openLoop(c, 100*time.Millisecond, 10*time.Second, &all)
			apply(t, c, 2, breakerDoc(`"openTime":"3600s","maxOpenTime":"3600s","mode":"`+mode+`"`))
			b.becomes(always(200))
			openLoop(c, time.Second, 10*time.Second, &all)
			apply(t, c, 3, breakerDoc(`"openTime":"3600s","maxOpenTime":"3600s"`))
			all.Wait()
			_, err := c.Do(waiting(t, time.Minute, tether.CallOptions{NoWait: true}))
			if r := rejected(t, err); r.Stage != tether.StageBreaker || time.Until(r.RetryAt) < 30*time.Minute {
				t.Errorf("%s and back: %v", mode, err)
			}
		})
	}
}

// Only what calms comes from a document without leave.
func TestBreakerModesAndBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for mode, want := range map[string]breaker.Mode{"forced-open": breaker.ForcedOpen, "auto": breaker.Auto,
			"observe-only": breaker.Auto, "forced-closed": breaker.Auto} {
			for _, off := range []bool{false, true} {
				c := client(t, &backend{serve: always(200)}, tether.Options{Bounds: policy.Bounds{BreakerOff: off}})
				notes := apply(t, c, 1, breakerDoc(`"mode":"`+mode+`"`))
				get(c, api)
				got := c.Engine().Health().Targets[0].BreakerMode
				if off {
					want = breaker.Mode(mode)
				}
				if got != want || (len(notes) > 0) != (string(got) != mode) {
					t.Errorf("%s with BreakerOff %v: %s, notes %q", mode, off, got, notes)
				}
			}
		}
	})
}

// A breaker that only observes says what it would do, and neither refuses nor delays anybody.
func TestObserveOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened atomic.Int32
		b := &backend{}
		cfg := policy.Document{}
		cfg.Defaults.Call.RetryPolicy = &policy.RetrySettings{MaxAttempts: policy.Ptr(1)}
		cfg.Defaults.Target.CircuitBreaker = &policy.BreakerSettings{Mode: policy.Ptr(breaker.ObserveOnly)}
		c, err := tether.NewClient(&http.Client{Transport: b}, tether.Options{Policy: cfg, Seed: 1, Observe: func(e tether.Event) {
			if e.Kind == tether.EventBreaker && e.Note == "closed -> open: failure ratio" {
				opened.Add(1)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			b.becomes([]func(*http.Request, int) (*http.Response, error){always(500), always(200)}[i/100])
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					began := time.Now()
					if _, _, err := get(c, api); err != nil || time.Since(began) > 0 {
						t.Errorf("call %d: %v after %v", i, err, time.Since(began))
					}
				})
			}
			all.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		if h := c.Engine().Health().Targets[0]; opened.Load() != 1 || h.Breaker != breaker.Closed || h.BreakerCause != breaker.ProbesSucceeded {
			t.Errorf("opened %d times, now %v: %v", opened.Load(), h.Breaker, h.BreakerCause)
		}
	})
}

// slowly serves quick and batch requests in about the times that they take, times a factor.
func slowly(factor *atomic.Int64) func(*http.Request, int) (*http.Response, error) {
	return func(req *http.Request, n int) (*http.Response, error) {
		usual := 20 * time.Millisecond
		if req.URL.Path == "/batch" {
			usual = 5 * time.Second
		}
		rng := rand.New(rand.NewPCG(uint64(n), 5))
		time.Sleep(time.Duration(float64(usual) * float64(factor.Load()) * (0.5 + rng.ExpFloat64()/2)))
		return answer(req, 200), nil
	}
}

func TestSlowCalls(t *testing.T) {
	usual := breakerDoc(`"slowCallRatio":0.5`)
	for name, test := range map[string]struct {
		document string
		batch    bool  // too
		factor   int64 // of all times, after ten minutes
		opens    bool
	}{
		"off by default":             {"", true, 20, false},
		"by a duration":              {breakerDoc(`"slowCallRatio":0.5,"slowCallDuration":"0.2s"`), false, 20, true},
		"each route has its usual":   {usual, true, 1, false},
		"slower than usual, by far":  {usual, true, 20, true},
		"slower than usual, by half": {usual, true, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var factor, opened, refused atomic.Int64
				c := client(t, &backend{serve: slowly(&factor)}, tether.Options{Observe: func(e tether.Event) {
					if e.Kind == tether.EventBreaker && strings.HasSuffix(e.Note, "slow calls") {
						opened.Add(1)
					}
				}})
				if test.document != "" {
					apply(t, c, 1, test.document)
				}
				var all sync.WaitGroup
				calls := func(times int64, d time.Duration) {
					factor.Store(times)
					for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
						for _, path := range []string{"/quick", "/batch"}[:1+map[bool]int{true: 1}[test.batch]] {
							all.Go(func() {
								if _, _, err := get(c, "http://api.example"+path); err != nil {
									refused.Add(1)
								}
							})
						}
					}
				}
				calls(1, 10*time.Minute)
				if opened.Load() > 0 {
					t.Fatal("opened in calm")
				}
				calls(test.factor, 2*time.Minute)
				if got := opened.Load() > 0; got != test.opens {
					t.Errorf("opened %v, want %v", got, test.opens)
				}
				if !test.opens && refused.Load() > 0 {
					t.Errorf("%d refused", refused.Load())
				}
				calls(1, 2*time.Minute)
				all.Wait()
				if _, _, err := get(c, "http://api.example/quick"); err != nil {
					t.Errorf("after it: %v", err)
				}
			})
		})
	}
}

// A stream that ends well was not a slow answer, however long it took.
func TestStreamsAreNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, tether.Options{})
		if _, err := e.Apply(doc(1, breakerDoc(`"slowCallRatio":0.5,"slowCallDuration":"1s"`))); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			p, err := e.Begin(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond)
			p.Done(fine())
		}
		if h := e.Health().Targets[0]; h.BreakerCause != 0 {
			t.Errorf("%v: %v", h.Breaker, h.BreakerCause)
		}
	})
}

// Law 11: hosts without number, half of them dead, leave memory and the table flat; the dead ones of an
// hour ago don't keep it from new ones.
func TestLaw11ManyDeadHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := policy.Document{}
		cfg.Defaults.Target.Pacing = &policy.PacingSettings{Mode: policy.Ptr("off")} // else breakers see little
		e, err := tether.New(tether.Options{Policy: cfg, Seed: 1, MaxTargets: 100})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		visit := func(hosts int) {
			for range hosts {
				what := tether.Call{Host: fmt.Sprintf("%x.example", rng.Uint64()), CallOptions: tether.CallOptions{NoWait: true}}
				dead := rng.IntN(2) == 0
				for range 6 {
					_ = e.Do(t.Context(), what, func(context.Context, *tether.Permit) tether.Outcome {
						if dead {
							return failing()
						}
						return fine()
					})
				}
				time.Sleep(time.Second)
			}
		}
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		visit(1000)
		before := heap()
		visit(5000)
		if after := heap(); after > before+before/4+1<<20 {
			t.Errorf("the heap grew from %d to %d bytes", before, after)
		}
		targets := e.Health().Targets
		if len(targets) > 101 {
			t.Errorf("%d targets are remembered", len(targets))
		}
		time.Sleep(time.Hour)
		if err := e.Do(t.Context(), tether.Call{Host: "new.example"}, func(context.Context, *tether.Permit) tether.Outcome { return fine() }); err != nil {
			t.Error(err)
		}
		if !slices.ContainsFunc(e.Health().Targets, func(h tether.TargetHealth) bool { return h.Target == "new.example" }) {
			t.Error("servers that died an hour ago keep a new one out of the table")
		}
	})
}
