package main

import (
	"context"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	grpcretry "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/retry"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/tethergrpc"
)

// grpcContender is an interceptor with its retries, and its breaker if it has one, switched on.
type grpcContender struct {
	name      string
	intercept grpc.UnaryClientInterceptor
}

// passThrough is what any interceptor costs: the figures of the others have it in them.
func passThrough(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoker(ctx, method, req, reply, cc, opts...)
}

// grpcContenders make up to three attempts. What else is alike is set so; the rest is as each has it by
// default.
func grpcContenders() ([]grpcContender, error) {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		return nil, err
	}
	ours, err := tethergrpc.UnaryClientInterceptor(engine, tethergrpc.Options{
		Idempotent: []string{healthpb.Health_Check_FullMethodName}, ChannelRetriesOff: true})
	if err != nil {
		return nil, err
	}

	// Of any: a channel's methods have many types of response.
	retries := failsafegrpc.NewRetryPolicyBuilder[any]().
		WithBackoff(250*time.Millisecond, 5*time.Second).WithJitterFactor(0.5).Build()
	brk := circuitbreaker.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return status.Code(err) == codes.Unavailable }).
		WithFailureRateThreshold(0.5, 20, 30*time.Second).WithDelay(time.Second).WithSuccessThreshold(1).Build()

	return []grpcContender{
		{"tether", ours},
		{"pass-through", passThrough},
		{"failsafe-go", failsafegrpc.NewUnaryClientInterceptor(retries, brk)},
		{"go-grpc-middleware", grpcretry.UnaryClientInterceptor(
			grpcretry.WithMax(3), // all attempts together
			grpcretry.WithBackoff(grpcretry.BackoffExponentialWithJitterBounded(250*time.Millisecond, 0.5, 5*time.Second)),
		)},
	}, nil
}

// grpcCaller makes the same call over and over, on a channel that never connects.
type grpcCaller struct {
	ctx    context.Context
	cancel context.CancelFunc
	conn   *grpc.ClientConn
	req    healthpb.HealthCheckRequest
	reply  healthpb.HealthCheckResponse
}

// newGRPCCaller has a deadline, as calls should, and one so far away that all calls can share it.
func newGRPCCaller() (*grpcCaller, error) {
	conn, err := grpc.NewClient("passthrough:///shop.example.com:443", grpc.WithDisableRetry(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	c := &grpcCaller{conn: conn}
	c.ctx, c.cancel = context.WithTimeout(context.Background(), time.Hour)
	return c, nil
}

func (c *grpcCaller) stop() {
	c.cancel()
	_ = c.conn.Close()
}

func (c *grpcCaller) call(intercept grpc.UnaryClientInterceptor, invoker grpc.UnaryInvoker) error {
	return intercept(c.ctx, healthpb.Health_Check_FullMethodName, &c.req, &c.reply, c.conn, invoker)
}

// atOnce is the cheapest invoker there is: what remains is what an interceptor costs.
func atOnce(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

// pause is longer than calls that follow one another ever are apart: what was put off while they did is due.
const pause = 12 * time.Millisecond

// grpcTable has calls that follow one another, and calls that come alone: a client may put work off, and
// would otherwise be measured without it. Asleep, the processor's caches grow cold, which hides what is done
// behind how much memory is touched; awake they stay warm. Each row has contenders of its own, because they
// learn the rate.
func grpcTable() (t table, stop func(), err error) {
	caller, err := newGRPCCaller()
	if err != nil {
		return table{}, nil, err
	}
	t.title = "A successful unary gRPC call, over a pass-through interceptor"
	for _, q := range []struct {
		name string
		// before is done before each call that is measured, if calls are measured one by one.
		before func(once func())
	}{
		{"one after the other", nil},
		{"each after a pause", func(func()) { time.Sleep(pause) }},
		{"1,000 calls, a pause awake, then one", func(once func()) {
			for range 1000 {
				once()
			}
			for began := time.Now(); time.Since(began) < pause; {
			}
		}},
	} {
		contenders, err := grpcContenders()
		if err != nil {
			caller.stop()
			return table{}, nil, err
		}
		r := row{name: q.name}
		for _, c := range contenders {
			e := entry{who: c.name, once: func() { must(caller.call(c.intercept, atOnce)) }}
			if q.before != nil {
				e.before = func() { q.before(e.once) }
			}
			r.entries = append(r.entries, e)
		}
		t.rows = append(t.rows, r)
	}
	return t, caller.stop, nil
}
