package tether_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

// K: law 2: a "not before" that arrives as the caller gives up is heard.
func TestFaultHintOfCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := tether.New(tether.Options{Seed: 1})
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		fn := func(context.Context, *tether.Permit) tether.Outcome {
			n++
			cancel()
			return tether.Outcome{Class: tether.Overloaded, Err: io.EOF,
				Hint: hint.Hint{Wait: time.Minute, Explicit: true}}
		}
		e.Do(ctx, tether.Call{Host: "db"}, fn)
		e.Do(t.Context(), tether.Call{Host: "db"}, fn)
		if n != 1 {
			t.Errorf("%d attempts: the server's word was not heard", n)
		}
	})
}

// L: a kill that arrives as a call goes to sleep wakes it.
func TestFaultKillBeforePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *tether.Client
		b := &backend{serve: always(503, "Retry-After", "5")}
		c = client(t, b, tether.Options{Observe: func(ev tether.Event) {
			if ev.Kind == tether.EventRetry {
				c.Engine().Apply(killAll)
			}
		}})
		began := time.Now()
		get(c, "http://api.example")
		if took := time.Since(began); took > time.Second {
			t.Errorf("a killed call slept %v", took)
		}
	})
}

// M: law 10: the caller's own mistakes teach nothing about the server.
func TestFaultOwnMistakes(t *testing.T) {
	for name, spoil := range map[string]func(*http.Request){
		"header": func(r *http.Request) { r.Header.Set("X-Token", "a\nb") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
				}))
				c := client(t, transport, tether.Options{})
				for range 6 {
					r, _ := http.NewRequest("POST", url, nil)
					spoil(r)
					if resp, err := c.Do(r); err == nil {
						resp.Body.Close()
					}
				}
				if h := c.Engine().Health().Targets[0]; h.Breaker != breaker.Closed {
					t.Errorf("the breaker of a healthy server is %v", h.Breaker)
				}
			})
		})
	}
}

// N: law 1: forgetting a target refills nothing.
func TestFaultChurnRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(502)}
		c := client(t, b, tether.Options{MaxTargets: 1})
		for range 50 {
			get(c, "http://a.example")
			get(c, "http://b.example")
			time.Sleep(time.Second)
		}
		if n := b.attempts() - 100; n > 2 {
			t.Errorf("%d re-attempts for 100 calls, none of which succeeded", n)
		}
	})
}

// P: law 8: a malformed document lifts no kill.
func TestFaultMalformedLiftsKill(t *testing.T) {
	for _, rest := range []string{`,"kill":"oops"`, `,"kill":[{"name":"all","match":{},"until":7}]`, `,"pollInterval":-1`} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: always(200)}
			c := client(t, b, tether.Options{})
			c.Engine().Apply(killAll)
			_, err := c.Engine().Apply(doc(2, rest))
			if err == nil {
				t.Fatal("taken")
			}
			if status, _, _ := get(c, "http://api.example"); status != 0 {
				t.Errorf("%s: refused with %v, and the kill is lifted", rest, err)
			}
		})
	}
}

// R: law 2: an answer later than the attempt timeout is an answer.
func TestFaultLateNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(time.Second)
			return answer(req, 503, "Retry-After", "600"), nil
		}}
		c, _ := tether.NewClient(&http.Client{Transport: b}, tether.Options{Policy: policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{
			AttemptTimeout: policy.Ptr(time.Second)}}}, Seed: 1})
		get(c, "http://api.example")
		if n := b.attempts(); n != 1 {
			t.Errorf("%d attempts, the first was told: not before 600 s", n)
		}
	})
}

// S: law 11: no timer outlives a call that panics.
func TestFaultPanicLeavesTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ctx context.Context
		b := roundTrip(func(req *http.Request) (*http.Response, error) { ctx = req.Context(); panic("base") })
		c, _ := tether.NewClient(&http.Client{Transport: b}, tether.Options{Policy: policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{
			AttemptTimeout: policy.Ptr(time.Minute)}}}, Seed: 1})
		func() {
			defer func() { recover() }()
			get(c, "http://api.example")
		}()
		if ctx.Err() == nil {
			t.Error("the attempt's context and timer outlive the call")
		}
	})
}
