package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether/breaker"
)

// ailingGRPC is UNAVAILABLE as often as it is told, then it serves.
type ailingGRPC struct{ left, seen int }

func (a *ailingGRPC) invoke(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	if a.seen++; a.left > 0 {
		a.left--
		return status.Error(codes.Unavailable, "broken")
	}
	return nil
}

// inBubble has the contenders and a caller in virtual time.
func inBubble(t *testing.T, test func(*testing.T, *grpcCaller, []grpcContender)) {
	synctest.Test(t, func(t *testing.T) {
		caller, err := newGRPCCaller()
		if err != nil {
			t.Fatal(err)
		}
		defer caller.stop()
		all, err := grpcContenders()
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 4 || all[0].name != "tether" {
			t.Fatalf("%d contenders, want tether first of 4", len(all))
		}
		test(t, caller, all)
	})
}

// TestInterceptorsRetry: what is compared must do what it is there for.
func TestInterceptorsRetry(t *testing.T) {
	inBubble(t, func(t *testing.T, caller *grpcCaller, all []grpcContender) {
		for _, c := range all {
			server := &ailingGRPC{left: 1}
			err := caller.call(c.intercept, server.invoke)
			want, code := 2, codes.OK
			if c.name == "pass-through" {
				want, code = 1, codes.Unavailable
			}
			if server.seen != want || status.Code(err) != code {
				t.Errorf("%s makes %d attempts where the first fails, want %d: %v", c.name, server.seen, want, err)
			}
		}
	})
}

// TestInterceptorsBreakersAreOn: of 100 calls to a server that never recovers, none of which has time to wait.
func TestInterceptorsBreakersAreOn(t *testing.T) {
	inBubble(t, func(t *testing.T, caller *grpcCaller, all []grpcContender) {
		hour := caller.ctx
		for _, c := range all {
			server, refused := &ailingGRPC{left: 1000}, 0
			for range 100 {
				var cancel context.CancelFunc
				caller.ctx, cancel = context.WithTimeout(hour, 100*time.Millisecond)
				err := caller.call(c.intercept, server.invoke)
				cancel()
				if err == nil {
					t.Errorf("%s makes a success of a failure", c.name)
				}
				if errors.Is(err, breaker.ErrOpen) || errors.Is(err, circuitbreaker.ErrOpen) {
					refused++
				}
				time.Sleep(500 * time.Millisecond) // or it would all be pacing's to refuse
			}
			has := c.name == "tether" || c.name == "failsafe-go"
			if opened := refused > 0; opened != has {
				t.Errorf("%s sends %d of 100 failing calls, its breaker refuses %d", c.name, server.seen, refused)
			}
		}
	})
}

// TestInterceptorsDoNoMore: a success takes one attempt.
func TestInterceptorsDoNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T, caller *grpcCaller, all []grpcContender) {
		for _, c := range all {
			server := &ailingGRPC{}
			for range 100 {
				must(caller.call(c.intercept, server.invoke))
			}
			if server.seen != 100 {
				t.Errorf("%s makes %d attempts for 100 good calls", c.name, server.seen)
			}
		}
	})
}
