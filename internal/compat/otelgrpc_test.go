package compat_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/tethergrpc"
)

// checked is a health server that is unavailable once, and keeps what it was told.
type checked struct {
	healthpb.UnimplementedHealthServer
	mu   sync.Mutex // guards what follows
	told []metadata.MD
}

func (c *checked) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told = append(c.told, md); len(c.told) == 1 {
		return nil, grpcstatus.Error(codes.Unavailable, "restarting")
	}
	return &healthpb.HealthCheckResponse{}, nil
}

// outsideSpan is an interceptor outside of tether's, with a span for the whole call: what an
// instrumentation by interceptor makes. otelgrpc is a stats handler, which is inside whatever the order.
func outsideSpan(provider *sdktrace.TracerProvider) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker,
		opts ...grpc.CallOption) error {
		ctx, span := provider.Tracer("test").Start(ctx, "call")
		defer span.End()
		return invoker(ctx, method, req, reply, cc, opts...)
	}
}

// Each attempt has a span and a measurement of otelgrpc's, the server is told of its own attempt's span, and
// an instrumentation outside has one span for the call, which is their parent.
func TestOTelGRPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder, reader := tracetest.NewSpanRecorder(), metric.NewManualReader()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		listener, service := bufconn.Listen(1<<16), &checked{}
		server := grpc.NewServer()
		healthpb.RegisterHealthServer(server, service)
		go server.Serve(listener)
		defer server.Stop()
		options, err := tethergrpc.DialOptions(engine(t, tether.Options{}),
			tethergrpc.Options{Idempotent: []string{healthpb.Health_Check_FullMethodName}})
		if err != nil {
			t.Fatal(err)
		}
		options = append([]grpc.DialOption{grpc.WithUnaryInterceptor(outsideSpan(provider)),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(provider),
				otelgrpc.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))),
				otelgrpc.WithPropagators(propagation.TraceContext{})))}, options...)
		conn, err := grpc.NewClient("passthrough:///shop.example.com:443", options...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
		spans := recorder.Ended()
		if len(spans) != 3 {
			t.Fatalf("%d spans, want one for each of two attempts and the call's", len(spans))
		}
		call := spans[2].SpanContext().SpanID()
		service.mu.Lock()
		defer service.mu.Unlock()
		for i, told := range service.told {
			if spans[i].Parent().SpanID() != call {
				t.Errorf("the span of attempt %d isn't the call's child", i+1)
			}
			if id := strings.Split(strings.Join(told["traceparent"], ""), "-"); len(id) != 4 ||
				id[2] != spans[i].SpanContext().SpanID().String() {
				t.Errorf("attempt %d told the server of span %q", i+1, id)
			}
		}
		measured := 0
		for _, point := range collect(t, reader) {
			if strings.HasPrefix(point, "rpc.client") && strings.Contains(point, "duration") {
				measured++ // one for each code
			}
		}
		if measured != 2 {
			t.Errorf("%d codes measured: %v", measured, collect(t, reader))
		}
	})
}
