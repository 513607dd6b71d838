package tethergrpc

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	checkMethod = "/grpc.health.v1.Health/Check"
	watchMethod = "/grpc.health.v1.Health/Watch"
)

// backend is a real gRPC server whose answers a test decides on; nil answers are good.
type backend struct {
	healthpb.UnimplementedHealthServer
	check func(ctx context.Context, n int) error
	watch func(n int, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error

	mu   sync.Mutex // guards what follows
	seen []visit
}

// visit is a call as the server saw it.
type visit struct {
	at       time.Time
	md       metadata.MD
	deadline time.Duration // left; 0: none
}

func (b *backend) visited(ctx context.Context) int {
	v := visit{at: time.Now()}
	v.md, _ = metadata.FromIncomingContext(ctx)
	if d, ok := ctx.Deadline(); ok {
		v.deadline = time.Until(d)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, v)
	return len(b.seen)
}

func (b *backend) visits() []visit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]visit(nil), b.seen...)
}

func (b *backend) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	n := b.visited(ctx)
	if b.check != nil {
		if err := b.check(ctx, n); err != nil {
			return nil, err
		}
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func (b *backend) Watch(_ *healthpb.HealthCheckRequest,
	stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	n := b.visited(stream.Context())
	if b.watch != nil {
		return b.watch(n, stream)
	}
	return stream.Send(&healthpb.HealthCheckResponse{})
}

// network is where a backend listens, in memory.
type network struct {
	listener *bufconn.Listener
	mu       sync.Mutex // guards what follows
	refuse   error      // of new connections
	conns    []net.Conn
}

func (n *network) dial(ctx context.Context, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return nil, n.refuse
	}
	conn, err := n.listener.DialContext(ctx)
	n.conns = append(n.conns, conn)
	return conn, err
}

func (n *network) setRefuse(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = err
}

func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.conns {
		conn.Close()
	}
	n.conns = nil
}

// serve starts the backend for the length of the test, and of its bubble.
func (b *backend) serve(t testing.TB, options ...grpc.ServerOption) *network {
	n := &network{listener: bufconn.Listen(1 << 20)}
	server := grpc.NewServer(options...)
	healthpb.RegisterHealthServer(server, b)
	go server.Serve(n.listener)
	t.Cleanup(server.Stop)
	return n
}

func newEngine(t testing.TB, cfg policy.Document, opts tether.Options) *tether.Engine {
	t.Helper()
	if opts.Seed == 0 {
		opts.Seed = 1
	}
	opts.Policy = cfg
	engine, err := tether.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func (n *network) channel(t testing.TB, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append([]grpc.DialOption{grpc.WithContextDialer(n.dial),
		grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)
	conn, err := grpc.NewClient("passthrough:///shop.example.com:443", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// client is a client of the backend through the engine.
func (b *backend) client(t testing.TB, engine *tether.Engine, opts Options) healthpb.HealthClient {
	t.Helper()
	options, err := DialOptions(engine, opts)
	if err != nil {
		t.Fatal(err)
	}
	return healthpb.NewHealthClient(b.serve(t).channel(t, options...))
}

var idempotent = Options{Idempotent: []string{checkMethod, watchMethod}}

func check(ctx context.Context, c healthpb.HealthClient, opts ...grpc.CallOption) error {
	_, err := c.Check(ctx, &healthpb.HealthCheckRequest{}, opts...)
	return err
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func newClient(conn *grpc.ClientConn) healthpb.HealthClient { return healthpb.NewHealthClient(conn) }
