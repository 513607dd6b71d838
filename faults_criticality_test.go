package tether_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
)

// trouble brings a client of a critical and a sheddable call a second into trouble, and out of it.
func trouble(t *testing.T, c *tether.Client, b *backend, healthy func(*http.Request, int) (*http.Response, error)) {
	t.Helper()
	for range 60 {
		askAs(c, criticality.Critical, 10*time.Second)
		askAs(c, criticality.Sheddable, 10*time.Second)
		time.Sleep(time.Second)
	}
	b.becomes(always(503))
	askAs(c, criticality.Critical, 10*time.Second)
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
		trouble(t, c, b, always(200))
		var mu sync.Mutex
		bad := 0
		var all sync.WaitGroup
		const seconds, rate = 300, 20
		for i := range seconds * rate {
			all.Go(func() {
				if i%rate == 0 {
					askAs(c, criticality.Critical, 10*time.Second)
				}
				began := time.Now()
				err := askAs(c, criticality.Sheddable, 10*time.Second)
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
			if strings.HasPrefix(req.Header.Get("Authorization"), "greedy") {
				time.Sleep(40 * time.Millisecond)
				return answer(req, 429), nil
			}
			return answer(req, 200), nil
		}}
		c := client(t, b, tether.Options{})
		ask := func(who string, as criticality.Level) (time.Duration, error) {
			ctx := criticality.With(t.Context(), as)
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
			ask("modest", criticality.Critical)
			ask("modest", criticality.Sheddable)
			time.Sleep(2 * time.Second)
		}
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() { ask(fmt.Sprint("greedy ", i), criticality.Critical) })
			if i > 0 {
				if took, err := ask("modest", criticality.Sheddable); err != nil || took > 100*time.Millisecond {
					t.Errorf("call %d of another: %v after %v", i, err, took)
				}
			}
			time.Sleep(2 * time.Second)
		}
		all.Wait()
	})
}
