package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime"
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

const bound = 64 << 10 // of what is kept of a body, in these tests

// stream is a body that can't be read twice and counts how often it is closed.
type stream struct {
	io.Reader
	closed atomic.Int32
}

func (s *stream) Close() error { s.closed.Add(1); return nil }

// letters is a text in which every place differs from its neighbours.
func letters(n int) string {
	return strings.Repeat("abcdefghijklmnopqrstuvwxyz0123456789-", n/37+1)[:n]
}

// overBoth runs a test with bodies kept against a real server, over HTTP/1.1 and HTTP/2.
func overBoth(t *testing.T, h http.Handler, opts tether.Options, test func(*testing.T, *tether.Client, string)) {
	for name, serve := range map[string]func(testing.TB, http.Handler) (*http.Transport, string){
		"http1": memnet.Serve, "h2c": memnet.ServeH2C} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base, url := serve(t, h)
				defer base.CloseIdleConnections()
				opts.BufferBodies = bound
				test(t, client(t, base, opts), url)
			})
		})
	}
}

// TestW08BufferedBody: what is within the bound arrives whole with each attempt, in the same form; what
// isn't has one attempt. The caller's request stays as it was, and its body is closed once.
func TestW08BufferedBody(t *testing.T) {
	for _, test := range []struct{ size, told, attempts int }{
		{1, -1, 2}, {bound, -1, 2}, {bound + 1, -1, 1}, {10 * bound, -1, 1},
		{1, 1, 2}, {bound, bound, 2}, {bound + 1, bound + 1, 1}, {10 * bound, 10 * bound, 1},
	} {
		t.Run(fmt.Sprintf("%d told %d", test.size, test.told), func(t *testing.T) {
			var mu sync.Mutex
			var got []string
			overBoth(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				data, err := io.ReadAll(r.Body)
				mu.Lock()
				got = append(got, fmt.Sprint(string(data) == letters(test.size), r.ContentLength, r.Trailer["Sum"], err))
				mu.Unlock()
				w.WriteHeader(http.StatusBadGateway)
			}), tether.Options{}, func(t *testing.T, c *tether.Client, url string) {
				got = nil
				body := &stream{Reader: strings.NewReader(letters(test.size))}
				ctx := tether.WithCall(t.Context(), tether.CallOptions{Explained: true})
				req, _ := http.NewRequestWithContext(ctx, http.MethodPut, url, body)
				req.ContentLength = int64(test.told)
				req.Header.Set("Expect", "100-continue")
				want := fmt.Sprint(true, test.told, []string(nil), error(nil))
				if test.told < 0 { // only then there are trailers in HTTP/1.1
					req.Trailer = http.Header{"Sum": {"42"}}
					want = fmt.Sprint(true, -1, []string{"42"}, error(nil))
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				synctest.Wait()
				if len(got) != test.attempts || got[0] != want || got[len(got)-1] != want {
					t.Errorf("attempts brought %v, want %d of %s", got, test.attempts, want)
				}
				if n := body.closed.Load(); n != 1 || req.Body != io.ReadCloser(body) || req.GetBody != nil {
					t.Errorf("closed %d times; body %T", n, req.Body)
				}
				story, held := storyOf(t, resp, nil), 0
				if test.attempts > 1 {
					held = test.size
				}
				if story.Buffered != held || strings.Contains(story.String(), "were kept") != (held > 0) ||
					errors.Is(story.NotRepeated, retry.ErrBody) != (test.attempts == 1) {
					t.Errorf("told as %q, %d bytes", story, story.Buffered)
				}
			})
		})
	}
}

// TestW08BufferedLongStream: 1 GB of unknown length is sent once; what was kept of it is let go of.
func TestW08BufferedLongStream(t *testing.T) {
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, received := live(), uint64(0), int64(0)
	b := roundTrip(func(req *http.Request) (*http.Response, error) {
		buf := make([]byte, 32<<10)
		for looked := int64(0); ; {
			n, err := req.Body.Read(buf)
			if received += int64(n); received-looked > 64<<20 || received == bound {
				most, looked = max(most, live()), received
			}
			if err != nil {
				req.Body.Close()
				return answer(req, 503), nil
			}
		}
	})
	c := client(t, b, tether.Options{BufferBodies: bound})
	body := &stream{Reader: &zeros{left: 1 << 30}}
	req, _ := http.NewRequest(http.MethodPut, api, body)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if most > before+bound+256<<10 || received != 1<<30 || body.closed.Load() != 1 {
		t.Errorf("%d bytes arrived, %d were in use beyond %d; closed %d times", received, most-before, before, body.closed.Load())
	}
	if n := c.Engine().Health().Targets[0].Attempts; n != 1 {
		t.Errorf("%d attempts", n)
	}
}

// TestW08BufferedBodyFails: a body's own error is final, is the caller's to see, and teaches nothing.
func TestW08BufferedBodyFails(t *testing.T) {
	overBoth(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }),
		tether.Options{}, func(t *testing.T, c *tether.Client, url string) {
			broken := errors.New("the disk is gone")
			for range 10 { // a breaker would be open
				body := &stream{Reader: io.MultiReader(strings.NewReader("half"), brokenReader{broken})}
				req, _ := http.NewRequest(http.MethodPut, url, body)
				if _, err := c.Do(req); !errors.Is(err, broken) || body.closed.Load() != 1 {
					t.Fatalf("error is %v; closed %d times", err, body.closed.Load())
				}
			}
			if s := c.Engine().Health().Targets[0]; s.Attempts != 10 || s.Breaker.String() != "closed" || s.RetriesSaved != 1 {
				t.Errorf("%+v", s)
			}
		})
}

type brokenReader struct{ err error }

func (f brokenReader) Read([]byte) (int, error) { return 0, f.err }

// TestW08BufferedOnlyWhereItHelps: bodies that need no keeping, or can't be repeated, are left alone.
func TestW08BufferedOnlyWhereItHelps(t *testing.T) {
	noRetries := policy.Document{}
	noRetries.Defaults.Call.RetryPolicy = &policy.RetrySettings{MaxAttempts: policy.Ptr(1)}
	noBudget := policy.Document{}
	noBudget.Defaults.Target.RetryBudget = &policy.BudgetSettings{Ratio: policy.Ptr(0.0)}
	for name, test := range map[string]struct {
		cfg    policy.Document
		bound  int64
		change func(*http.Request)
	}{
		"not asked for": {bound: 0},
		"told longer":   {bound: 10, change: func(r *http.Request) { r.ContentLength = 11 }},
		"no body":       {bound: 10, change: func(r *http.Request) { r.Body = http.NoBody }},
		"no retries":    {bound: 10, cfg: noRetries},
		"no budget":     {bound: 10, cfg: noBudget},
		"GetBody": {bound: 10, change: func(r *http.Request) {
			r.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var sent io.ReadCloser
			b := roundTrip(func(req *http.Request) (*http.Response, error) {
				sent = req.Body
				return answer(req, 200), nil
			})
			c, err := tether.NewClient(&http.Client{Transport: b}, tether.Options{Policy: test.cfg, BufferBodies: test.bound})
			if err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequest(http.MethodPut, api, &stream{Reader: strings.NewReader("hello world")})
			if test.change != nil {
				test.change(req)
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if source(sent) != req.Body {
				t.Errorf("the attempt sends a %T", sent)
			}
		})
	}
	inner := client(t, roundTrip(func(req *http.Request) (*http.Response, error) {
		if _, untouched := source(req.Body).(*stream); !untouched {
			t.Errorf("inside of another wrapper's attempt the body is a %T", req.Body)
		}
		return answer(req, 200), nil
	}), tether.Options{BufferBodies: bound})
	req, _ := http.NewRequest(http.MethodPut, api, &stream{Reader: strings.NewReader("hello world")})
	if resp, err := client(t, inner.Transport, tether.Options{}).Do(req); err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
	}
	for _, bad := range []int64{-1, 1<<20 + 1} {
		if _, err := tether.New(tether.Options{BufferBodies: bad}); err == nil {
			t.Errorf("%d was accepted", bad)
		}
	}
}

// TestW08BufferingRepeatsNothingMore: that a body can be sent again makes no call safe to repeat (law 6).
func TestW08BufferingRepeatsNothingMore(t *testing.T) {
	for _, test := range []struct {
		method string
		fail   error
		want   int
	}{{"POST", io.EOF, 1}, {"POST", errRefused, 2}, {"PATCH", io.EOF, 1}, {"PUT", io.EOF, 2}} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: func(*http.Request, int) (*http.Response, error) { return nil, test.fail }}
			body := &stream{Reader: strings.NewReader("an order")}
			req, _ := http.NewRequest(test.method, api, body)
			_, err := client(t, b, tether.Options{BufferBodies: bound}).Do(req)
			if b.attempts() != test.want || !errors.Is(err, test.fail) || errors.Is(err, retry.ErrBody) {
				t.Errorf("%s failing with %v: %d attempts, want %d: %v", test.method, test.fail, b.attempts(), test.want, err)
			}
			for _, got := range b.bodies {
				if got != "an order" {
					t.Errorf("%q arrived", got)
				}
			}
			if body.closed.Load() != 1 {
				t.Errorf("closed %d times", body.closed.Load())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // nothing is sent
		c := client(t, &backend{serve: always(200)}, tether.Options{BufferBodies: bound})
		if _, err := c.Engine().Apply(killAll); err != nil {
			t.Fatal(err)
		}
		body := &stream{Reader: brokenReader{errors.New("was read")}}
		req, _ := http.NewRequest(http.MethodPut, api, body)
		if _, err := c.Do(req); !errors.Is(err, tether.ErrKilled) || body.closed.Load() != 1 {
			t.Errorf("%v; closed %d times", err, body.closed.Load())
		}
	})
}

// TestW08BufferedConversation: a body that is written in answer to the response is not waited for.
func TestW08BufferedConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, url := memnet.ServeH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			io.Copy(w, r.Body)
		}))
		defer base.CloseIdleConnections()
		c := client(t, base, tether.Options{BufferBodies: bound})
		ours, theirs := io.Pipe()
		body := &stream{Reader: ours}
		req, _ := http.NewRequest(http.MethodPut, url, body)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			io.WriteString(theirs, letters(3*bound))
			theirs.Close()
		}()
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		synctest.Wait()
		if string(data) != letters(3*bound) || err != nil || body.closed.Load() != 1 {
			t.Errorf("%d bytes came back, %v; closed %d times", len(data), err, body.closed.Load())
		}
	})
}

// TestW08BufferedHangingBody: a body that brings nothing doesn't outlast the deadline, nor the source the
// call. (Over HTTP/1.1 net/http itself waits for whoever reads a body.)
func TestW08BufferedHangingBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, url := memnet.ServeH2C(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
		}))
		defer base.CloseIdleConnections()
		c := client(t, base, tether.Options{BufferBodies: bound})
		ours, theirs := io.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodPut, url, ours)
		began := time.Now()
		_, err := c.Do(req)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		synctest.Wait()
		if _, err := theirs.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the source is open: %v", err)
		}
	})
}

// source is the caller's stream below the readers that note how it ends: they keep nothing of it.
func source(body io.ReadCloser) io.ReadCloser {
	for {
		v := reflect.ValueOf(body)
		if v.Kind() != reflect.Pointer || v.Type().String() != "*httpwire.NotedBody" {
			return body
		}
		body = v.Elem().FieldByName("ReadCloser").Interface().(io.ReadCloser)
	}
}
