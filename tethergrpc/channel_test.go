package tethergrpc

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

const retrying = `{"methodConfig": [{"name": [{"service": "grpc.health.v1.Health"}], "retryPolicy": {"maxAttempts": 4,
 "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// Two loops never multiply: a channel's own retries are off, or else tether makes one attempt; both
// are said.
func TestChannelsOwnRetries(t *testing.T) {
	for _, test := range []struct {
		name   string
		alone  bool // the interceptor, without DialOptions
		said   bool
		visits int
		note   string
	}{
		{"dial options", false, false, 3, "not in force"},
		{"interceptor alone", true, false, 4, "tether makes one attempt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var notes []string
				opts := twoSaved
				opts.Observe = func(e tether.Event) {
					mu.Lock()
					defer mu.Unlock()
					if e.Kind == tether.EventNote {
						notes = append(notes, e.Note)
					}
				}
				engine := newEngine(t, policy.Document{}, opts)
				b := &backend{check: func(context.Context, int) error { return status.Error(codes.Unavailable, "") }}
				options, err := DialOptions(engine, idempotent)
				if test.alone {
					var interceptor grpc.UnaryClientInterceptor
					interceptor, err = UnaryClientInterceptor(engine, idempotent)
					options = []grpc.DialOption{grpc.WithUnaryInterceptor(interceptor)}
				}
				if err != nil {
					t.Fatal(err)
				}
				c := newClient(b.serve(t).channel(t, append(options, grpc.WithDefaultServiceConfig(retrying))...))
				err = check(within(t, time.Minute), c)
				if status.Code(err) != codes.Unavailable || len(b.visits()) != test.visits {
					t.Errorf("%v, %d visits, want %d", err, len(b.visits()), test.visits)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(notes) != 1 || !strings.Contains(notes[0], test.note) {
					t.Errorf("notes: %q", notes)
				}
			})
		})
	}
}

// Wrapped twice, only the outer one repeats: unary calls and streams.
func TestWrappedTwice(t *testing.T) {
	for _, call := range []func(context.Context, healthpb.HealthClient){
		func(ctx context.Context, c healthpb.HealthClient) { check(ctx, c) },
		func(ctx context.Context, c healthpb.HealthClient) { receive(c.Watch(ctx, nil)) },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{check: func(context.Context, int) error { return unavailable },
				watch: func(int, watchServer) error { return unavailable }}
			var all []grpc.DialOption
			for range 2 {
				options, err := DialOptions(newEngine(t, policy.Document{}, twoSaved), idempotent)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, options...)
			}
			call(within(t, time.Minute), newClient(b.serve(t).channel(t, all...)))
			if n := len(b.visits()); n != 3 {
				t.Errorf("%d visits", n)
			}
		})
	}
}

func TestConstructorsRefuse(t *testing.T) {
	engine := newEngine(t, policy.Document{}, tether.Options{})
	for _, test := range []struct {
		engine *tether.Engine
		opts   Options
		want   string
	}{
		{nil, Options{}, "no engine"},
		{engine, Options{Idempotent: []string{"Get", "/a.B/C"}}, `"Get"`},
		{engine, Options{Idempotent: []string{"/*/"}}, `"/*/"`},
		{engine, Options{Idempotent: []string{"//"}}, `"//"`},
		{engine, Options{Idempotent: []string{checkMethod + "s"}}, "no such method"},
		{engine, Options{ShareWithHTTP: "ftp"}, "ftp"},
		{engine, Options{ServiceConfig: retrying}, "grpc.health.v1.Health"},
		{engine, Options{ServiceConfig: `{"methodConfig": [{"name": [{}], "hedgingPolicy": {}}]}`}, "hedgingPolicy"},
		{engine, Options{ServiceConfig: `{`}, "ServiceConfig"},
	} {
		_, err := DialOptions(test.engine, test.opts)
		_, unaryErr := UnaryClientInterceptor(test.engine, test.opts)
		_, streamErr := StreamClientInterceptor(test.engine, test.opts)
		for _, err := range []error{err, unaryErr, streamErr} {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v: %v, want %q in it", test.opts, err, test.want)
			}
		}
	}
	if _, err := DialOptions(engine, Options{Idempotent: []string{"/not.Linked/In", watchMethod}}); err != nil {
		t.Error(err)
	}
	if _, err := DialOptions(engine, Options{ServiceConfig: `{"loadBalancingConfig": [{"round_robin":{}}]}`}); err != nil {
		t.Error(err)
	}
}
