package tether_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
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

// TestW13FailedWritesLookAlike is why a POST whose write fails is not repeated: net/http brings the same
// error and the same trace for one of which nothing left and for one that the server is at work on.
func TestW13FailedWritesLookAlike(t *testing.T) {
	var seen [2]string
	for i, left := range []int{0, 5000} { // bytes before the connection breaks
		synctest.Test(t, func(t *testing.T) {
			var worked atomic.Int32
			network := memnet.New()
			url := network.Serve(t, "api.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				worked.Add(1) // without the rest of the body
			}))
			base := network.Transport()
			defer base.CloseIdleConnections()
			base.DialContext = func(ctx context.Context, network_, addr string) (net.Conn, error) {
				conn, err := network.DialContext(ctx, network_, addr)
				return &cutting{Conn: conn, write: left, read: 1 << 20}, err
			}
			var mu sync.Mutex
			var trace []string
			told := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				trace = append(trace, fmt.Sprintf(format, args...))
			}
			err := post(t, client(t, base, tether.Options{}), url, func(r *http.Request) {
				text := strings.Repeat("x", 100<<10)
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
				r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
				*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
					GotConn:      func(info httptrace.GotConnInfo) { told("connection, reused %v", info.Reused) },
					WroteHeaders: func() { told("head written") },
					WroteRequest: func(info httptrace.WroteRequestInfo) { told("%T", info.Err) },
				}))
			})
			synctest.Wait()
			if attemptsOf(err) != 1 || !errors.Is(err, retry.ErrUnsafe) || int(worked.Load()) != i {
				t.Errorf("%d attempts, worked on %d, want %d: %v", attemptsOf(err), worked.Load(), i, err)
			}
			var failed *retry.Error
			if errors.As(err, &failed) {
				for err = failed.Err; err != nil; err = errors.Unwrap(err) {
					told("%T %[1]v", err)
				}
			}
			seen[i] = strings.Join(trace, ", ")
		})
	}
	t.Log(seen[0])
	if seen[0] != seen[1] {
		t.Errorf("they can be told apart by now:\n%s\n%s", seen[0], seen[1])
	}
}

// TestW13RealSockets: a server closes and resets real connections at every moment. No order is worked on twice,
// and some that never left are repeated.
func TestW13RealSockets(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	for _, test := range []struct {
		name             string
		first, read, rst bool // serve a request before; read the request; reset
		repeated, works  bool // some are repeated, or worked on
	}{
		{"closed at once", false, false, false, true, false},
		{"reset at once", false, false, true, true, false},
		{"closed after the request", false, true, false, false, true},
		{"reset after the request", false, true, true, false, true},
		{"kept, then closed", true, false, false, false, true},
		{"kept, then reset", true, false, true, false, true},
		{"kept, reset after the request", true, true, true, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			worked := make(map[string]int)
			work := func(conn *bufio.Reader) bool {
				req, err := http.ReadRequest(conn)
				if err != nil {
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				worked[req.Header.Get("Order")]++
				io.Copy(io.Discard, req.Body)
				return true
			}
			url := serveRaw(t, func(conn *net.TCPConn) {
				in := bufio.NewReader(conn)
				if test.first && work(in) {
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
				if test.read {
					work(in)
				}
				if test.rst {
					conn.SetLinger(0)
				}
			})
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			cfg := budgetOnly()
			cfg.Defaults.Target.RetryBudget = &policy.BudgetSettings{Ratio: policy.Ptr(1.0)}
			cfg.Defaults.Call.RetryPolicy = &policy.RetrySettings{InitialBackoff: policy.Ptr(time.Millisecond),
				MaxBackoff: policy.Ptr(time.Millisecond)}
			repeats := 0
			for i := range rounds {
				// A new engine each time, so that there is always a re-attempt saved.
				c := clientOf(t, base, cfg, uint64(i+1))
				err := post(t, c, url, func(r *http.Request) { r.Header.Set("Order", fmt.Sprint(i)) })
				if attemptsOf(err) > 1 {
					repeats++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for order, n := range worked {
				if n > 1 {
					t.Errorf("order %s was worked on %d times", order, n)
				}
			}
			t.Logf("%d of %d were worked on, %d repeated", len(worked), rounds, repeats)
			if test.repeated && repeats == 0 && !testing.Short() || test.read && repeats > 0 || len(worked) > 0 != test.works {
				t.Errorf("%d repeats, %d worked on", repeats, len(worked))
			}
		})
	}
}

// serveRaw hands each accepted connection of a loopback port to do, and closes it after.
func serveRaw(t *testing.T, do func(*net.TCPConn)) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(time.Minute))
				do(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "http://" + l.Addr().String()
}
