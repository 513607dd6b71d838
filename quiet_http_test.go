package tether

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Over HTTP every hop of every wrapper is counted once, whoever reads the body, or doesn't, or goes away.
func TestQuietOverHTTP(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/here", http.StatusFound)
		case "/hangs":
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case "/fails":
			w.WriteHeader(http.StatusNotImplemented)
		default:
			io.WriteString(w, "a body")
		}
	}))
	defer server.Close()
	defer close(release)
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	inner, err := NewClient(&http.Client{Transport: base}, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := inner.Engine()
	outer := &http.Client{Transport: e.Transport(inner.Transport)}
	const rounds, workers = 60, 4
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range rounds {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				path := []string{"/here", "/moved", "/fails", "/hangs"}[i%4]
				if path == "/hangs" {
					go cancel()
				}
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, nil)
				if resp, err := outer.Do(req); err == nil {
					if i%3 == 0 {
						io.Copy(io.Discard, resp.Body)
					}
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	h := e.Health().Targets[0]
	want := uint64(workers * rounds / 4 * 5 * 2)
	if h.Calls > want || h.Calls < want-workers*rounds/4 { // some hung up before
		t.Errorf("%d calls, want %d", h.Calls, want)
	}
	if h.Attempts > h.Calls {
		t.Errorf("%d attempts of %d calls", h.Attempts, h.Calls)
	}
	for key, target := range e.targets.ByKey {
		if target.Fast.Generation == 0 {
			t.Error("the target never was quiet: the test means nothing")
		}
		if target.Users.Load() != 0 || target.Fast.UnderWay != 0 || target.InFlight.Load() != 0 {
			t.Errorf("%v: %d users, %d quiet calls, %d attempts are left", key, target.Users.Load(),
				target.Fast.UnderWay, target.InFlight.Load())
		}
	}
}
