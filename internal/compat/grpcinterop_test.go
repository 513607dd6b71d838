package compat_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/tethergrpc"
)

// arrivals are the methods that reached a gRPC server, in order.
type arrivals struct {
	mu   sync.Mutex // guards what follows
	seen []string
}

func (a *arrivals) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, info.FullMethodName)
	return ctx
}
func (a *arrivals) HandleRPC(context.Context, stats.RPCStats)                         {}
func (a *arrivals) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (a *arrivals) HandleConn(context.Context, stats.ConnStats)                       {}

// The published cases of gRPC's interoperability that need no special server or account. One that fails ends
// the process, as it does everywhere.
type interopCase = func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)

var (
	interopCases = []interopCase{interop.DoEmptyUnaryCall, interop.DoLargeUnaryCall, interop.DoClientStreaming,
		interop.DoServerStreaming, interop.DoPingPong, interop.DoEmptyStream, interop.DoCancelAfterFirstResponse,
		interop.DoCustomMetadata, interop.DoStatusCodeAndMessage, interop.DoSpecialStatusMessage}
	// Of these it is chance whether they reach the server before their caller gives up.
	interopRaces = []interopCase{interop.DoTimeoutOnSleepingServer, interop.DoCancelAfterBegin}
)

// playInterop runs the cases through a channel with options, and returns what reached the server.
func playInterop(t *testing.T, options ...grpc.DialOption) []string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := &arrivals{}
	server := grpc.NewServer(grpc.StatsHandler(came))
	testpb.RegisterTestServiceServer(server, interop.NewTestServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Stop(); <-served }()
	conn, err := grpc.NewClient(listener.Addr().String(),
		append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := testpb.NewTestServiceClient(conn)
	for _, do := range interopCases {
		do(ctx, client)
	}
	interop.DoUnimplementedMethod(ctx, conn)
	interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(conn))
	came.mu.Lock()
	seen := slices.Clone(came.seen)
	came.mu.Unlock()
	for _, do := range interopRaces {
		do(ctx, client)
	}
	return seen
}

// gRPC's own cases of interoperability pass through the engine, and the server sees the same calls as
// without it, whether they may be repeated or not.
func TestGRPCInterop(t *testing.T) {
	plain := playInterop(t)
	if len(plain) < 12 {
		t.Fatalf("a plain channel made only %q", plain)
	}
	for name, opts := range map[string]tethergrpc.Options{
		"not repeatable": {},
		"repeatable":     {Idempotent: []string{"/grpc.testing.TestService/"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine, err := tether.New(tether.Options{InitialRetries: policy.Ptr(2)})
			if err != nil {
				t.Fatal(err)
			}
			options, err := tethergrpc.DialOptions(engine, opts)
			if err != nil {
				t.Fatal(err)
			}
			if seen := playInterop(t, options...); !slices.Equal(seen, plain) {
				t.Errorf("the server saw\n%q\nand of a plain channel\n%q", seen, plain)
			}
			var calls, refused uint64
			for _, target := range engine.Health().Targets {
				calls += target.Calls
				refused += target.Calls - min(target.Calls, target.Attempts)
			}
			if calls < uint64(len(plain)) || refused > 0 {
				t.Errorf("the engine saw %d calls of %d, and refused %d", calls, len(plain), refused)
			}
		})
	}
}
