package tethergrpc

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
)

// freezing is a connection whose peer vanishes without a word: what is written is lost.
type freezing struct {
	net.Conn
	frozen *atomic.Bool
}

func (f freezing) Write(p []byte) (int, error) {
	if f.frozen.Load() {
		return len(p), nil
	}
	return f.Conn.Write(p)
}

// A peer that vanishes is found by keepalive, and the call goes on over another connection.
func TestKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		n := b.serve(t)
		engine := newEngine(t, policy.Document{}, twoSaved)
		options, err := DialOptions(engine, idempotent)
		if err != nil {
			t.Fatal(err)
		}
		frozen := make([]atomic.Bool, 2) // of each connection
		dialled := 0
		conn := n.channel(t, append(options, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := n.dial(ctx, addr)
			dialled++
			return freezing{conn, &frozen[min(dialled, 2)-1]}, err
		}), grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))...)
		c := newClient(conn)
		if err := check(within(t, time.Minute), c); err != nil {
			t.Fatal(err)
		}
		frozen[0].Store(true)
		began := time.Now()
		if err := check(within(t, time.Minute), c); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 30*time.Second || dialled != 2 {
			t.Errorf("served after %v over %d connections", took, dialled)
		}
		if a := engine.Health().Targets[0].Attempts; a != 3 {
			t.Errorf("%d attempts", a)
		}
	})
}

// A call that waits for ready waits within its attempt: no failure is counted, and no attempt made twice. Its
// deadline ends the wait.
func TestWaitForReady(t *testing.T) {
	for _, test := range []struct {
		name   string
		down   time.Duration
		code   codes.Code
		visits int
	}{
		{"up in time", 3 * time.Second, codes.OK, 1},
		{"never up", time.Hour, codes.DeadlineExceeded, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				n := b.serve(t)
				n.setRefuse(errors.New("refused"))
				time.AfterFunc(test.down, func() { n.setRefuse(nil) })
				engine := newEngine(t, policy.Document{}, twoSaved)
				options, err := DialOptions(engine, idempotent)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = check(within(t, 10*time.Second), newClient(n.channel(t, options...)), grpc.WaitForReady(true))
				if status.Code(err) != test.code || len(b.visits()) != test.visits || time.Since(began) > 10*time.Second {
					t.Errorf("%v after %v, %d visits", err, time.Since(began), len(b.visits()))
				}
				if h := engine.Health().Targets[0]; h.Attempts != 1 {
					t.Errorf("%d attempts", h.Attempts)
				}
			})
		})
	}
}

// tokens are per-RPC credentials that give another token each time, or fail.
type tokens struct {
	mu   sync.Mutex // guards what follows
	n    int
	fail error
}

func (c *tokens) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return map[string]string{"authorization": string(rune('a' + c.n - 1))}, c.fail
}
func (*tokens) RequireTransportSecurity() bool { return false }

// Each attempt has credentials of its own making, so that a repeat's are fresh; those that fail are this
// process's trouble, and teach nothing about the server.
func TestCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(_ context.Context, n int) error {
			if n == 1 {
				return unavailable
			}
			return nil
		}}
		engine := newEngine(t, policy.Document{}, twoSaved)
		c := b.client(t, engine, idempotent)
		own := &tokens{}
		if err := check(within(t, time.Minute), c, grpc.PerRPCCredentials(own)); err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, v := range b.visits() {
			told = append(told, v.md["authorization"]...)
		}
		if !slices.Equal(told, []string{"a", "b"}) {
			t.Errorf("the server was told %q", told)
		}
		own.fail = errors.New("no token")
		for range 20 {
			if err := check(within(t, time.Minute), c, grpc.PerRPCCredentials(own)); status.Code(err) != codes.Internal {
				t.Fatal(err)
			}
		}
		if h := engine.Health().Targets[0]; h.Breaker != breaker.Closed || len(b.visits()) != 2 || own.n != 22 {
			t.Errorf("the breaker is %v after %d visits and %d tokens", h.Breaker, len(b.visits()), own.n)
		}
	})
}

// encodings are how calls came to a server.
type encodings struct {
	counter
	seen []string
}

func (e *encodings) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InHeader); ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.seen = append(e.seen, in.Compression)
	}
}

// A compressor is the call's on each attempt; one that nobody has is this process's mistake.
func TestCompressors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(_ context.Context, n int) error {
			if n == 1 {
				return unavailable
			}
			return nil
		}}
		engine, came := newEngine(t, policy.Document{}, twoSaved), &encodings{}
		options, err := DialOptions(engine, idempotent)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(b.serve(t, grpc.StatsHandler(came)).channel(t, options...))
		if err := check(within(t, time.Minute), c, grpc.UseCompressor(gzip.Name)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		came.mu.Lock()
		seen := slices.Clone(came.seen)
		came.mu.Unlock()
		if !slices.Equal(seen, []string{"gzip", "gzip"}) {
			t.Errorf("the attempts came as %q", seen)
		}
		for range 20 {
			if err := check(within(t, time.Minute), c, grpc.UseCompressor("none-such")); status.Code(err) != codes.Internal {
				t.Fatal(err)
			}
		}
		if h := engine.Health().Targets[0]; h.Breaker != breaker.Closed || len(b.visits()) != 2 {
			t.Errorf("the breaker is %v after %d visits", h.Breaker, len(b.visits()))
		}
	})
}

// A resolver may send the calls elsewhere between two attempts: the repeat goes to the new server, and what is
// learnt stays with the name.
func TestResolverMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := &backend{check: func(context.Context, int) error { return unavailable }}
		fresh := &backend{}
		networks := map[string]*network{"old": old.serve(t), "new": fresh.serve(t)}
		own := manual.NewBuilderWithScheme("own")
		at := func(addr string) resolver.State {
			return resolver.State{Addresses: []resolver.Address{{Addr: addr}}}
		}
		own.InitialState(at("old"))
		opts := twoSaved
		opts.Observe = func(e tether.Event) {
			if e.Kind == tether.EventRetry {
				own.UpdateState(at("new"))
			}
		}
		engine := newEngine(t, policy.Document{}, opts)
		options, err := DialOptions(engine, idempotent)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient("own:///shop", append(options, grpc.WithResolvers(own),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				return networks[addr].dial(ctx, addr)
			}))...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := check(within(t, time.Minute), newClient(conn)); err != nil {
			t.Error(err)
		}
		if targets := engine.Health().Targets; len(old.visits()) != 1 || len(fresh.visits()) != 1 || len(targets) != 1 {
			t.Errorf("%d visits to the old server, %d to the new one, %d targets",
				len(old.visits()), len(fresh.visits()), len(targets))
		}
	})
}

// A name that can't be resolved is this machine's trouble, but grpc-go says it as it says that a server can't be
// reached, and only the text differs. So the breaker opens and calls are paced; they come back within seconds.
// When this fails, the documentation can promise more.
func TestUnresolvedNamesLookLikeAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		n := b.serve(t)
		own := manual.NewBuilderWithScheme("own")
		own.BuildCallback = func(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) {
			cc.ReportError(errors.New("no such host"))
		}
		engine := newEngine(t, policy.Document{}, twoSaved)
		options, err := DialOptions(engine, idempotent)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient("own:///shop", append(options, grpc.WithResolvers(own),
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(n.dial))...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := newClient(conn)
		for range 10 {
			if err := check(within(t, time.Minute), c); status.Code(err) != codes.Unavailable {
				t.Fatal(err)
			}
		}
		if state := engine.Health().Targets[0].Breaker; state == breaker.Closed {
			t.Error("the breaker stayed closed")
		}
		own.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: "shop"}}})
		began := time.Now()
		if err := check(within(t, time.Minute), c); err != nil || time.Since(began) > 10*time.Second {
			t.Errorf("%v, %v after the name was back", err, time.Since(began))
		}
	})
}
