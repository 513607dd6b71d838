package tether_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
)

func doc(version int, rest string) []byte {
	return fmt.Appendf(nil, `{"schema":1,"document":"d","version":%d%s}`, version, rest)
}

const killEverything = `,"kill":[{"name":"all","match":{},"until":"2100-01-01T00:00:00Z"}]`

// openLoop starts a call every gap until the time is over.
func openLoop(c *tether.Client, gap, during time.Duration, wg *sync.WaitGroup) {
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(gap) {
		wg.Go(func() { get(c, "http://api.example") })
	}
}

// A: law 4: after a kill a client comes back at its usual rate.
func TestFaultKillThenUsualRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := client(t, b, tether.Options{})
		var wg sync.WaitGroup
		openLoop(c, 100*time.Millisecond, time.Minute, &wg) // 10/s
		c.Engine().Apply(doc(1, killEverything))
		openLoop(c, 100*time.Millisecond, 2*time.Minute, &wg)
		if _, err := c.Engine().Apply(doc(2, "")); err != nil {
			t.Fatal(err)
		}
		openLoop(c, 100*time.Millisecond, 5*time.Minute, &wg)
		last := time.Now()
		openLoop(c, 100*time.Millisecond, time.Minute, &wg)
		n := b.attemptsSince(last)
		wg.Wait()
		if n < 500 {
			t.Errorf("five minutes after the kill: %d of 600 calls a minute were sent", n)
		}
	})
}

func workers(c *tether.Client, n int, stop *atomic.Bool, auth string) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for !stop.Load() {
				req, _ := http.NewRequest("GET", "http://api.example", nil)
				if auth != "" {
					req.Header.Set("Authorization", auth)
				}
				resp, err := c.Do(req)
				if err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	return &wg
}

// B: law 4: workers come back after an outage.
func TestFaultOutageThenWorkers(t *testing.T) {
	for _, mode := range []string{"dead", "429", "503"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				healthy := func(req *http.Request, _ int) (*http.Response, error) {
					time.Sleep(50 * time.Millisecond)
					return answer(req, 200), nil
				}
				b := &backend{serve: healthy}
				c := client(t, b, tether.Options{})
				var stop atomic.Bool
				wg := workers(c, 10, &stop, "Bearer a")
				time.Sleep(time.Minute)
				before := b.attempts() / 60
				switch mode {
				case "dead":
					b.becomes(dead)
					time.Sleep(time.Minute)
				case "429":
					b.becomes(always(429, "Retry-After", "5"))
					time.Sleep(time.Second)
				case "503":
					b.becomes(always(503, "Retry-After", "5"))
					time.Sleep(time.Second)
				}
				b.becomes(healthy)
				time.Sleep(5 * time.Minute)
				last := time.Now()
				time.Sleep(time.Minute)
				after := b.attemptsSince(last) / 60
				stop.Store(true)
				wg.Wait()
				if after < before*8/10 {
					t.Errorf("%d calls/s before, %d calls/s five minutes after", before, after)
				}
			})
		})
	}
}

// D: law 4: a probe that is answered "503" must not let all the waiting go at once.
func TestFaultOverloadedProbeBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: dead}
		c := client(t, b, tether.Options{})
		for range 6 {
			get(c, "http://api.example")
		}
		b.becomes(func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(100 * time.Millisecond)
			return answer(req, 503), nil
		})
		from := time.Now()
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { get(c, "http://api.example") })
		}
		wg.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		most := 0
		for i, at := range b.times {
			n := 0
			for _, other := range b.times[i:] {
				if other.Sub(at) < 100*time.Millisecond {
					n++
				}
			}
			if !at.Before(from) {
				most = max(most, n)
			}
		}
		if most > 5 {
			t.Errorf("%d attempts within 100 ms of a probe answered with 503", most)
		}
	})
}

// E: law 2: a 429 holds calls of the credential that wait for the target already.
func TestFaultLaneHoldReachesTargetQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(503, "Retry-After", "2")}
		c := client(t, b, tether.Options{})
		req := func() *http.Request {
			r, _ := http.NewRequest("POST", "http://api.example", nil)
			r.Header.Set("Authorization", "Bearer a")
			return r
		}
		if resp, err := c.Do(req()); err == nil {
			resp.Body.Close()
		}
		b.becomes(always(429, "Retry-After", "50"))
		before := b.attempts()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if resp, err := c.Do(req()); err == nil {
					resp.Body.Close()
				}
			})
		}
		wg.Wait()
		if n := b.attempts() - before; n != 1 {
			t.Errorf("%d attempts left though the first was told: not before 50 s", n)
		}
	})
}

// F: law 12: the answer survives two repeats without one.
func TestFaultAnswerThenTwoWithout(t *testing.T) {
	two := 2
	t.Run("fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
				if n == 1 {
					return answer(req, 502), nil
				}
				return nil, errRefused
			}}
			status, body, err := get(client(t, b, tether.Options{InitialRetries: &two}), "http://api.example")
			if status != 502 || body != "body of Bad Gateway" || err != nil || b.attempts() != 3 {
				t.Errorf("fake: got %d %q, %v after %d attempts", status, body, err, b.attempts())
			}
		})
	})
	t.Run("net/http", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			transport, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) == 1 {
					http.Error(w, "a body", http.StatusBadGateway)
					return
				}
				panic(http.ErrAbortHandler)
			}))
			status, body, err := get(client(t, transport, tether.Options{InitialRetries: &two}), url)
			t.Logf("net/http: got %d %q, %v after %d attempts", status, body, err, n.Load())
			if status != 502 || body != "a body\n" || err != nil {
				t.Errorf("net/http: got %d %q, %v after %d attempts", status, body, err, n.Load())
			}
		})
	})
}

// H: law 7: the policy's call timeout bounds a repeat that begins as it ends.
func TestFaultCallTimeoutElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := roundTrip(nil)
		n := 0
		b = func(req *http.Request) (*http.Response, error) {
			if n++; n == 1 {
				time.Sleep(993 * time.Millisecond)
				resp := answer(req, 500)
				resp.Body = &dribble{closed: make(chan struct{})}
				return resp, nil
			}
			select {
			case <-req.Context().Done():
				return nil, req.Context().Err()
			case <-time.After(time.Hour):
				return answer(req, 200), nil
			}
		}
		c, err := tether.NewClient(&http.Client{Transport: b}, tether.Options{Policy: policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{
			Timeout: policy.Ptr(time.Second), AttemptTimeout: policy.Ptr(time.Second),
			RetryPolicy: &policy.RetrySettings{InitialBackoff: policy.Ptr(5 * time.Millisecond)},
		}}}, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		get(c, "http://api.example")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a call with a timeout of 1 s took %v", took)
		}
	})
}

// I: Timeout and AttemptTimeout bound Do.
func TestFaultDoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := tether.New(tether.Options{Policy: policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{
			Timeout: policy.Ptr(time.Second), AttemptTimeout: policy.Ptr(time.Second),
		}}}, Seed: 1})
		began := time.Now()
		e.Do(t.Context(), tether.Call{Host: "db"}, func(ctx context.Context, _ *tether.Permit) tether.Outcome {
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
			return tether.Outcome{Class: tether.Transient, Err: io.EOF}
		})
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a call with a timeout of 1 s took %v", took)
		}
	})
}
