package tether_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// listener keeps the loops that an engine names.
type listener struct {
	mu    sync.Mutex // guards what follows
	notes []string
	times []time.Time
}

func (l *listener) observe(e tether.Event) {
	if e.Kind == tether.EventLoop {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.notes, l.times = append(l.notes, e.Note), append(l.times, e.Time)
	}
}

func (l *listener) heard() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.notes)
}

// steady calls a URL every gap, without waiting, for a time.
func steady(t testing.TB, c *tether.Client, url string, gap, during time.Duration) {
	t.Helper()
	ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(gap) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
		}
	}
}

func TestLaw13LoopIsNamed(t *testing.T) {
	const path = "/v1/line-items/83cafe-secret/7"
	for name, test := range map[string]struct {
		usual, loop time.Duration // between two calls
		lasts       time.Duration
		least, most int // times that it is named
	}{
		"a loop":                       {10 * time.Second, 20 * time.Millisecond, 5 * time.Minute, 5, 6},
		"a loop of a busy client":      {200 * time.Millisecond, 5 * time.Millisecond, 5 * time.Minute, 4, 6},
		"ten times as much is none":    {200 * time.Millisecond, 20 * time.Millisecond, 5 * time.Minute, 0, 0},
		"nor is a user in haste":       {10 * time.Minute, 250 * time.Millisecond, 5 * time.Minute, 0, 0},
		"what lasts is usual some day": {10 * time.Second, 100 * time.Millisecond, 2 * time.Hour, 5, 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l listener
				c := client(t, &backend{serve: always(200)}, tether.Options{Observe: l.observe})
				steady(t, c, "http://api.example"+path, test.usual, 20*time.Minute)
				if l.heard() > 0 {
					t.Fatalf("in calm: %q", l.notes)
				}
				steady(t, c, "http://api.example"+path, test.loop, test.lasts)
				if n := l.heard(); n < test.least || n > test.most {
					t.Errorf("named %d times, want %d to %d", n, test.least, test.most)
				}
				for i, note := range l.notes {
					if !strings.HasPrefix(note, "GET /v1/line-items/*/*: ") || strings.Contains(note, "secret") {
						t.Errorf("told as %q", note)
					}
					if i > 0 && l.times[i].Sub(l.times[i-1]) < time.Minute {
						t.Errorf("named twice within %v", l.times[i].Sub(l.times[i-1]))
					}
				}
			})
		})
	}
}

// A route that a release brings with a loop in it is named at a server that is known.
func TestLaw13NewLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l listener
		c := client(t, &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(20 * time.Millisecond)
			return answer(req, 200), nil
		}}, tether.Options{Observe: l.observe})
		for i := range 40 { // other routes, and a burst of many, are none
			for j := range 10 {
				steady(t, c, fmt.Sprintf("http://api.example/thumb/%d", 10*i+j), time.Millisecond, time.Millisecond)
			}
			time.Sleep(10 * time.Second)
		}
		if l.heard() > 0 {
			t.Fatalf("in calm: %q", l.notes)
		}
		var stop atomic.Bool
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for !stop.Load() { // no pause
					get(c, "http://api.example/new/sync")
				}
			})
		}
		time.Sleep(time.Minute)
		stop.Store(true)
		all.Wait()
		if l.heard() == 0 {
			t.Error("a loop of a route that was never asked for is not named")
		}
	})
}

// A gRPC method is no secret.
func TestLaw13LoopOfAMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l listener
		e, err := tether.New(tether.Options{Seed: 1, Observe: l.observe})
		if err != nil {
			t.Fatal(err)
		}
		what := tether.Call{Host: "stock", GRPCMethod: "/shop.Stock/Get"}
		call := func() {
			if err := e.Do(t.Context(), what, func(context.Context, *tether.Permit) tether.Outcome { return fine() }); err != nil {
				t.Error(err)
			}
		}
		call()
		time.Sleep(5 * time.Minute)
		for range 60 {
			call()
		}
		if l.heard() != 1 || l.notes[0] != "/shop.Stock/Get: 51 calls in 10s, usual are 0.37" {
			t.Errorf("told as %q", l.notes)
		}
	})
}
