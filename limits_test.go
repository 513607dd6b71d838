package tether_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit"
)

// limited is a client whose own Config limits every target.
func limited(t testing.TB, base http.RoundTripper, perSecond float64, burst, concurrent int, opts tether.Options) *tether.Client {
	t.Helper()
	var cfg policy.Document
	if perSecond > 0 {
		cfg.Defaults.Target.RateLimit = &policy.RateSettings{PerSecond: &perSecond, Burst: &burst}
	}
	if concurrent > 0 {
		cfg.Defaults.Target.Concurrency = &policy.ConcurrencySettings{Max: &concurrent}
	}
	opts.Seed = 1
	opts.Policy = cfg
	c, err := tether.NewClient(&http.Client{Transport: base}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func apply(t testing.TB, c *tether.Client, version int, rest string) []string {
	t.Helper()
	notes, err := c.Engine().Apply(doc(version, rest))
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

func TestRateLimitWaitsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := limited(t, b, 5, 10, 0, tether.Options{})
		var mu sync.Mutex
		var served []int
		var all sync.WaitGroup
		began := time.Now()
		for i := range 40 {
			all.Go(func() {
				if status, _, err := get(c, api); status != 200 {
					t.Errorf("call %d: %v", i, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				served = append(served, i)
			})
			synctest.Wait()
		}
		all.Wait()
		if took := time.Since(began).Seconds(); took < 7.8 || took > 8.1 {
			t.Errorf("40 calls at 5 a second took %.1f s", took)
		}
		if !slices.IsSorted(served) {
			t.Errorf("served in the order %v", served)
		}
		h := c.Engine().Health().Targets[0].Stages[tether.StageRate]
		if h.Passed != 40 || h.Waited == 0 || h.Refused != 0 {
			t.Errorf("rate limit %+v", h)
		}
	})
}

func TestRateLimitRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := limited(t, b, 0.5, 1, 0, tether.Options{})
		get(c, api)
		began := time.Now()
		wantRefusal := func(ctx context.Context, at float64) {
			t.Helper()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Do(req)
			r := rejected(t, err)
			after := r.RetryAt.Sub(began).Seconds()
			if r.Stage != tether.StageRate || !errors.Is(err, ratelimit.ErrLimited) || r.ServerAsked ||
				after < at || after > at+2 || !strings.Contains(r.Error(), "our own limit of calls a second") ||
				!strings.Contains(r.Error(), "try again after") {
				t.Errorf("%v, after %.1f s, want %v", err, after, at)
			}
		}
		noWait := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
		wantRefusal(noWait, 2)
		var all sync.WaitGroup
		for range 4 { // their turns come at 2 to 4 s, and every 2 s after that
			all.Go(func() { get(c, api) })
		}
		synctest.Wait()
		wantRefusal(noWait, 10)
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		wantRefusal(short, 10)
		if time.Since(began) > 300*time.Millisecond {
			t.Errorf("a call whose turn comes too late was kept for %v", time.Since(began))
		}
		all.Wait()
		if n := b.attempts(); n != 5 {
			t.Errorf("%d attempts, want 5", n)
		}
	})
}

// No document lets more out than the application's own limit and the bounds do; any may calm, for the
// calls of one rule too.
func TestRateLimitFromADocument(t *testing.T) {
	rate := func(perSecond float64, burst int) string {
		return fmt.Sprintf(`,"defaults":{"target":{"rateLimit":{"perSecond":%v,"burst":%d}}}`, perSecond, burst)
	}
	for name, test := range map[string]struct {
		own      float64
		bounds   policy.Bounds
		document string
		least    int // attempts in 100 s of 10 calls a second that don't wait
		most     int
	}{
		"introduced":                 {0, policy.Bounds{}, rate(2, 10), 190, 212},
		"lowered":                    {5, policy.Bounds{}, rate(1, 1), 88, 102},
		"not raised":                 {2, policy.Bounds{}, rate(9, 100), 190, 204},
		"not lifted":                 {2, policy.Bounds{}, `,"defaults":{"target":{"rateLimit":{"perSecond":0}}}`, 190, 204},
		"raised within the bounds":   {2, policy.Bounds{MaxPerSecond: 4, MaxBurst: 2}, rate(9, 100), 390, 404},
		"of a rule of its own":       {0, policy.Bounds{}, `,"rules":[{"name":"items","key":"rule","match":{"path":"/v1"},"target":{"rateLimit":{"perSecond":2}}}]`, 190, 204},
		"of another rule":            {0, policy.Bounds{}, `,"rules":[{"name":"else","key":"rule","match":{"path":"/v2"},"target":{"rateLimit":{"perSecond":2}}}]`, 1000, 1000},
		"of the own default's burst": {2, policy.Bounds{}, `,"defaults":{"target":{"rateLimit":{"burst":1000}}}`, 190, 204},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: always(200)}
				c := limited(t, b, test.own, 2, 0, tether.Options{Bounds: test.bounds})
				apply(t, c, 1, test.document)
				ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
				for range 1000 {
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example/v1/items", nil)
					if err != nil {
						t.Fatal(err)
					}
					if resp, err := c.Do(req); err == nil {
						resp.Body.Close()
					}
					time.Sleep(100 * time.Millisecond)
				}
				if n := b.attempts(); n < test.least || n > test.most {
					t.Errorf("%d attempts, want %d to %d", n, test.least, test.most)
				}
			})
		})
	}
}

// Those who wait hear of a limit that is lifted, though no other call brings the news.
func TestLimitsAreLiftedForThoseWhoWait(t *testing.T) {
	for name, rest := range map[string]string{
		"rateLimit":   `,"defaults":{"target":{"rateLimit":{"perSecond":0.05}}}`,
		"concurrency": `,"defaults":{"target":{"concurrency":{"max":1}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := limited(t, &backend{serve: always(200)}, 0, 0, 0, tether.Options{})
				apply(t, c, 1, rest)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				first, err := c.Get(api) // its body stays open
				if err != nil {
					t.Fatal(err)
				}
				defer first.Body.Close()
				began := time.Now()
				time.AfterFunc(5*time.Second, func() { apply(t, c, 2, "") })
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(req)
				if err != nil || time.Since(began) > 6*time.Second {
					t.Fatalf("%v after %v", err, time.Since(began))
				}
				resp.Body.Close()
			})
		})
	}
}

// Law 4: what a bucket saved during a hold is no leave for a burst after it.
func TestRateLimitAfterAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := limited(t, b, 50, 1000, 0, tether.Options{})
		var all sync.WaitGroup
		openLoop(c, time.Second, 60*time.Second, &all)
		b.becomes(always(503, "Retry-After", "30"))
		get(c, api)
		b.becomes(always(200))
		openLoop(c, time.Second, 30*time.Second, &all)
		end := time.Now()
		for range 50 {
			all.Go(func() { get(c, api) })
		}
		time.Sleep(10 * time.Second)
		if n := b.attemptsSince(end); n > 25 {
			t.Errorf("%d attempts in the 10 s after a hold, usual are 10", n)
		}
		all.Wait()
	})
}
