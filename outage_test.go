package tether_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
)

// times is how often something is done, or how many clients do it: a tenth, unless TETHER_FLEETS=1 asks for the
// minutes that all of them take, as .ci/run does.
func times(n int) int {
	if os.Getenv("TETHER_FLEETS") != "1" || testing.Short() {
		return n / 10
	}
	return n
}

// TestW09EachAttemptHasItsOwnBody: the server answers before it has read the body, so that the transport
// may still be reading when the repeat begins. The race detector is the judge; the caller's request is
// the same before and after.
func TestW09EachAttemptHasItsOwnBody(t *testing.T) {
	payload := letters(100 << 10) // more than a connection takes at once
	for _, serve := range []func(testing.TB, http.Handler) (*http.Transport, string){memnet.Serve, memnet.ServeH2C} {
		synctest.Test(t, func(t *testing.T) {
			var n, whole atomic.Int32
			base, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1)%2 == 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				if got, err := io.Copy(io.Discard, r.Body); got == int64(len(payload)) && err == nil {
					whole.Add(1)
				}
			}))
			defer base.CloseIdleConnections()
			cfg := budgetOnly()
			cfg.Defaults.Target.RetryBudget = &policy.BudgetSettings{Ratio: policy.Ptr(1.0)}
			c := clientOf(t, base, cfg, 1)
			calls := times(1000)
			for range calls {
				req, _ := http.NewRequest(http.MethodPut, url, strings.NewReader(payload))
				req.Header.Set("Authorization", "Bearer secret")
				body, before := req.Body, req.Clone(req.Context())
				before.Body, before.GetBody = nil, nil
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				after := req.Clone(req.Context())
				after.Body, after.GetBody = nil, nil
				if !reflect.DeepEqual(before, after) || req.Body != body || req.GetBody == nil {
					t.Fatalf("the request was changed:\n%+v\n%+v", before, after)
				}
			}
			time.Sleep(time.Minute) // for connections that the server is closing
			if int(whole.Load()) != calls {
				t.Errorf("%d of %d repeats brought the whole body", whole.Load(), calls)
			}
		})
	}
}

// TestW10NothingPilesUp: ten thousand failures over real sockets leave no descriptor, connection or
// goroutine behind.
func TestW10NothingPilesUp(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("this system doesn't list descriptors")
		}
		return len(entries)
	}
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not now", http.StatusBadGateway)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	cfg := budgetOnly()
	cfg.Defaults.Call.RetryPolicy = &policy.RetrySettings{InitialBackoff: policy.Ptr(time.Millisecond),
		MaxBackoff: policy.Ptr(time.Millisecond)}
	c := clientOf(t, base, cfg, 1)
	get(c, server.URL)
	descriptors, goroutines := open(), runtime.NumGoroutine()
	for range times(10_000) {
		if status, _, err := get(c, server.URL); status != 502 || err != nil {
			t.Fatal(status, err)
		}
	}
	if now := open(); now > descriptors+4 || connections.Load() > 2 {
		t.Errorf("%d descriptors before, %d after; %d connections", descriptors, now, connections.Load())
	}
	if now := runtime.NumGoroutine(); now > goroutines+4 {
		t.Errorf("%d goroutines before, %d after", goroutines, now)
	}
}

// TestW10RepeatsLeaveNothing: the same where each of the failures is repeated, answers have bodies of all
// sizes, and connections break.
func TestW10RepeatsLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n, lost atomic.Int32 // connections that break, or whose answer is too long to be kept
		base, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch i := n.Add(1); {
			case i%2 == 0: // so that there is a re-attempt for the next one
			case i%20 == 7:
				lost.Add(1)
				abort("")(w, r)
			default:
				size := []int{0, 10, 60 << 10, 70 << 10}[i/2%4]
				if size > 64<<10 {
					lost.Add(1)
				}
				w.WriteHeader(http.StatusInternalServerError)
				io.WriteString(w, letters(size))
			}
		}))
		defer base.CloseIdleConnections()
		var open, dialled, most atomic.Int32
		dial := base.DialContext
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			dialled.Add(1)
			most.Store(max(most.Load(), open.Add(1)))
			return &closing{Conn: conn, closed: func() { open.Add(-1) }}, err
		}
		cfg := budgetOnly()
		cfg.Defaults.Target.RetryBudget = &policy.BudgetSettings{Ratio: policy.Ptr(1.0)}
		c := clientOf(t, base, cfg, 1)
		calls := times(2000)
		for range calls {
			if status, _, err := get(c, url); status != 200 || err != nil {
				t.Fatal(status, err)
			}
		}
		if got := n.Load(); int(got) != 2*calls || most.Load() > 3 || dialled.Load() > lost.Load()+1 {
			t.Errorf("%d attempts over %d connections, %d were lost, %d at once", got, dialled.Load(), lost.Load(), most.Load())
		}
	})
}

// closing is a connection that tells when it is closed.
type closing struct {
	net.Conn
	closed func()
}

func (c *closing) Close() error {
	if c.closed != nil {
		c.closed()
		c.closed = nil
	}
	return c.Conn.Close()
}

// TestW11PoolIsLeftAlone: a thousand failures of one host, answers or connections that break, open no new
// connection to another; and answers none to their own.
func TestW11PoolIsLeftAlone(t *testing.T) {
	for name, fail := range map[string]http.HandlerFunc{
		"answers": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) },
		"breaks":  abort(""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := memnet.New()
				good := network.Serve(t, "good.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
				bad := network.Serve(t, "bad.example", fail)
				base := network.Transport()
				defer base.CloseIdleConnections()
				dialled := make(map[string]int)
				base.DialContext = func(ctx context.Context, net_, addr string) (net.Conn, error) {
					dialled[addr]++ // by one call after the other
					return network.DialContext(ctx, net_, addr)
				}
				c := clientOf(t, base, budgetOnly(), 1)
				calls := times(1000)
				for range calls {
					if status, _, err := get(c, bad); err == nil && status != 502 {
						t.Fatal(status)
					}
					if status, _, err := get(c, good); status != 200 || err != nil {
						t.Fatal(status, err)
					}
				}
				if n := dialled["good.example:80"]; n != 1 {
					t.Errorf("%d connections to the good host", n)
				}
				if n := dialled["bad.example:80"]; (n == 1) != (name == "answers") {
					t.Errorf("%d connections to the bad host", n)
				}
			})
		})
	}
}

// TestW34LongLivedContext: calls leave nothing behind in a context that outlives them, served or failed.
func TestW34LongLivedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := roundTrip(func(req *http.Request) (*http.Response, error) {
			if n++; n%2 == 0 {
				return nil, io.EOF
			}
			return answer(req, 200), nil
		})
		cfg := budgetOnly()
		cfg.Defaults.Call.AttemptTimeout = policy.Ptr(time.Second)
		c := clientOf(t, b, cfg, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		live := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		call := func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, api, nil)
			if resp, err := c.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		call()
		before := live()
		for range 5000 {
			call()
		}
		if after := live(); after > before+500<<10 {
			t.Errorf("%d bytes more are in use after 5,000 calls", after-before)
		}
	})
}
