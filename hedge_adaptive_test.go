package tether_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// TestHedgeBesideAdaptiveLimit: an attempt whose failure turns the adaptive limit while its hedge is out shares no
// field with it that is written, and is named by its own ordinal. The race detector judges the first.
func TestHedgeBesideAdaptiveLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trouble := false
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			switch {
			case !trouble:
				return after(req, 20*time.Millisecond, answer(req, 200))
			case tether.AttemptFrom(req.Context()) == 1:
				return after(req, 2*hedgeDelay, answer(req, 503))
			}
			return after(req, 20*hedgeDelay, answer(req, 200))
		})
		var mu sync.Mutex
		var limited []int
		observe := func(e tether.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == tether.EventLimit {
				limited = append(limited, e.Attempt)
			}
		}
		c := clientBy(t, base, policy.Settings{
			Call: policy.CallSettings{HedgingPolicy: &policy.HedgingSettings{HedgingDelay: policy.Ptr(hedgeDelay)}},
			Target: policy.TargetSettings{
				Pacing:      &policy.PacingSettings{Mode: policy.Ptr("off")},
				Concurrency: &policy.ConcurrencySettings{Max: policy.Ptr(400), Mode: policy.Ptr("adaptive")},
			},
		}, tether.Options{Observe: observe, InitialRetries: policy.Ptr(2)})
		for range 300 {
			get(c, api)
		}
		trouble = true
		var all sync.WaitGroup
		for range 30 { // each has its hedge out when it fails, as far as the budget goes
			all.Go(func() { get(c, api) })
			time.Sleep(5 * time.Millisecond)
		}
		all.Wait()
		if h := c.Engine().Health().Targets[0]; h.Hedges == 0 || len(limited) == 0 {
			t.Fatalf("%d hedges, the limit turned %d times: the test needs both", h.Hedges, len(limited))
		}
		if limited[0] != 1 {
			t.Errorf("the limit fell at attempt %d, want the one that failed, 1", limited[0])
		}
	})
}
