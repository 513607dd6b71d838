package tethergrpc

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// token is a per-RPC credential.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(t)}, nil
}
func (token) RequireTransportSecurity() bool { return false }

// counter is a stats handler that counts RPCs, as an instrumentation would see them.
type counter struct {
	mu   sync.Mutex // guards what follows
	ends []codes.Code
}

func (c *counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (c *counter) HandleRPC(_ context.Context, s stats.RPCStats) {
	if end, ok := s.(*stats.End); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ends = append(c.ends, status.Code(end.Error))
	}
}
func (c *counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *counter) HandleConn(context.Context, stats.ConnStats)                       {}

// A channel keeps all that grpc-go offers: a real server on loopback, with a resolver of the
// application's own, keepalive, compression, credentials, wait-for-ready, and a stats handler that
// sees each attempt.
func TestOverLoopback(t *testing.T) {
	b := &backend{check: func(ctx context.Context, n int) error {
		if n == 1 {
			return status.Error(codes.Unavailable, "restarting")
		}
		return nil
	}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second}))
	healthpb.RegisterHealthServer(server, b)
	engine := newEngine(t, policy.Document{}, twoSaved)
	options, err := DialOptions(engine, idempotent)
	if err != nil {
		t.Fatal(err)
	}
	own, seen := manual.NewBuilderWithScheme("own"), &counter{}
	own.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: listener.Addr().String()}}})
	conn, err := grpc.NewClient("own:///shop", append(options, grpc.WithResolvers(own), grpc.WithStatsHandler(seen),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(token("secret")),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name), grpc.WaitForReady(true)))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Connect()
	served := make(chan error, 1)
	time.AfterFunc(50*time.Millisecond, func() { served <- server.Serve(listener) })
	var header metadata.MD
	var from peer.Peer
	if err := check(within(t, 10*time.Second), newClient(conn), grpc.Header(&header), grpc.Peer(&from)); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	<-served
	visits := b.visits()
	last := visits[len(visits)-1].md
	if strings.Join(last["authorization"], "") != "secret" || strings.Join(last["grpc-previous-rpc-attempts"], "") != "1" {
		t.Errorf("the server saw %v", last)
	}
	if len(header["content-type"]) == 0 || from.Addr == nil {
		t.Errorf("the caller's options have %v, %v", header, from)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.ends) != 2 || seen.ends[0] != codes.Unavailable || seen.ends[1] != codes.OK {
		t.Errorf("the stats handler saw %v", seen.ends)
	}
	if h := engine.Health().Targets[0].Target; h != "own:shop grpc.health.v1.Health" {
		t.Errorf("the target is %q", h)
	}
}

// gRPC and HTTP share a target's state where that is asked for.
func TestShareWithHTTP(t *testing.T) {
	b := &backend{check: func(context.Context, int) error { return withRetryInfo(codes.Unavailable, time.Minute) }}
	engine := newEngine(t, policy.Document{}, tether.Options{})
	c := b.client(t, engine, Options{ShareWithHTTP: "https"})
	check(within(t, time.Minute), c)
	ctx := tether.WithCall(within(t, time.Minute), tether.CallOptions{NoWait: true})
	_, err := engine.Begin(ctx, tether.Call{Scheme: "https", Host: "shop.example.com", CallOptions: tether.CallOptionsFrom(ctx)})
	if !isRefusal(err) {
		t.Errorf("an HTTP call to a server that is held: %v", err)
	}
}

// An interceptor further in that loses our options proves nothing by that.
func TestLostOptionsProveNothing(t *testing.T) {
	engine := newEngine(t, policy.Document{}, twoSaved)
	interceptor, err := UnaryClientInterceptor(engine, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	err = interceptor(within(t, time.Minute), checkMethod, nil, nil, idle(t),
		func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			sent++
			return status.Error(codes.Unavailable, "")
		})
	if sent != 1 || status.Code(err) != codes.Unavailable {
		t.Errorf("sent %d times: %v", sent, err)
	}
}
