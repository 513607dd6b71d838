package tether_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
)

func TestFaultReason3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: dead}
		c := client(t, b, tether.Options{})
		for range 6 {
			get(c, "http://api.example")
		}
		hang := make(chan struct{})
		time.Sleep(6 * time.Second)
		b.becomes(func(req *http.Request, _ int) (*http.Response, error) { <-hang; return nil, errRefused })
		var wg sync.WaitGroup
		wg.Go(func() { get(c, "http://api.example") }) // probe
		synctest.Wait()
		wg.Go(func() { get(c, "http://api.example") }) // head of the line
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://api.example", nil)
		_, err := c.Do(req)
		if !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("the breaker is open, nothing is paced: %v", err)
		}
		close(hang)
		wg.Wait()
	})
}

// Distress: callers that ask more often while refused.
func TestFaultDistressRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := client(t, b, tether.Options{})
		var stop atomic.Bool
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				for !stop.Load() {
					req, _ := http.NewRequestWithContext(tether.WithCall(t.Context(), tether.CallOptions{NoWait: true}), "GET", "http://api.example", nil)
					resp, err := c.Do(req)
					if err != nil {
						time.Sleep(20 * time.Millisecond)
						continue
					}
					resp.Body.Close()
					time.Sleep(time.Second)
				}
			})
		}
		time.Sleep(time.Minute)
		b.becomes(dead)
		time.Sleep(time.Minute)
		b.becomes(always(200))
		from := time.Now()
		time.Sleep(10 * time.Second)
		stop.Store(true)
		wg.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		most := 0
		for i, at := range b.times {
			n := 0
			for _, o := range b.times[i:] {
				if o.Sub(at) < 250*time.Millisecond {
					n++
				}
			}
			if !at.Before(from) {
				most = max(most, n)
			}
		}
		if most > 8 { // usual: 5
			t.Errorf("%d attempts within 250 ms after the outage, usual is 5", most)
		}
	})
}

// An unchanged, refused document renews its kill for ever.
func TestFaultRefusedRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, rest := range map[string]string{"valid": "", "refused": `,"pollInterval":-1`} {
			b := &backend{serve: always(200)}
			c := client(t, b, tether.Options{})
			for range 30 {
				c.Engine().Apply(doc(1, killEverything+rest))
				time.Sleep(time.Hour)
			}
			status, _, err := get(c, "http://api.example")
			if status != 200 {
				t.Errorf("%s: a kill capped at 24 h still holds after 30 h: %v", name, err)
			}
		}
	})
}

// HH: an inner engine's refusal is not the server's failure to the outer one; and each is delayed once.
func TestFaultNestedRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		inner := client(t, b, tether.Options{})
		outer := client(t, inner.Client.Transport, tether.Options{Seed: 2})
		inner.Engine().Apply(killAll)
		for range 8 {
			get(outer, "http://api.example")
		}
		h := outer.Engine().Health().Targets[0]
		if h.Breaker != breaker.Closed {
			t.Errorf("the inner engine's refusals opened the outer one's breaker: %v, retries %d", h.Breaker, h.Retries)
		}
	})
}

// TestKillOfAPathLeavesTheOthers: calls to the killed path are refused, and the rest of the host isn't
// slowed by that (law 10).
func TestKillOfAPathLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := client(t, b, tether.Options{})
		var wg sync.WaitGroup
		openLoop(c, time.Second, time.Minute, &wg)
		if _, err := c.Engine().Apply([]byte(`{"schema":1,"document":"d","version":1,
			"kill":[{"name":"export","match":{"host":"api.example","path":"/export"},"until":"2000-01-01T12:00:00Z"}]}`)); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, _, err := get(c, "http://api.example/export"); !errors.Is(err, tether.ErrKilled) {
				t.Fatalf("the killed path got %v", err)
			}
			began := time.Now()
			if status, _, err := get(c, "http://api.example/"); status != 200 || time.Since(began) > 10*time.Millisecond {
				t.Fatalf("another path got %d, %v after %v", status, err, time.Since(began))
			}
			time.Sleep(time.Second)
		}
		wg.Wait()
	})
}
