package tether_test

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// Law 4: after a hold longer than anybody waits, callers who ask again do not leave together.
func TestFaultHoldThenAskers(t *testing.T) {
	for _, hold := range []string{"30", "5"} {
		for _, noWait := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: always(200)}
				c := client(t, b, tether.Options{})
				var stop atomic.Bool
				var wg sync.WaitGroup
				for i := range 50 {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * 200 * time.Millisecond)
						for !stop.Load() {
							req, _ := http.NewRequestWithContext(tether.WithCall(t.Context(), tether.CallOptions{NoWait: noWait}), "GET", "http://api.example", nil)
							resp, err := c.Do(req)
							if err != nil {
								time.Sleep(50 * time.Millisecond)
								continue
							}
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
							time.Sleep(10 * time.Second) // 5 calls a second by 50 callers
						}
					})
				}
				time.Sleep(2 * time.Minute)
				b.becomes(always(503, "Retry-After", hold))
				time.Sleep(time.Second)
				b.becomes(always(200))
				from := time.Now()
				time.Sleep(40 * time.Second)
				stop.Store(true)
				wg.Wait()
				b.mu.Lock()
				defer b.mu.Unlock()
				most := 0
				for i, at := range b.times {
					n := 0
					for _, o := range b.times[i:] {
						if o.Sub(at) < time.Second {
							n++
						}
					}
					if !at.Before(from) {
						most = max(most, n)
					}
				}
				if most > 10 {
					t.Errorf("hold %s s, NoWait %v: %d attempts within a second after the hold, usual is 5", hold, noWait, most)
				}
			})
		}
	}
}

// A request made with an answer's context is a call of its own.
func TestFaultAnswersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c, _ := tether.NewClient(&http.Client{Transport: b}, tether.Options{Policy: policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{
			AttemptTimeout: policy.Ptr(time.Second)}}}, Seed: 1})
		resp, err := c.Get("http://api.example/page1")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		t.Logf("context of the answer's request: %v", resp.Request.Context().Err())
		c = client(t, b, tether.Options{})
		resp, _ = c.Get("http://api.example/page1")
		resp.Body.Close()
		b.becomes(always(502))
		n := b.attempts()
		req, _ := http.NewRequestWithContext(resp.Request.Context(), "GET", "http://api.example/page2", nil)
		resp, _ = c.Do(req)
		resp.Body.Close()
		if got := b.attempts() - n; got != 2 {
			t.Errorf("%d attempts, want 2", got)
		}
	})
}
