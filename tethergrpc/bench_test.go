package tethergrpc

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
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

// caller makes the same call over and over, from any goroutine.
func caller(t testing.TB, interceptor grpc.UnaryClientInterceptor) func() error {
	conn, req, reply := idle(t), &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	return func() error { return interceptor(ctx, checkMethod, req, reply, conn, inMemory) }
}

func ours(t testing.TB, opts Options) func() error {
	interceptor, err := UnaryClientInterceptor(newEngine(t, policy.Document{}, tether.Options{}), opts)
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
		call := ours(t, test.opts)
		got := testing.AllocsPerRun(1000, func() {
			if err := call(); err != nil {
				t.Error(err)
			}
		})
		if got > test.most {
			t.Errorf("%s: %v allocations, more than %v", test.name, got, test.most)
		}
	}
}

// BenchmarkUnary measures calls that follow one another, after some that are not measured: what an engine
// does once is not what a call costs.
func BenchmarkUnary(b *testing.B) {
	for _, bench := range []struct {
		name string
		call func() error
	}{
		{"pass-through", caller(b, passThrough)},
		{"tether", ours(b, idempotent)},
		{"tether, not repeatable", ours(b, Options{})},
	} {
		b.Run(bench.name, func(b *testing.B) {
			several(b, bench.call, 100)
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bench.name+", two at once", func(b *testing.B) {
			if runtime.GOMAXPROCS(0) < 2 {
				b.Skip("one processor: nothing is at once")
			}
			several(b, bench.call, 100)
			b.ReportAllocs()
			b.ResetTimer()
			var both sync.WaitGroup
			for half := range 2 {
				both.Go(func() { several(b, bench.call, (b.N+half)/2) })
			}
			both.Wait()
		})
	}
}

// several makes calls from any goroutine.
func several(b *testing.B, call func() error, calls int) {
	for range calls {
		if err := call(); err != nil {
			b.Error(err)
			return
		}
	}
}
