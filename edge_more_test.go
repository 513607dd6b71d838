package tether_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
)

// counted is a body that knows whether it was closed.
type counted struct {
	io.Reader
	once   sync.Once
	closed *atomic.Int64
}

func (c *counted) Close() error { c.once.Do(func() { c.closed.Add(1) }); return nil }

// TestW10EveryBodyIsClosed: opened = closed on every path (W10).
func TestW10EveryBodyIsClosed(t *testing.T) {
	for _, size := range []int{0, 100, 100 << 10} {
		for _, statuses := range [][]int{{200}, {500, 200}, {500, 500}, {503, 502, 200}, {500, 0}, {500, -1}, {-1}} {
			t.Run(fmt.Sprint(size, statuses), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var opened, closed atomic.Int64
					b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
						status := statuses[min(n, len(statuses))-1]
						switch status {
						case 0:
							return nil, errRefused
						case -1:
							panic("a broken transport")
						}
						resp := answer(req, status)
						opened.Add(1)
						resp.Body = &counted{Reader: strings.NewReader(strings.Repeat("x", size)), closed: &closed}
						return resp, nil
					}}
					c := client(t, b, tether.Options{InitialRetries: policy.Ptr(2)})
					for range 5 {
						func() {
							defer func() { recover() }()
							get(c, api)
						}()
					}
					synctest.Wait()
					if opened.Load() != closed.Load() {
						t.Errorf("%d bodies opened, %d closed", opened.Load(), closed.Load())
					}
				})
			})
		}
	}
}

// TestRequestBodyIsClosedWhenRefused: as every RoundTripper must.
func TestRequestBodyIsClosedWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, &backend{serve: always(200)}, tether.Options{})
		if _, err := c.Engine().Apply(killAll); err != nil {
			t.Fatal(err)
		}
		var closed atomic.Int64
		req, _ := http.NewRequest(http.MethodPost, api, &counted{Reader: strings.NewReader("x"), closed: &closed})
		if _, err := c.Do(req); !errors.Is(err, tether.ErrKilled) {
			t.Fatal(err)
		}
		if closed.Load() != 1 {
			t.Error("the body of a refused request is open")
		}
	})
}

// TestRedirects: each hop is a call of its own, to its own host.
func TestRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			if req.URL.Host == "a.example" {
				return answer(req, 302, "Location", "http://b.example/"), nil
			}
			return answer(req, 200), nil
		}}
		c := client(t, b, tether.Options{})
		if status, _, err := get(c, "http://a.example"); status != 200 || err != nil {
			t.Fatal(status, err)
		}
		for i, want := range []string{"a.example", "b.example"} {
			if got := c.Engine().Health().Targets[i]; got.Target != want || got.Attempts != 1 {
				t.Errorf("target %d is %s with %d attempts", i, got.Target, got.Attempts)
			}
		}
	})
}

// TestClientTimeout bounds all attempts and waits together, and counts as a timeout.
func TestClientTimeout(t *testing.T) {
	overHTTP(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		func(t *testing.T, c *tether.Client, url string) {
			c.Timeout = 3 * time.Second
			began := time.Now()
			_, _, err := get(c, url)
			var timeout interface{ Timeout() bool }
			if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(began) != 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
}

// TestW07AttemptTimeout: only the attempt is given up, the call goes on; a caller's earlier deadline wins.
func TestW07AttemptTimeout(t *testing.T) {
	var n atomic.Int32
	overHTTP(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 1 {
			<-r.Context().Done()
		}
	}), func(t *testing.T, c *tether.Client, url string) {
		if _, err := c.Engine().Apply([]byte(`{"schema":1,"document":"d","version":1,
			"defaults":{"call":{"attemptTimeout":"2s"}}}`)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if status, _, err := get(c, url); status != 200 || time.Since(began) > 5*time.Second {
			t.Errorf("%d, %v after %v", status, err, time.Since(began))
		}
		n.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		_, err := c.Do(req)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tether.ErrAttemptTimeout) {
			t.Errorf("the caller's deadline came back as %v", err)
		}
	})
}

// TestTimeoutErrors: the policy's timeouts are found by type, by errors.Is and by Timeout.
func TestTimeoutErrors(t *testing.T) {
	for setting, want := range map[string]error{
		`"attemptTimeout":"1s"`: tether.ErrAttemptTimeout, `"timeout":"1s"`: tether.ErrCallTimeout,
	} {
		synctest.Test(t, func(t *testing.T) {
			hangs := roundTrip(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
			c := client(t, hangs, tether.Options{InitialRetries: policy.Ptr(0)})
			doc := `{"schema":1,"document":"d","version":1,"defaults":{"call":{` + setting + `}}}`
			if _, err := c.Engine().Apply([]byte(doc)); err != nil {
				t.Fatal(err)
			}
			_, _, err := get(c, api)
			var timeout interface{ Timeout() bool }
			if !errors.Is(err, want) || !errors.Is(err, context.DeadlineExceeded) ||
				!errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%s: error is %v", setting, err)
			}
		})
	}
}

// TestW15Upgrade: a connection that was upgraded can be written to.
func TestW15Upgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			rw.Flush()
			line, _ := rw.ReadString('\n')
			io.WriteString(rw, "echo "+line)
			rw.Flush()
		}))
		for _, document := range []string{
			`{"schema":1,"document":"d","version":1}`,
			`{"schema":1,"document":"d","version":2,"defaults":{"call":{"attemptTimeout":"2s"}}}`,
		} {
			c := client(t, transport, tether.Options{})
			if _, err := c.Engine().Apply([]byte(document)); err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequest(http.MethodGet, url, nil)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "echo")
			resp, err := c.Do(req)
			if err != nil || resp.StatusCode != 101 {
				t.Fatal(resp, err)
			}
			conn, ok := resp.Body.(io.ReadWriteCloser)
			if !ok {
				t.Fatalf("the body %T can't be written to", resp.Body)
			}
			time.Sleep(5 * time.Second) // past the attempt timeout
			io.WriteString(conn, "hello\n")
			line, err := bufio.NewReader(conn).ReadString('\n')
			if line != "echo hello\n" || err != nil {
				t.Errorf("read %q, %v", line, err)
			}
			conn.Close()
		}
	})
}

func TestTrailers(t *testing.T) {
	overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Sum")
		io.WriteString(w, "body")
		w.Header().Set("Sum", "42")
	}), func(t *testing.T, c *tether.Client, url string) {
		resp, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got := resp.Trailer.Get("Sum"); got != "42" {
			t.Errorf("trailer is %q", got)
		}
	})
}

// TestW14NestedWrappers: the inner one makes one attempt, so that two loops don't multiply (W14).
func TestW14NestedWrappers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(500)}
		inner := client(t, b, tether.Options{InitialRetries: policy.Ptr(2)})
		outer := client(t, inner.Transport, tether.Options{InitialRetries: policy.Ptr(2)})
		if status, _, err := get(outer, api); status != 500 || err != nil {
			t.Fatal(status, err)
		}
		if b.attempts() != 3 {
			t.Errorf("%d attempts, want the outer one's 3", b.attempts())
		}
	})
}

// TestBrokenTransport: neither a response nor an error is an error, not a panic.
func TestBrokenTransport(t *testing.T) {
	c := client(t, roundTrip(func(*http.Request) (*http.Response, error) { return nil, nil }), tether.Options{})
	if _, _, err := get(c, api); err == nil {
		t.Error("no error")
	}
}
