package tethergrpc

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tether-go/tether"
)

// inMemory is the cheapest invoker there is: what remains is what an interceptor costs.
func inMemory(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

func passThrough(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoker(ctx, method, req, reply, cc, opts...)
}

// idle is a channel that never connects.
func idle(t testing.TB) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///shop.example.com:443", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func caller(t testing.TB, interceptor grpc.UnaryClientInterceptor) func() {
	conn, req, reply := idle(t), &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	return func() {
		if err := interceptor(ctx, checkMethod, req, reply, conn, inMemory); err != nil {
			t.Fatal(err)
		}
	}
}

func ours(t testing.TB, opts Options) func() {
	interceptor, err := UnaryClientInterceptor(newEngine(t, tether.Config{}, tether.Options{}), opts)
	if err != nil {
		t.Fatal(err)
	}
	return caller(t, interceptor)
}

// TestAllocations: everything on, a call has one allocation.
func TestAllocations(t *testing.T) {
	for _, test := range []struct {
		name string
		opts Options
		most float64
	}{
		{"idempotent", idempotent, 1},
		{"not repeatable", Options{}, 2}, // and the watch on whether it left
	} {
		if got := testing.AllocsPerRun(1000, ours(t, test.opts)); got > test.most {
			t.Errorf("%s: %v allocations, more than %v", test.name, got, test.most)
		}
	}
}

func BenchmarkUnary(b *testing.B) {
	run := func(name string, call func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
	run("pass-through", caller(b, passThrough))
	run("tether", ours(b, idempotent))
	run("tether, not repeatable", ours(b, Options{}))
}
