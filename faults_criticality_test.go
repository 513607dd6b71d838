package tether_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// twoFailures brings a client of a critical and a sheddable call a second into trouble, and out of it.
func twoFailures(t *testing.T, c *tether.Client, b *backend, healthy func(*http.Request, int) (*http.Response, error)) {
	t.Helper()
	for range 60 {
		askAs(c, tether.Critical, 10*time.Second)
		askAs(c, tether.Sheddable, 10*time.Second)
		time.Sleep(time.Second)
	}
	b.becomes(always(503))
	askAs(c, tether.Critical, 10*time.Second)
	b.becomes(healthy)
}

// Law 10: what is asked for more than before the trouble is not kept back for good by it, on a server that has
// long been well.
func TestSheddableCallsGrowAfterTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(20 * time.Millisecond)
			return b.RoundTrip(req)
		})
		c := client(t, base, tether.Options{})
		twoFailures(t, c, b, always(200))
		var mu sync.Mutex
		bad := 0
		var all sync.WaitGroup
		const seconds, rate = 300, 20
		for i := range seconds * rate {
			all.Go(func() {
				if i%rate == 0 {
					askAs(c, tether.Critical, 10*time.Second)
				}
				began := time.Now()
				err := askAs(c, tether.Sheddable, 10*time.Second)
				mu.Lock()
				defer mu.Unlock()
				if i >= seconds*rate*2/3 && (err != nil || time.Since(began) > 30*time.Millisecond) {
					bad++
				}
			})
			time.Sleep(time.Second / rate)
		}
		all.Wait()
		if bad > 0 {
			t.Errorf("of %d sheddable calls, minutes after the trouble, %d were late or failed", seconds*rate/3, bad)
		}
	})
}

// Law 2: one caller's 429 is no word about others, whose sheddable calls go on.
func TestSheddableCallsOfOtherCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(20 * time.Millisecond)
			if req.Header.Get("Authorization") == "greedy" {
				return answer(req, 429), nil
			}
			return answer(req, 200), nil
		}}
		c := client(t, b, tether.Options{})
		ask := func(who string, as tether.Criticality) (time.Duration, error) {
			ctx := tether.WithCriticality(t.Context(), as)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if err != nil {
				return 0, err
			}
			req.Header.Set("Authorization", who)
			began := time.Now()
			resp, err := c.Do(req)
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			return time.Since(began), err
		}
		for range 60 {
			ask("modest", tether.Critical)
			ask("modest", tether.Sheddable)
			time.Sleep(time.Second / 2)
		}
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() { ask("greedy", tether.Critical) })
			if i > 0 {
				if took, err := ask("modest", tether.Sheddable); err != nil || took > 100*time.Millisecond {
					t.Errorf("call %d of another: %v after %v", i, err, took)
				}
			}
			time.Sleep(time.Second / 2)
		}
		all.Wait()
	})
}

// Law 4: those who gave way don't come back together when nobody more critical asks any more.
func TestWhoGaveWayComesBackInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := client(t, b, tether.Options{})
		twoFailures(t, c, b, func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(30 * time.Millisecond) // slow for what it was
			return answer(req, 200), nil
		})
		var all sync.WaitGroup
		for range 100 * 10 {
			all.Go(func() { askAs(c, tether.Sheddable, 20*time.Second) })
			time.Sleep(100 * time.Millisecond)
		}
		all.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		most := 0
		for i := range b.times {
			n := 0
			for _, at := range b.times[i:] {
				if at.Sub(b.times[i]) > 200*time.Millisecond {
					break
				}
				n++
			}
			most = max(most, n)
		}
		if most > 10 {
			t.Errorf("%d left within 200 ms, of 10 a second", most)
		}
	})
}
