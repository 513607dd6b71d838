package tether_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// A server's "don't repeat" counts whichever of the two got it.
func TestFaultHedgeVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{400 * time.Millisecond, 502, []string{"X-Should-Retry", "false"}},
			step{500 * time.Millisecond, 0, nil}, step{time.Millisecond, 200, nil})}
		c := hedged(t, b, tether.Options{InitialRetries: policy.Ptr(2)})
		resp, err := c.Get(api)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if n := b.attempts(); n != 2 || resp.StatusCode != 502 {
			t.Errorf("%d attempts, status %d: the server forbade a repeat", n, resp.StatusCode)
		}
	})
}

// The answer that a repeat will replace frees its slot, whichever of the two got it.
func TestFaultHedgeKeptSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big := func(req *http.Request) *http.Response {
			r := answer(req, 502)
			r.ContentLength = -1
			r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", 100<<10)))
			return r
		}
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			switch n {
			case 2:
				return after(req, 400*time.Millisecond, big(req))
			case 3:
				if _, err := after(req, 500*time.Millisecond, nil); err != nil {
					return nil, err
				}
				return nil, io.EOF
			}
			return answer(req, 200), nil
		}}
		c := clientBy(t, b, policy.Settings{
			Call:   policy.CallSettings{HedgingPolicy: &policy.HedgingSettings{HedgingDelay: policy.Ptr(hedgeDelay)}},
			Target: policy.TargetSettings{Concurrency: &policy.ConcurrencySettings{Max: policy.Ptr(2)}},
		}, tether.Options{InitialRetries: policy.Ptr(2)})
		first, err := c.Get(api)
		if err != nil {
			t.Fatal(err)
		}
		first.Body.Close()
		var stream *http.Response
		var other sync.WaitGroup
		other.Go(func() {
			time.Sleep(750 * time.Millisecond)
			stream, _ = c.Get(api)
		})
		began := time.Now()
		resp, err := c.Do(waiting(t, time.Minute, tether.CallOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(began); resp.StatusCode != 200 || took > 5*time.Second {
			t.Errorf("status %d after %v, %d attempts: waits for the slot that its own answer has", resp.StatusCode, took, b.attempts())
		}
		other.Wait()
		if stream != nil {
			stream.Body.Close()
		}
	})
}

// A document doesn't get round a hold by a rule with state of its own.
func TestFaultKeyRuleHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{0, 503, []string{"Retry-After", "600"}}, step{0, 200, nil})}
		c := hedged(t, b, tether.Options{})
		if resp, err := c.Get(api); err == nil {
			resp.Body.Close()
		}
		apply(t, c, 1, `,"rules":[{"name":"x","key":"rule","match":{"path":"/"},"target":{"rateLimit":{"perSecond":2}}}]`)
		if resp, err := c.Get(api); err == nil {
			t.Errorf("sent during the hold: %d", resp.StatusCode)
			resp.Body.Close()
		}
	})
}

// A budget that is spent stays so when a document gives a path state of its own.
func TestFaultKeyRuleBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(502)}
		c := hedged(t, b, tether.Options{})
		get := func() {
			if resp, err := c.Get(api); err == nil {
				resp.Body.Close()
			}
		}
		get()
		get()
		before := b.attempts()
		apply(t, c, 1, `,"rules":[{"name":"x","key":"rule","match":{"path":"/"},"target":{"rateLimit":{"perSecond":2}}}]`)
		time.Sleep(time.Second)
		get()
		if n := b.attempts() - before; n > 1 {
			t.Errorf("%d attempts of one call: the spent budget is filled again", n)
		}
	})
}

// A healthy server whose answers take longer just when demand is five to ten times the usual delays nobody.
func TestFaultSurgeSlower(t *testing.T) {
	for name, slow := range map[string]time.Duration{"0.3s": 300 * time.Millisecond, "1s": time.Second, "3s": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var busy atomic.Bool
				b := &backend{}
				c := clientBy(t, b, policy.Settings{}, tether.Options{})
				var wg sync.WaitGroup
				var late, failed atomic.Int32
				b.serve = func(req *http.Request, n int) (*http.Response, error) {
					d := 20 * time.Millisecond
					if busy.Load() {
						d = slow
					}
					return after(req, d, answer(req, 200))
				}
				for i := range 1200 {
					busy.Store(i > 600)
					calls := 1
					if i > 600 {
						calls = 8
					}
					for range calls {
						wg.Go(func() {
							began := time.Now()
							resp, err := c.Get(api)
							if err != nil {
								failed.Add(1)
								return
							}
							resp.Body.Close()
							if time.Since(began) > slow+10*time.Millisecond {
								late.Add(1)
							}
						})
					}
					time.Sleep(100 * time.Millisecond)
				}
				wg.Wait()
				if late.Load() > 0 || failed.Load() > 0 {
					t.Errorf("%d late, %d failed of 5400", late.Load(), failed.Load())
				}
			})
		})
	}
}

// Nor does it get round the hold of one credential; others go on.
func TestFaultKeyRuleLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{0, 429, []string{"Retry-After", "600"}}, step{0, 200, nil})}
		c := hedged(t, b, tether.Options{})
		ask := func(credential string) error {
			req := waiting(t, time.Second, tether.CallOptions{})
			req.Header.Set("Authorization", credential)
			resp, err := c.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		ask("a")
		apply(t, c, 1, `,"rules":[{"name":"x","key":"rule","match":{"path":"/"},"target":{"rateLimit":{"perSecond":2}}}]`)
		before := b.attempts()
		if err := ask("a"); b.attempts() != before {
			t.Errorf("the held credential's call was sent: %v", err)
		}
		if err := ask("b"); err != nil || b.attempts() != before+1 {
			t.Errorf("another credential's call wasn't: %v", err)
		}
	})
}
