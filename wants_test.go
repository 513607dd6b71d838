package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// TestW06NoSleepTowardsADeadline: a repeat that the deadline leaves no time for is not waited for; the
// real failure comes back at once, beside the reason.
func TestW06NoSleepTowardsADeadline(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  func(*http.Request, int) (*http.Response, error)
		reason error
	}{
		{"an error", func(*http.Request, int) (*http.Response, error) { return nil, io.EOF }, retry.ErrDeadline},
		{"an answer", always(503, "Retry-After", "300"), nil}, // which the caller gets as it is (law 12)
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := policy.Document{}
				cfg.Defaults.Call.RetryPolicy = &policy.RetrySettings{
					InitialBackoff: policy.Ptr(time.Hour), MaxBackoff: policy.Ptr(time.Hour)}
				cfg.Defaults.Call.MaxWait = policy.Ptr(24 * time.Hour)
				b := &backend{serve: test.fault}
				c := clientOf(t, b, cfg, 3)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				began := time.Now()
				resp, err := c.Do(req)
				if took := time.Since(began); took != 0 || b.attempts() != 1 {
					t.Errorf("%d attempts, %v", b.attempts(), took)
				}
				switch {
				case test.reason == nil && (err != nil || resp.StatusCode != 503):
					t.Errorf("got %v, %v", resp, err)
				case test.reason == nil:
					resp.Body.Close()
				case !errors.Is(err, test.reason) || !errors.Is(err, io.EOF):
					t.Errorf("error %v is not both the failure and the reason", err)
				}
			})
		})
	}
}

// TestW07Cancelled: the caller's end, with a cause or without, is never taken for an attempt's.
func TestW07Cancelled(t *testing.T) {
	cause := errors.New("the user left")
	for _, at := range []time.Duration{ // within the first attempt, or the pause after it
		time.Millisecond, time.Second, 1001 * time.Millisecond, 1020 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var attempts atomic.Int32
			hangs := roundTrip(func(req *http.Request) (*http.Response, error) {
				attempts.Add(1)
				<-req.Context().Done()
				return nil, context.Cause(req.Context())
			})
			cfg := policy.Document{}
			cfg.Defaults.Call.AttemptTimeout = policy.Ptr(time.Second)
			repeats := 0
			c, err := tether.NewClient(&http.Client{Transport: hangs}, tether.Options{Policy: cfg, Seed: 1,
				Observe: func(e tether.Event) {
					if e.Kind == tether.EventRetry {
						repeats++
					}
				}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			began := time.Now()
			time.AfterFunc(at, func() { cancel(cause) })
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			_, err = c.Do(req)
			if at < time.Second && repeats > 0 {
				t.Errorf("cancelled after %v: %d repeats were announced", at, repeats)
			}
			if err == nil || time.Since(began) != at || attempts.Load() != 1 {
				t.Errorf("cancelled after %v: %v after %v and %d attempts", at, err, time.Since(began), attempts.Load())
			}
		})
	}
}

// zeros is a stream of so many bytes.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	z.left -= n
	return int(n), nil
}

// TestW08LongStreamIsNotBuffered: 1 GB without GetBody is sent once, through less than 1 MB.
func TestW08LongStreamIsNotBuffered(t *testing.T) {
	var received int64
	drain := roundTrip(func(req *http.Request) (*http.Response, error) {
		var err error
		received, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{req.Body}, make([]byte, 64<<10))
		if err != nil {
			return nil, err
		}
		req.Body.Close()
		return answer(req, 503), nil
	})
	c := client(t, drain, tether.Options{})
	req, _ := http.NewRequest(http.MethodPut, api, io.NopCloser(&zeros{left: 1 << 30}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, err := c.Do(req)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if used := after.TotalAlloc - before.TotalAlloc; received != 1<<30 || used > 1<<20 {
		t.Errorf("%d bytes arrived, %d were allocated", received, used)
	}
	if n := c.Engine().Health().Targets[0].Attempts; n != 1 {
		t.Errorf("%d attempts", n)
	}
}

// TestW14AttemptHeader: the server is told which attempt it is, where that is asked for; a key is the
// same on every attempt; the caller's request stays as it was.
func TestW14AttemptHeader(t *testing.T) {
	for _, name := range []string{"", "Attempt"} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			b := roundTrip(func(req *http.Request) (*http.Response, error) {
				got = append(got, req.Header.Get("Attempt")+" "+req.Header.Get("Idempotency-Key"))
				return answer(req, 502), nil
			})
			c := client(t, b, tether.Options{AttemptHeader: name, InitialRetries: policy.Ptr(2)})
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				got = nil
				req, _ := http.NewRequest(method, api, strings.NewReader("an order"))
				req.Header.Set("Idempotency-Key", "8e03978e")
				want := []string{" 8e03978e", "1 8e03978e", "2 8e03978e"}
				if name == "" {
					want = []string{want[0], want[0], want[0]}
				}
				if method == http.MethodPost {
					want = want[:1] // the budget is spent
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if !slices.Equal(got, want) || len(req.Header) != 1 {
					t.Errorf("%s with %q: attempts brought %q, want %q; the request has %v", method, name, got, want, req.Header)
				}
			}
		})
	}
	for _, bad := range []string{"Attempt:", "At tempt", "Ätt", "\n"} {
		if _, err := tether.New(tether.Options{AttemptHeader: bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// TestW15CopiesItself: the body that a clock watches keeps its own way of being copied.
func TestW15CopiesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := &selfCopying{}
		b := roundTrip(func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200)
			resp.Body = body
			return resp, nil
		})
		cfg := policy.Document{}
		cfg.Defaults.Call.AttemptTimeout = policy.Ptr(time.Second)
		resp, err := clientOf(t, b, cfg, 1).Get(api)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != 7 || err != nil || !body.copied {
			t.Errorf("%d bytes, %v, by itself: %v", n, err, body.copied)
		}
		resp.Body.Close()
	})
}

type selfCopying struct{ copied bool }

func (*selfCopying) Read([]byte) (int, error) { return 0, io.ErrNoProgress }
func (*selfCopying) Close() error             { return nil }
func (s *selfCopying) WriteTo(w io.Writer) (int64, error) {
	s.copied = true
	n, err := io.WriteString(w, "written")
	return int64(n), err
}

// TestW18PushNeverRefills: a spent budget stays spent whatever is pushed, and fills again by successes.
func TestW18PushNeverRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(500)}
		c := client(t, b, tether.Options{})
		saved := func() float64 { return c.Engine().Health().Targets[0].RetriesSaved }
		get(c, api)
		for i, ratio := range []string{"0.1", "0.05", "0", "0.1", "0.1"} {
			doc := fmt.Sprintf(`{"schema":1,"document":"d","version":%d,
				"defaults":{"target":{"retryBudget":{"ratio":%s}}}}`, i+1, ratio)
			if _, err := c.Engine().Apply([]byte(doc)); err != nil {
				t.Fatal(err)
			}
			get(c, api)
			if saved() != 0 {
				t.Errorf("ratio %s: %v saved", ratio, saved())
			}
		}
		b.becomes(always(200))
		for range 25 {
			get(c, api)
			time.Sleep(time.Second)
		}
		if saved() != 2 {
			t.Errorf("%v saved after 25 successes, want 2", saved())
		}
	})
}

// TestW19RefusedByWhom: what this process refused says so, reaches nobody, and teaches nothing: neither
// its own breaker nor that of a wrapper further out.
func TestW19RefusedByWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: dead}
		inner := client(t, b, tether.Options{})
		outer := client(t, inner.Transport, tether.Options{Seed: 2})
		for range 6 {
			get(inner, api)
		}
		sent, was := b.attempts(), inner.Engine().Health().Targets[0]
		for range 20 {
			ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			_, err := outer.Do(req)
			if r := rejected(t, err); r.ServerAsked || !strings.HasPrefix(r.Error(), "tether: ") {
				t.Errorf("refusal says %q", r)
			}
		}
		now := inner.Engine().Health().Targets[0]
		if b.attempts() != sent || now.Attempts != was.Attempts || now.Breaker != was.Breaker {
			t.Errorf("%d attempts were sent; %+v, was %+v", b.attempts()-sent, now, was)
		}
		if state := outer.Engine().Health().Targets[0]; state.Breaker.String() != "closed" || state.Attempts != 20 {
			t.Errorf("the outer breaker is %v after %d attempts", state.Breaker, state.Attempts)
		}
	})
}

// TestW34ContextEndsUnderLoad: a bubble ends only when every goroutine in it has.
func TestW34ContextEndsUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, url := memnet.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}))
		defer base.CloseIdleConnections()
		c := client(t, base, tether.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
	})
}
