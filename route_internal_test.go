package tether

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"
)

type deadAt string

func (host deadAt) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == string(host) {
		return nil, errors.New("dead")
	}
	return &http.Response{StatusCode: 200, Header: make(http.Header), Body: http.NoBody}, nil
}

// TestRoutesLetGoOfTargets: of both, however the call ends; who holds one keeps it from being forgotten.
func TestRoutesLetGoOfTargets(t *testing.T) {
	for _, dead := range []deadAt{"v2.example", "api.example", "neither"} {
		synctest.Test(t, func(t *testing.T) {
			cfg := policy.Document{Flags: []byte(`{"flags":{"f":{"state":"ENABLED","variants":{"on":true},"defaultVariant":"on"}}}`)}
			cfg.Defaults.Call.Route = &policy.RouteSettings{Flag: "f", To: map[string]string{"on": "https://v2.example"}}
			e, err := New(Options{Policy: cfg, Seed: 1, Bounds: policy.Bounds{Routes: []policy.RouteBound{{Origin: "https://v2.example"}}}})
			if err != nil {
				t.Fatal(err)
			}
			for range 40 {
				if resp, err := e.Client(&http.Client{Transport: dead}).Get("https://api.example"); err == nil {
					resp.Body.Close()
				}
			}
			if len(e.targets.ByKey) == 0 {
				t.Error("no target was used")
			}
			for key, target := range e.targets.ByKey {
				if n := target.Users.Load(); n != 0 {
					t.Errorf("%s is dead: %s has %d users", dead, key.Host, n)
				}
			}
		})
	}
}

// ending is a server that ends each request in another way.
type ending struct {
	mu     sync.Mutex // guards what follows
	random *rand.Rand
	sent   int
}

func (e *ending) RoundTrip(req *http.Request) (*http.Response, error) {
	e.mu.Lock()
	how, took := e.random.IntN(14), time.Duration(e.random.IntN(300))*time.Millisecond
	e.sent++
	e.mu.Unlock()
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	select {
	case <-time.After(took):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	status, header := 200, make(http.Header)
	switch how {
	case 0:
		panic("the base transport is broken")
	case 1:
		runtime.Goexit()
	case 2:
		return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
	case 3:
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}
	case 4:
		return nil, nil
	case 5:
		status = 503
		header.Set("Retry-After", "1")
	case 6:
		status = 429
		header.Set("Retry-After", "1")
	case 7:
		status = 500
	case 8:
		status = 401
	case 9:
		status = 302
		header.Set("Location", "https://v2.example/next")
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("body"))}, nil
}

// TestRoutedCallsLeaveNothing: however calls end, on both ways, while documents change: no place, no user, no attempt under way
// is left, and law 1 holds over both servers.
func TestRoutedCallsLeaveNothing(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			e, err := New(Options{Seed: 1 + seed, MaxTargets: []int{1, 1000}[seed%2], BufferBodies: int64(seed%3) * 100,
				Bounds: policy.Bounds{MinHedgingDelay: time.Millisecond, Routes: []policy.RouteBound{{Origin: "https://v2.example"}}}})
			if err != nil {
				t.Fatal(err)
			}
			apply := func(version, percent int) {
				hedging := []string{"", `,"hedgingPolicy":{"hedgingDelay":"0.2s"}`}[seed/2%2]
				if _, err := e.Apply(fmt.Appendf(nil, `{"schema":1,"document":"d","version":%d,"rules":[{"match":{"host":"api.example"},
					"call":{"maxWait":"3s","route":{"flag":"f","to":{"on":"https://v2.example"}}%s},"target":{"concurrencyLimit":{"max":4}}},
					{"match":{"host":"v2.example"},"target":{"concurrencyLimit":{"max":3}}}],
					"flags":{"flags":{"f":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"off",
					"targeting":{"fractional":[["on",%d],["off",%d]]}}}}}`, version, hedging, percent, 100-percent)); err != nil {
					t.Fatal(err)
				}
			}
			apply(1, 50)
			server := &ending{random: rand.New(rand.NewPCG(seed, 1))}
			client := e.Client(&http.Client{Transport: server})
			var all sync.WaitGroup
			const workers, each = 8, 100
			for worker := range workers {
				for i := range each {
					all.Go(func() {
						defer func() { _ = recover() }()
						random := rand.New(rand.NewPCG(seed, uint64(worker*each+i)))
						time.Sleep(time.Duration(i)*400*time.Millisecond + time.Duration(random.IntN(400))*time.Millisecond)
						ctx, cancel := context.WithTimeout(WithAttributes(t.Context(), flags.Attributes{flags.TargetingKey: fmt.Sprint(worker, i)}),
							time.Duration(random.IntN(5000))*time.Millisecond)
						defer cancel()
						ctx = WithCall(ctx, CallOptions{NoWait: random.IntN(5) == 0, Explained: random.IntN(2) == 0})
						method := []string{"GET", "POST", "PUT"}[random.IntN(3)]
						req, _ := http.NewRequestWithContext(ctx, method, "https://api.example/pay", io.MultiReader(strings.NewReader("order")))
						req.Header.Set("Authorization", fmt.Sprint(random.IntN(3)))
						if resp, err := client.Do(req); err == nil {
							time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
							resp.Body.Close()
						}
					})
				}
			}
			for version := range 20 {
				time.Sleep(2 * time.Second)
				apply(version+2, version*5)
			}
			all.Wait()
			calls, attempts, retries := uint64(0), uint64(0), uint64(0)
			for _, target := range e.Health().Targets {
				calls, attempts, retries = calls+target.Calls, attempts+target.Attempts, retries+target.Retries
			}
			left := func(name string, target *target.Target) {
				taken, _ := target.Concurrency.Status()
				if users, under := target.Users.Load(), target.InFlight.Load(); users != 0 || under != 0 || taken != 0 || target.Queue.Len() != 0 {
					t.Errorf("seed %d: %s has %d users, %d attempts under way, %d places taken", seed, name, users, under, taken)
				}
			}
			for key, target := range e.targets.ByKey {
				left(key.Host, target)
			}
			if e.targets.Rest != nil {
				left("the rest", e.targets.Rest)
			}
			if server.sent < 200 || seed%2 == 1 && uint64(server.sent) != attempts || retries > calls/10+4 {
				t.Errorf("seed %d: %d requests, %d attempts of %d calls, %d retries", seed, server.sent, attempts, calls, retries)
			}
		})
	}
}
