package tethergrpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// A channel that its owner has closed teaches nothing, and is not asked again.
func TestClosedChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := newEngine(t, policy.Document{}, twoSaved)
		options, err := DialOptions(engine, idempotent)
		if err != nil {
			t.Fatal(err)
		}
		conn := (&backend{}).serve(t).channel(t, options...)
		conn.Close()
		for range 20 {
			err := check(within(t, time.Minute), newClient(conn))
			if status.Code(err) != codes.Canceled {
				t.Fatal(err)
			}
		}
		if state := engine.Health().Targets[0].Breaker; state != breaker.Closed {
			t.Errorf("the breaker is %v", state)
		}
	})
}

// Who ends the wait of a call decides its code, and errors.Is still finds what it waited for.
func TestEndOfAWait(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func() (context.Context, context.CancelFunc)
		code codes.Code
	}{
		{"cancelled", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, codes.Canceled},
		{"the hold is longer than the deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Second)
		}, codes.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{check: func(context.Context, int) error { return withRetryInfo(codes.Unavailable, 5*time.Second) }}
				c := b.client(t, newEngine(t, policy.Document{}, tether.Options{}), Options{})
				check(within(t, time.Minute), c)
				ctx, cancel := test.end()
				defer cancel()
				if err := check(ctx, c); status.Code(err) != test.code || !errors.Is(err, pacing.ErrHeld) {
					t.Errorf("%v: %v", status.Code(err), err)
				}
			})
		})
	}
}

// The caller's pointers hold what the last attempt brought, and nothing of an earlier one.
func TestNothingStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(ctx context.Context, n int) error {
			grpc.SetTrailer(ctx, metadata.Pairs("attempt", "1"))
			return status.Error(codes.Unavailable, "")
		}}
		n := b.serve(t)
		opts := twoSaved
		opts.Observe = func(e tether.Event) {
			if e.Kind == tether.EventRetry {
				n.setRefuse(errors.New("refused"))
				n.cut()
			}
		}
		options, err := DialOptions(newEngine(t, policy.Document{}, opts), idempotent)
		if err != nil {
			t.Fatal(err)
		}
		var trailer metadata.MD
		err = check(within(t, time.Minute), newClient(n.channel(t, options...)), grpc.Trailer(&trailer))
		if status.Code(err) != codes.Unavailable || len(b.visits()) != 1 || len(trailer) > 0 {
			t.Errorf("%v, %d visits, trailer %v", err, len(b.visits()), trailer)
		}
	})
}
