package tether_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// rhythm is how callers ask: in bursts, a gap apart.
type rhythm struct {
	burst    int
	gap      time.Duration
	deadline time.Duration // 0: none
	noWait   bool
}

// play asks for a while and returns how many calls there were and how many were answered 200.
func (r rhythm) play(c *tether.Client, during time.Duration) (answered, asked int64) {
	var all sync.WaitGroup
	var n atomic.Int64
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(r.gap) {
		for range r.burst {
			asked++
			all.Go(func() {
				ctx := tether.WithCall(context.Background(), tether.CallOptions{NoWait: r.noWait})
				if r.deadline > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, r.deadline)
					defer cancel()
				}
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				resp, err := c.Do(req)
				if err == nil {
					resp.Body.Close()
					if resp.StatusCode == http.StatusOK {
						n.Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	return n.Load(), asked
}

func takes(d time.Duration) func(*http.Request, int) (*http.Response, error) {
	return func(req *http.Request, _ int) (*http.Response, error) {
		time.Sleep(d)
		return answer(req, 200), nil
	}
}

// TestPacingEnds: whatever the trouble was and however callers ask, a healthy server gets all calls
// again within some minutes (laws 4 and 10).
func TestPacingEnds(t *testing.T) {
	held := always(503, "Retry-After", "2")
	steady := func(gap time.Duration) rhythm { return rhythm{1, gap, 5 * time.Second, false} }
	for _, test := range []struct {
		name    string
		usual   rhythm
		trouble func(*http.Request, int) (*http.Response, error)
		lasts   time.Duration
		latency time.Duration // of the server behind it; 10 ms before
	}{
		{"failover to a slower region, a quiet client", steady(2 * time.Second), dead, 20 * time.Second, 150 * time.Millisecond},
		{"failover to a slower region", steady(100 * time.Millisecond), dead, 20 * time.Second, 150 * time.Millisecond},
		{"failover to a slower region, a busy client", steady(10 * time.Millisecond), held, 20 * time.Second, 150 * time.Millisecond},
		{"two at once that don't wait", rhythm{2, time.Second, 0, true}, held, time.Second, 10 * time.Millisecond},
		{"ten at once that wait little", rhythm{10, time.Second, 100 * time.Millisecond, false}, held, time.Second, 10 * time.Millisecond},
		{"twenty a minute that don't wait", rhythm{20, time.Minute, 0, true}, held, time.Second, 10 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: takes(10 * time.Millisecond)}
				c := client(t, b, tether.Options{})
				test.usual.play(c, 5*time.Minute)
				b.becomes(test.trouble)
				test.usual.play(c, test.lasts)
				b.becomes(takes(test.latency))
				test.usual.play(c, 5*time.Minute)
				if answered, asked := test.usual.play(c, 5*time.Minute); answered < asked {
					t.Errorf("five minutes after it %d of %d calls were answered", answered, asked)
				}
			})
		})
	}
}

// TestPacingLapses: a hold at night doesn't slow the morning.
func TestPacingLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: takes(20 * time.Millisecond)}
		c := client(t, b, tether.Options{})
		rhythm{1, time.Minute, 5 * time.Second, false}.play(c, 10*time.Minute)
		b.becomes(always(503, "Retry-After", "2"))
		get(c, api)
		b.becomes(takes(20 * time.Millisecond))
		time.Sleep(8 * time.Hour)
		if answered, asked := (rhythm{1, 10 * time.Millisecond, 5 * time.Second, false}).play(c, time.Minute); answered < asked {
			t.Errorf("%d of %d calls of the morning were answered", answered, asked)
		}
	})
}

// TestPacingForgotten: a permit that is never given back, and long polls, don't choke the other calls.
func TestPacingForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: takes(20 * time.Millisecond)}
		c := client(t, b, tether.Options{})
		calls := rhythm{1, 100 * time.Millisecond, 5 * time.Second, false}
		calls.play(c, time.Minute)
		if _, err := c.Engine().Begin(context.Background(), tether.Call{Scheme: "http", Host: "api.example"}); err != nil {
			t.Fatal(err)
		}
		b.becomes(dead)
		calls.play(c, 5*time.Second)
		b.becomes(takes(20 * time.Millisecond))
		calls.play(c, 2*time.Minute)
		if answered, asked := calls.play(c, time.Minute); answered < asked {
			t.Errorf("%d of %d calls beside a forgotten one were answered", answered, asked)
		}
	})
}

// TestHastySilence: a server that never answers deadlines too short for it is noticed all the same (law 13).
func TestHastySilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}
		c := client(t, b, tether.Options{})
		for began := time.Now(); time.Since(began) < 5*time.Minute; {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if resp, err := c.Do(req); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			cancel()
		}
		if b.attempts() > 5*60+100 {
			t.Errorf("%d attempts in five minutes", b.attempts())
		}
	})
}
