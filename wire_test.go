package tether_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// post makes an order: what must not be done twice.
func post(t testing.TB, c *tether.Client, url string, change func(*http.Request)) error {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader("an order"))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := c.Do(req)
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return err
}

// dropping accepts connections and does what is said with each, then closes it.
func dropping(t *testing.T, network *memnet.Network, host string, do func(net.Conn)) {
	l := network.Listen(host)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			do(conn)
			conn.Close()
		}
	})
	t.Cleanup(func() { l.Close(); accepting.Wait() })
}

// TestW13Unsent: a POST is repeated where the trace proves what the error doesn't say, and only there.
func TestW13Unsent(t *testing.T) {
	long := func(r *http.Request) { r.Header.Set("Long", strings.Repeat("x", 200<<10)) }
	readHead := func(conn net.Conn) { conn.Read(make([]byte, 4096)) }
	for _, test := range []struct {
		name     string
		url      string
		do       func(net.Conn)
		change   func(*http.Request)
		attempts int
	}{
		{"closed within the TLS handshake", "https://api.example:80", readHead, nil, 2},
		{"closed within the request's head", "http://api.example", readHead, long, 2},
		{"closed after the request", "http://api.example", readHead, nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := memnet.New()
				dropping(t, network, "api.example", test.do)
				base := network.Transport()
				err := post(t, client(t, base, tether.Options{}), test.url, test.change)
				if got := attemptsOf(err); got != test.attempts {
					t.Errorf("%d attempts, want %d: %v", got, test.attempts, err)
				}
				if unsafe := errors.Is(err, retry.ErrUnsafe); unsafe != (test.attempts == 1) {
					t.Errorf("error is %v", err)
				}
				// A RoundTripper that isn't net/http's own might send past the trace.
				err = post(t, client(t, roundTrip(base.RoundTrip), tether.Options{}), test.url, test.change)
				if got := attemptsOf(err); got != 1 {
					t.Errorf("%d attempts through an unknown transport: %v", got, err)
				}
			})
		})
	}
}

func attemptsOf(err error) int {
	var failed *retry.Error
	if errors.As(err, &failed) {
		return failed.Attempts
	}
	return 0
}

// TestW13TimedOut: an attempt timeout while connecting left nothing behind; one while the server works
// may have.
func TestW13TimedOut(t *testing.T) {
	cfg := policy.Document{}
	cfg.Defaults.Call.AttemptTimeout = policy.Ptr(time.Second)
	for name, want := range map[string]int{"connecting": 2, "answering": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base, url := memnet.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
				}))
				over := make(chan struct{})
				defer close(over) // net/http goes on dialling without the request
				if name == "connecting" {
					base.DialContext = func(context.Context, string, string) (net.Conn, error) {
						<-over
						return nil, errRefused
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err := post(t, clientOf(t, base, cfg, 1), url, func(r *http.Request) { *r = *r.WithContext(ctx) })
				if got := attemptsOf(err); got != want || !errors.Is(err, tether.ErrAttemptTimeout) {
					t.Errorf("%d attempts, want %d: %v", got, want, err)
				}
			})
		})
	}
}

// slow is a connection that holds up one write when it is congested, until just after the timeout:
// HTTP/2 writes under a mutex, and a bubble's clock stands still while a repeat waits for that.
type slow struct {
	net.Conn
	congested *atomic.Bool
}

func (s slow) Write(p []byte) (int, error) {
	if s.congested.CompareAndSwap(true, false) {
		time.Sleep(1001 * time.Millisecond)
	}
	return s.Conn.Write(p)
}

// TestW13TimedOutWhileWriting: HTTP/2 gives up a request whose head is being written, and the head
// arrives all the same.
func TestW13TimedOutWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived atomic.Int32
		network := memnet.New()
		url := network.Serve(t, "api.example", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				arrived.Add(1)
			}
		}))
		var congested atomic.Bool
		base := network.TransportH2C()
		defer base.CloseIdleConnections()
		base.DialContext = func(ctx context.Context, net_, addr string) (net.Conn, error) {
			conn, err := network.DialContext(ctx, net_, addr)
			return slow{conn, &congested}, err
		}
		cfg := policy.Document{}
		cfg.Defaults.Call.AttemptTimeout = policy.Ptr(time.Second)
		c := clientOf(t, base, cfg, 1)
		if status, _, err := get(c, url); status != 200 || err != nil {
			t.Fatal(status, err)
		}
		congested.Store(true)
		err := post(t, c, url, nil)
		if !errors.Is(err, tether.ErrAttemptTimeout) || !errors.Is(err, retry.ErrUnsafe) {
			t.Errorf("error is %v", err)
		}
		time.Sleep(time.Minute)
		if arrived.Load() != 1 {
			t.Errorf("%d orders arrived, want the one that was being written", arrived.Load())
		}
	})
}

// cutting is a connection that breaks after so many bytes either way.
type cutting struct {
	net.Conn
	mu            sync.Mutex // guards what follows
	write, read   int
	beforeWriting bool // a write that would pass the mark brings nothing over
}

func (c *cutting) Write(p []byte) (int, error) {
	c.mu.Lock()
	n := min(len(p), c.write)
	if n < len(p) && c.beforeWriting {
		n = 0
	}
	c.write -= n
	c.mu.Unlock()
	if n > 0 {
		if n, err := c.Conn.Write(p[:n]); err != nil {
			return n, err
		}
	}
	if n < len(p) {
		c.Conn.Close()
		return n, &net.OpError{Op: "write", Net: "mem", Err: os.NewSyscallError("write", syscall.EPIPE)}
	}
	return n, nil
}

func (c *cutting) Read(p []byte) (int, error) {
	c.mu.Lock()
	left := c.read
	c.mu.Unlock()
	if left == 0 {
		c.Conn.Close()
		return 0, &net.OpError{Op: "read", Net: "mem", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	n, err := c.Conn.Read(p[:min(len(p), left)])
	c.mu.Lock()
	c.read -= n
	c.mu.Unlock()
	return n, err
}

// TestW13NoOrderTwice: whatever breaks and wherever, fresh connection or not, no order arrives twice;
// and the proof is worth having: some are repeated.
func TestW13NoOrderTwice(t *testing.T) {
	for _, protocol := range []string{"http1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				arrived := make(map[string]int)
				network := memnet.New()
				url := network.Serve(t, "api.example", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					mu.Lock()
					arrived[r.Header.Get("Order")]++
					mu.Unlock()
					io.Copy(io.Discard, r.Body)
				}))
				base := network.Transport()
				if protocol == "h2c" {
					base = network.TransportH2C()
				}
				defer base.CloseIdleConnections()
				rng := rand.New(rand.NewPCG(5, 6)) // used by whoever holds mu
				base.DialContext = func(ctx context.Context, network_, addr string) (net.Conn, error) {
					conn, err := network.DialContext(ctx, network_, addr)
					mu.Lock()
					defer mu.Unlock()
					return &cutting{Conn: conn, write: rng.IntN(20_000), read: rng.IntN(1000),
						beforeWriting: rng.IntN(2) == 0}, err
				}
				cfg := budgetOnly()
				cfg.Defaults.Target.RetryBudget = &policy.BudgetSettings{Ratio: policy.Ptr(1.0)}
				var repeats int
				c, err := tether.NewClient(&http.Client{Transport: base}, tether.Options{Policy: cfg, Seed: 1,
					Observe: func(e tether.Event) {
						if e.Kind == tether.EventRetry {
							repeats++
						}
					}})
				if err != nil {
					t.Fatal(err)
				}
				for i := range 1000 {
					post(t, c, url, func(r *http.Request) {
						r.Header.Set("Order", time.Duration(i).String())
						mu.Lock()
						defer mu.Unlock()
						r.Header.Set("Long", strings.Repeat("x", rng.IntN(10_000)))
					})
				}
				mu.Lock()
				defer mu.Unlock()
				for order, n := range arrived {
					if n > 1 {
						t.Errorf("order %s arrived %d times", order, n)
					}
				}
				t.Logf("%d orders arrived, %d attempts were repeated", len(arrived), repeats)
				if repeats == 0 && protocol == "http1" || len(arrived) < 200 {
					t.Errorf("it proves nothing: %d repeats, %d arrived", repeats, len(arrived))
				}
			})
		})
	}
}
