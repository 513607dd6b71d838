package remoteconfig_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/remoteconfig"
)

// countingBackend answers everything, and counts by path.
type countingBackend struct {
	mu    sync.Mutex // guards calls
	calls map[string]int
}

func (b *countingBackend) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.calls[req.URL.Path]++
	b.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

func (b *countingBackend) count(path string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[path]
}

// A release with a loop in it: the engine names it, and a document with a rate limit of its own for that
// path slows it within one poll, while other calls go on.
func TestLoopIsStoppedByADocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var named atomic.Value
		engine, err := tether.New(tether.Options{Seed: 1, Observe: func(e tether.Event) {
			if e.Kind == tether.EventLoop {
				named.CompareAndSwap(nil, e.Note)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		var published atomic.Value
		published.Store(with(1, `, "pollInterval": "60s"`))
		source := fetchFunc(func(context.Context, string) (remoteconfig.Fetched, error) {
			return remoteconfig.Fetched{Document: []byte(published.Load().(string))}, nil
		})
		watcher, err := remoteconfig.New(source, engine, remoteconfig.Options{Rand: func() float64 { return 0.5 }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = watcher.Run(ctx) })
		backend := &countingBackend{calls: map[string]int{}}
		client := engine.Client(&http.Client{Transport: backend})
		get := func(path string) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example"+path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		all.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(time.Second) {
				get("/home")
			}
		})
		time.Sleep(10 * time.Minute)
		for range 2 {
			all.Go(func() {
				for ctx.Err() == nil {
					get("/v1/sync")
				}
			})
		}
		time.Sleep(time.Minute)
		if note, _ := named.Load().(string); !strings.HasPrefix(note, "GET /v1/sync: ") {
			t.Errorf("the loop is named %q", note)
		}
		if n := backend.count("/v1/sync"); n < 6000 {
			t.Errorf("%d calls in the loop's first minute", n)
		}
		published.Store(with(2, `, "pollInterval": "60s", "rules": [{"name": "sync", "key": "rule",
			"match": {"path": "/v1/sync"}, "target": {"rateLimit": {"perSecond": 0.1, "burst": 1}}}]`))
		time.Sleep(66 * time.Second) // one poll, jittered by a tenth
		looped, home := backend.count("/v1/sync"), backend.count("/home")
		time.Sleep(100 * time.Second)
		if n := backend.count("/v1/sync") - looped; n > 11 {
			t.Errorf("%d calls of the loop in 100 s at 0.1 a second", n)
		}
		if n := backend.count("/home") - home; n < 95 {
			t.Errorf("%d other calls in 100 s, want one a second", n)
		}
		cancel()
		all.Wait()
	})
}
