package tether_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// adaptiveClient is a client of an adaptive limit alone.
func adaptiveClient(t *testing.T, base http.RoundTripper, most int, observe func(tether.Event)) *tether.Client {
	t.Helper()
	var cfg policy.Document
	cfg.Defaults.Target.Pacing = &policy.PacingSettings{Mode: policy.Ptr("off")}
	cfg.Defaults.Target.Concurrency = &policy.ConcurrencySettings{Max: &most, Mode: policy.Ptr("adaptive")}
	c, err := tether.NewClient(&http.Client{Transport: base}, tether.Options{Policy: cfg, Seed: 1, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// overwhelm makes calls for a while that nobody waits for.
func overwhelm(t *testing.T, c *tether.Client, during time.Duration) {
	t.Helper()
	ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
	var all sync.WaitGroup
	for began := time.Now(); time.Since(began) < during; time.Sleep(10 * time.Millisecond) {
		all.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if resp, err := c.Do(req); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	all.Wait()
}

// Streams that are still read hold the places that a fallen limit leaves. No answer comes then to teach it
// that the trouble is over: time must.
func TestAdaptiveLimitIsLiftedBesideStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			time.Sleep(20 * time.Millisecond)
			return b.RoundTrip(req)
		})
		var mu sync.Mutex
		lifted := 0
		c := adaptiveClient(t, base, 40, func(e tether.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == tether.EventLimit && e.Note[:6] == "lifted" {
				lifted++
			}
		})
		for range 3 {
			stream, err := c.Get(api)
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Body.Close()
		}
		overwhelm(t, c, 2*time.Second)
		b.becomes(always(503))
		overwhelm(t, c, 5*time.Second)
		b.becomes(always(200))
		if h := c.Engine().Health().Targets[0]; h.UnderWayLimit > 3 {
			t.Fatalf("the limit is %d, the test needs one that streams use up", h.UnderWayLimit)
		}
		time.Sleep(time.Minute)
		for i := range 30 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			resp, err := c.Do(req)
			if err != nil || time.Since(began) > 30*time.Millisecond {
				t.Fatalf("call %d, a minute after the trouble: %v after %v", i, err, time.Since(began))
			}
			resp.Body.Close()
			cancel()
			time.Sleep(20 * time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		if lifted != 1 {
			t.Errorf("told %d times that the limit is lifted", lifted)
		}
	})
}

// Answers that took no time at all, by a coarse clock or from this machine, teach nothing impossible.
func TestAdaptiveLimitOfAnswersInNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := adaptiveClient(t, b, 40, nil)
		overwhelm(t, c, 2*time.Second)
		b.becomes(always(503))
		overwhelm(t, c, time.Second)
		b.becomes(always(200))
		overwhelm(t, c, 2*time.Second)
		if h := c.Engine().Health().Targets[0]; h.UnderWayLimit < 1 {
			t.Fatalf("the limit is %d", h.UnderWayLimit)
		}
		if status, _, err := get(c, api); status != 200 {
			t.Fatalf("%d %v", status, err)
		}
	})
}

// The event says what the limit did, whichever outcome completed the count: here a good answer after losses.
func TestAdaptiveLimitEventOfAnAnswerThatMakesItFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost { // lost at once, within the step
				return always(503)(req, 0)
			}
			time.Sleep(200 * time.Millisecond)
			return b.RoundTrip(req)
		})
		var mu sync.Mutex
		var notes []string
		c := adaptiveClient(t, base, 40, func(e tether.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == tether.EventLimit {
				notes = append(notes, e.Note)
			}
		})
		get := func() {
			if resp, err := c.Get(api); err == nil {
				resp.Body.Close()
			}
		}
		get()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if resp, err := c.Post(api, "text/plain", nil); err == nil {
					resp.Body.Close()
				}
			})
		}
		all.Go(get)
		all.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(notes) != 1 || !strings.HasPrefix(notes[0], "falls: ") {
			t.Errorf("told %q", notes)
		}
	})
}
