package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/ratelimit"
)

// waiting is a request that may wait for as long as tests need.
func waiting(t testing.TB, wait time.Duration, opts tether.CallOptions) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(tether.WithCall(ctx, opts), http.MethodGet, api, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestConcurrencyHoldsTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limited(t, &backend{serve: always(200)}, 0, 0, 2, tether.Options{})
		first, err := c.Get(api)
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.Get(api)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(waiting(t, time.Minute, tether.CallOptions{NoWait: true}))
		r := rejected(t, err)
		if r.Stage != tether.StageConcurrency || !errors.Is(err, ratelimit.ErrBusy) || r.ServerAsked ||
			!strings.Contains(r.Error(), "our own limit") {
			t.Errorf("a third: %v", err)
		}
		if h := c.Engine().Health().Targets[0]; h.UnderWay != 2 || h.UnderWayLimit != 2 {
			t.Errorf("%d of %d under way", h.UnderWay, h.UnderWayLimit)
		}
		began := time.Now()
		time.AfterFunc(2500*time.Millisecond, func() { io.Copy(io.Discard, first.Body) })
		third, err := c.Do(waiting(t, time.Minute, tether.CallOptions{}))
		if err != nil || time.Since(began) != 2500*time.Millisecond {
			t.Fatalf("one body is read: %v after %v", err, time.Since(began))
		}
		first.Body.Close()
		second.Body.Close()
		third.Body.Close()
		if h := c.Engine().Health().Targets[0]; h.UnderWay != 0 {
			t.Errorf("%d under way", h.UnderWay)
		}
	})
}

// However calls end, the place of each is free again, and never are more of them under way.
func TestConcurrencyNeverMoreAndNoneLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		b := roundTrip(func(req *http.Request) (*http.Response, error) {
			n := running.Add(1)
			defer running.Add(-1)
			for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
			}
			select {
			case <-req.Context().Done():
				return nil, req.Context().Err()
			case <-time.After(time.Second):
			}
			switch req.URL.Path {
			case "/panic":
				panic("a bug in a transport")
			case "/exit":
				runtime.Goexit()
			case "/refused":
				return nil, errRefused
			case "/fault":
				return answer(req, 500), nil
			}
			return answer(req, 200), nil
		})
		c := limited(t, b, 0, 0, 3, tether.Options{})
		var all sync.WaitGroup
		for i := range 60 {
			path := []string{"", "/panic", "/exit", "/refused", "/fault"}[i%5]
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%7)*time.Second*5)
			defer cancel()
			all.Go(func() {
				defer func() { _ = recover() }()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example"+path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
				}
			})
		}
		all.Wait()
		if n := most.Load(); n > 3 || n < 2 {
			t.Errorf("%d under way at once", n)
		}
		if h := c.Engine().Health().Targets[0]; h.UnderWay != 0 || h.Waiting != 0 {
			t.Errorf("%d are still under way, %d wait", h.UnderWay, h.Waiting)
		}
	})
}

// A repeat doesn't wait for the place of the answer that it replaces.
func TestConcurrencyRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := func(req *http.Request, n int) (*http.Response, error) {
			if n > 1 {
				return answer(req, 200), nil
			}
			resp := answer(req, 500)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x", 100<<10))))
			return resp, nil
		}
		c := limited(t, &backend{serve: long}, 0, 0, 1, tether.Options{})
		began := time.Now()
		if status, _, err := get(c, api); status != 200 || time.Since(began) > time.Second {
			t.Errorf("%d, %v after %v", status, err, time.Since(began))
		}
		if h := c.Engine().Health().Targets[0]; h.UnderWay != 0 {
			t.Errorf("%d under way", h.UnderWay)
		}
	})
}

func TestConcurrencyOfBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limited(t, &backend{serve: always(200)}, 0, 0, 1, tether.Options{})
		what := tether.Call{Host: "orders-db", CallOptions: tether.CallOptions{NoWait: true}}
		stream, err := c.Engine().Begin(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour) // a quiet stream keeps its place
		if _, err := c.Engine().Begin(t.Context(), what); !errors.Is(err, ratelimit.ErrBusy) {
			t.Errorf("a second: %v", err)
		}
		stream.Done(fine())
		stream.Done(fine())
		next, err := c.Engine().Begin(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		next.Done(fine())
	})
}

// What callers forget frees its place, though net/http keeps the connection.
func TestConcurrencyForgotten(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 1<<20))
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	c := limited(t, base, 0, 0, 2, tether.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	forget := func() {
		req, err := http.NewRequestWithContext(tether.WithCall(ctx, tether.CallOptions{NoWait: true}), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do(req); err != nil { //nolint:bodyclose // that is the point
			t.Fatal(err)
		}
	}
	for range 6 {
		forget()
		runtime.GC()
	}
}

// Trailers that no header announced reach the caller of a limited client, although its response is a copy.
func TestConcurrencyKeepsTrailers(t *testing.T) {
	overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"Late", "word")
	}), func(t *testing.T, c *tether.Client, url string) {
		apply(t, c, 1, `,"defaults":{"target":{"concurrency":{"max":2}}}`)
		resp, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Trailer.Get("Late") != "word" {
			t.Errorf("%v, trailer %v", err, resp.Trailer)
		}
	})
}

// A stage that refuses gives back what the stages before it gave.
func TestLimitsGiveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limited(t, &backend{serve: always(200)}, 0.01, 3, 1, tether.Options{})
		what := tether.Call{Host: "orders-db", CallOptions: tether.CallOptions{NoWait: true}}
		first, err := c.Engine().Begin(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		for range 10 {
			if _, err := c.Engine().Begin(t.Context(), what); !errors.Is(err, ratelimit.ErrBusy) {
				t.Fatal(err)
			}
		}
		first.Done(fine())
		for i := range 3 {
			p, err := c.Engine().Begin(t.Context(), what)
			if err != nil {
				t.Fatalf("call %d of a burst of 3: %v", i+1, err)
			}
			p.Done(fine())
		}
	})
}

// Limits that change all the time lose nothing, let no more through than the loosest of them, and leave
// nobody asleep.
func TestLimitsUnderReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, served atomic.Int32
		b := roundTrip(func(req *http.Request) (*http.Response, error) {
			n := running.Add(1)
			for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
			}
			time.Sleep(7 * time.Millisecond)
			running.Add(-1)
			return answer(req, 200), nil
		})
		c := limited(t, b, 0, 0, 0, tether.Options{})
		version := 1
		push := func() {
			apply(t, c, version, fmt.Sprintf(`,"defaults":{"target":{"concurrency":{"max":%d},
				"rateLimit":{"perSecond":%d,"burst":%d}}}`, 1+version%5, 100*(1+version%7), 1+version%20))
			version++
		}
		push()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
					if status, _, err := get(c, api); status == 200 {
						served.Add(1)
					} else {
						t.Error(err)
					}
				}
			})
		}
		for range 500 {
			time.Sleep(10 * time.Millisecond)
			push()
		}
		all.Wait()
		h := c.Engine().Health().Targets[0]
		if most.Load() > 5 || h.UnderWay != 0 || h.Waiting != 0 {
			t.Errorf("%d at once, %d under way and %d waiting at the end", most.Load(), h.UnderWay, h.Waiting)
		}
		if n := served.Load(); n < 600 || n > 5*700 {
			t.Errorf("%d served in 5 s", n)
		}
	})
}
