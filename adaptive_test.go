package tether_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// A document makes the limit adaptive; refusals of the whole server lower it, said once; a kill of the
// setting and its return keep what was learnt, and those of one credential teach it nothing.
func TestAdaptiveFromADocument(t *testing.T) {
	refuse := func(*http.Request, int) (*http.Response, error) { return nil, errRefused }
	for name, test := range map[string]struct {
		answer  func(*http.Request, int) (*http.Response, error)
		lowered bool
	}{
		"503 lowers":       {always(503), true},
		"429 does not":     {always(429), false},
		"500 does not":     {always(500), false},
		"404 does not":     {always(404), false},
		"refused does not": {refuse, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				told := 0
				b := &backend{serve: always(200)}
				base := roundTrip(func(req *http.Request) (*http.Response, error) {
					time.Sleep(20 * time.Millisecond)
					return b.RoundTrip(req)
				})
				var cfg policy.Document
				cfg.Defaults.Target.Pacing = &policy.PacingSettings{Mode: policy.Ptr("off")}
				c, err := tether.NewClient(&http.Client{Transport: base}, tether.Options{Policy: cfg, Seed: 1,
					Observe: func(e tether.Event) {
						if e.Kind == tether.EventLimit {
							mu.Lock()
							defer mu.Unlock()
							told++
						}
					}})
				if err != nil {
					t.Fatal(err)
				}
				const on = `,"defaults":{"target":{"concurrency":{"max":40,"mode":"adaptive"}}}`
				apply(t, c, 1, on)
				calls := func() {
					var all sync.WaitGroup
					for range 200 {
						all.Go(func() {
							req, err := http.NewRequestWithContext(tether.WithCall(t.Context(),
								tether.CallOptions{NoWait: true}), http.MethodGet, api, nil)
							if err != nil {
								t.Error(err)
								return
							}
							if resp, err := c.Do(req); err == nil {
								io.Copy(io.Discard, resp.Body)
								resp.Body.Close()
							}
						})
						time.Sleep(10 * time.Millisecond)
					}
					all.Wait()
				}
				calls()
				if h := c.Engine().Health().Targets[0]; h.UnderWayLimit != 40 {
					t.Errorf("in calm %d", h.UnderWayLimit)
				}
				b.becomes(test.answer)
				calls()
				h := c.Engine().Health().Targets[0]
				mu.Lock()
				n := told
				mu.Unlock()
				if lowered := h.UnderWayLimit < 20 && n == 1; lowered != test.lowered {
					t.Errorf("limit %d, told %d times", h.UnderWayLimit, n)
				}
				apply(t, c, 2, "")
				apply(t, c, 3, on)
				apply(t, c, 4, `,"defaults":{"target":{"concurrency":{"max":100,"mode":"adaptive"}}}`)
				get(c, api)
				if after := c.Engine().Health().Targets[0]; test.lowered && after.UnderWayLimit > h.UnderWayLimit+2 {
					t.Errorf("a push raised it from %d to %d", h.UnderWayLimit, after.UnderWayLimit)
				}
			})
		})
	}
}
