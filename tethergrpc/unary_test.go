package tethergrpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/retry"
)

var twoSaved = tether.Options{InitialRetries: policy.Ptr(2)}

func withRetryInfo(code codes.Code, wait time.Duration) error {
	st, err := status.New(code, "not now").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	if err != nil {
		return err
	}
	return st.Err()
}

func TestUnaryRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(ctx context.Context, n int) error {
			grpc.SetTrailer(ctx, metadata.Pairs("attempt", fmt.Sprint(n)))
			if n < 3 {
				return status.Error(codes.Unavailable, "restarting")
			}
			return nil
		}}
		c := b.client(t, newEngine(t, policy.Document{}, twoSaved), idempotent)
		var trailer metadata.MD
		ctx := metadata.AppendToOutgoingContext(within(t, time.Minute), "caller", "kept")
		if err := check(ctx, c, grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, v := range b.visits() {
			told = append(told, strings.Join(v.md["grpc-previous-rpc-attempts"], ","))
			if !slices.Equal(v.md["caller"], []string{"kept"}) {
				t.Errorf("the caller's metadata is %v", v.md["caller"])
			}
		}
		if !slices.Equal(told, []string{"", "1", "2"}) {
			t.Errorf("grpc-previous-rpc-attempts: %q", told)
		}
		if !slices.Equal(trailer["attempt"], []string{"3"}) {
			t.Errorf("the caller's trailer is %v", trailer)
		}
	})
}

// What isn't known to be repeatable is sent once, and the server's last word reaches the caller.
func TestUnaryKeepsTheLastStatus(t *testing.T) {
	answer := withRetryInfo(codes.Unavailable, 0)
	for _, test := range []struct {
		name   string
		opts   Options
		call   tether.CallOptions
		visits int
		reason error
	}{
		{"not repeatable", Options{}, tether.CallOptions{}, 1, retry.ErrUnsafe},
		{"by the list", idempotent, tether.CallOptions{}, 3, retry.ErrAttempts},
		{"a whole service", Options{Idempotent: []string{"/grpc.health.v1.Health/"}}, tether.CallOptions{}, 3, retry.ErrAttempts},
		{"by the call", Options{}, tether.CallOptions{Idempotent: true}, 3, retry.ErrAttempts},
		{"another method", Options{Idempotent: []string{watchMethod}}, tether.CallOptions{}, 1, retry.ErrUnsafe},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{check: func(context.Context, int) error { return answer }}
				c := b.client(t, newEngine(t, policy.Document{}, twoSaved), test.opts)
				err := check(tether.WithCall(within(t, time.Minute), test.call), c)
				st, ok := status.FromError(err)
				if !ok || st.Code() != codes.Unavailable || len(st.Details()) != 1 {
					t.Errorf("the error has the status %v (%v)", st, ok)
				}
				if !errors.Is(err, test.reason) {
					t.Errorf("%v, want the reason %v", err, test.reason)
				}
				if n := len(b.visits()); n != test.visits {
					t.Errorf("%d visits, want %d", n, test.visits)
				}
				story, ok := tether.Explain(nil, err)
				if !ok || len(story.Attempts) != test.visits || story.Attempts[0].Code.String() != "UNAVAILABLE" {
					t.Errorf("the story is %q", story)
				}
			})
		})
	}
}

// A pushback that is no delay forbids the repeat; one that is holds all calls to the target (law 2).
func TestUnaryPushback(t *testing.T) {
	for _, pushback := range [][]string{{"-1"}, {"soon"}, {"1", "2"}, {"99999999999"}} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{check: func(ctx context.Context, n int) error {
				grpc.SetTrailer(ctx, metadata.MD{"grpc-retry-pushback-ms": pushback})
				return status.Error(codes.Unavailable, "no")
			}}
			c := b.client(t, newEngine(t, policy.Document{}, twoSaved), idempotent)
			if err := check(within(t, time.Minute), c); !errors.Is(err, retry.ErrForbidden) {
				t.Errorf("%q: %v", pushback, err)
			}
			if n := len(b.visits()); n != 1 {
				t.Errorf("%q: %d visits", pushback, n)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(ctx context.Context, n int) error {
			if n > 1 {
				return nil
			}
			grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "4000"))
			return status.Error(codes.Unavailable, "no")
		}}
		c := b.client(t, newEngine(t, policy.Document{}, tether.Options{}), Options{})
		check(within(t, time.Minute), c)
		if err := check(within(t, time.Minute), c); err != nil {
			t.Fatal(err)
		}
		if v := b.visits(); v[1].at.Sub(v[0].at) < 4*time.Second {
			t.Errorf("another call came after %v", v[1].at.Sub(v[0].at))
		}
	})
}

// RESOURCE_EXHAUSTED covers the credential, and is repeated only where it names a wait.
func TestUnaryResourceExhausted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(ctx context.Context, n int) error {
			if n == 1 {
				return withRetryInfo(codes.ResourceExhausted, 5*time.Second)
			}
			return nil
		}}
		c := b.client(t, newEngine(t, policy.Document{}, tether.Options{}), idempotent)
		as := func(who string) context.Context {
			return metadata.AppendToOutgoingContext(within(t, time.Minute), "authorization", who)
		}
		done := make(chan error)
		go func() { done <- check(as("a"), c) }()
		synctest.Wait()
		if err := check(as("b"), c); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		v := b.visits()
		if other, again := v[1].at.Sub(v[0].at), v[2].at.Sub(v[0].at); other > time.Second || again < 5*time.Second {
			t.Errorf("another credential came after %v, the repeat after %v", other, again)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(context.Context, int) error { return status.Error(codes.ResourceExhausted, "quota") }}
		c := b.client(t, newEngine(t, policy.Document{}, twoSaved), idempotent)
		if err := check(within(t, time.Minute), c); status.Code(err) != codes.ResourceExhausted {
			t.Error(err)
		}
		if n := len(b.visits()); n != 1 {
			t.Errorf("%d visits without a wait being named", n)
		}
	})
}

func TestRefusalsHaveAStatus(t *testing.T) {
	killed := policy.Document{}
	killed.Kill = []policy.Kill{{Name: "off", Match: policy.Match{GRPCMethod: checkMethod}, Until: time.Now().Add(time.Hour),
		Reason: "maintenance"}}
	limited := policy.Document{}
	limited.Defaults.Target.RateLimit = &policy.RateSettings{PerSecond: policy.Ptr(0.01), Burst: policy.Ptr(1)}
	for _, test := range []struct {
		name  string
		cfg   policy.Document
		code  codes.Code
		cause error
	}{
		{"kill", killed, codes.Unavailable, tether.ErrKilled},
		{"rate limit", limited, codes.ResourceExhausted, ratelimit.ErrLimited},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &backend{}
			c := b.client(t, newEngine(t, test.cfg, tether.Options{}), Options{})
			ctx := tether.WithCall(within(t, time.Second), tether.CallOptions{NoWait: true})
			if test.code == codes.ResourceExhausted {
				check(ctx, c)
			}
			before := len(b.visits())
			err := check(ctx, c)
			st, ok := status.FromError(err)
			var refused *tether.RejectedError
			if !ok || st.Code() != test.code || !errors.As(err, &refused) || !errors.Is(err, test.cause) {
				t.Fatalf("%v (%v)", err, ok)
			}
			if details := st.Details(); len(details) != 1 || details[0].(*errdetails.RetryInfo).RetryDelay.AsDuration() < 30*time.Second {
				t.Errorf("the details are %v", details)
			}
			if len(b.visits()) != before {
				t.Error("it was sent")
			}
		})
	}
}

// Rules find gRPC calls by host, method and path.
func TestRules(t *testing.T) {
	for _, match := range []policy.Match{{Host: "shop.example.com"}, {Host: "*.example.com"}, {GRPCMethod: checkMethod},
		{GRPCMethod: "/grpc.health.v1.Health/"}, {Path: "/grpc.health.v1.Health"}} {
		synctest.Test(t, func(t *testing.T) {
			cfg := policy.Document{Rules: []policy.Rule{{Name: "once", Match: match}}}
			cfg.Rules[0].Call.RetryPolicy = &policy.RetrySettings{MaxAttempts: policy.Ptr(1)}
			b := &backend{check: func(context.Context, int) error { return unavailable }}
			check(within(t, time.Minute), b.client(t, newEngine(t, cfg, twoSaved), idempotent))
			if n := len(b.visits()); n != 1 {
				t.Errorf("%+v: %d visits", match, n)
			}
		})
	}
}

// An attempt that the policy ends is repeated, the server is told its deadline, and the error of
// the last one is DEADLINE_EXCEEDED.
func TestAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(ctx context.Context, n int) error {
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		}}
		cfg := policy.Document{}
		cfg.Defaults.Call.AttemptTimeout = policy.Ptr(2 * time.Second)
		c := b.client(t, newEngine(t, cfg, twoSaved), idempotent)
		err := check(within(t, time.Minute), c)
		if status.Code(err) != codes.DeadlineExceeded || !errors.Is(err, retry.ErrAttempts) {
			t.Error(err)
		}
		for _, v := range b.visits() {
			if v.deadline <= 0 || v.deadline > 2*time.Second {
				t.Errorf("the server was told a deadline of %v", v.deadline)
			}
		}
		if n := len(b.visits()); n != 3 {
			t.Errorf("%d visits", n)
		}
	})
}

// What the caller does, or this process, says nothing about the server; what the server does, does.
func TestWhatOpensTheBreaker(t *testing.T) {
	for _, test := range []struct {
		name  string
		opens bool
		call  func(*testing.T, *backend, func(context.Context, ...grpc.CallOption) error)
	}{
		{"the caller cancels", false, func(t *testing.T, b *backend, check func(context.Context, ...grpc.CallOption) error) {
			ctx, cancel := context.WithCancel(context.Background())
			b.check = func(ctx context.Context, n int) error { cancel(); <-ctx.Done(); return ctx.Err() }
			if err := check(ctx); status.Code(err) != codes.Canceled {
				t.Fatal(err)
			}
		}},
		{"a message too large to send", false, func(t *testing.T, b *backend, check func(context.Context, ...grpc.CallOption) error) {
			if err := check(context.Background(), grpc.MaxCallSendMsgSize(-1)); status.Code(err) != codes.ResourceExhausted {
				t.Fatal(err)
			}
		}},
		{"not found", false, func(t *testing.T, b *backend, check func(context.Context, ...grpc.CallOption) error) {
			b.check = func(context.Context, int) error { return status.Error(codes.NotFound, "") }
			check(context.Background())
		}},
		{"overload", false, func(t *testing.T, b *backend, check func(context.Context, ...grpc.CallOption) error) {
			b.check = func(context.Context, int) error { return status.Error(codes.Unavailable, "") }
			check(context.Background())
		}},
		{"the server cancels", true, func(t *testing.T, b *backend, check func(context.Context, ...grpc.CallOption) error) {
			b.check = func(context.Context, int) error { return status.Error(codes.Canceled, "") }
			check(context.Background())
		}},
		{"internal errors", true, func(t *testing.T, b *backend, check func(context.Context, ...grpc.CallOption) error) {
			b.check = func(context.Context, int) error { return status.Error(codes.Internal, "") }
			check(context.Background())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				engine := newEngine(t, policy.Document{}, tether.Options{})
				c := b.client(t, engine, Options{})
				opened := false
				for range 40 {
					test.call(t, b, func(ctx context.Context, opts ...grpc.CallOption) error {
						_, err := c.Check(ctx, nil, opts...)
						return err
					})
					opened = opened || engine.Health().Targets[0].Breaker != breaker.Closed
					if opened {
						break
					}
				}
				if opened != test.opens {
					t.Errorf("the breaker opened: %v", opened)
				}
			})
		})
	}
}

// Nothing left where no connection could be made: also what isn't repeatable is then repeated. A
// connection that breaks proves nothing.
func TestWhatNeverLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		n := b.serve(t)
		n.setRefuse(errors.New("refused"))
		options, err := DialOptions(newEngine(t, policy.Document{}, twoSaved), Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(n.channel(t, options...))
		err = check(within(t, time.Minute), c)
		story, _ := tether.Explain(nil, err)
		if status.Code(err) != codes.Unavailable || len(story.Attempts) != 3 || story.Attempts[2].Sent != tether.NotSent {
			t.Errorf("%v: %v", err, story)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		n := b.serve(t)
		b.check = func(context.Context, int) error { n.cut(); return nil }
		options, err := DialOptions(newEngine(t, policy.Document{}, twoSaved), Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(n.channel(t, options...))
		err = check(within(t, time.Minute), c)
		if status.Code(err) != codes.Unavailable || !errors.Is(err, retry.ErrUnsafe) || len(b.visits()) != 1 {
			t.Errorf("%v, %d visits", err, len(b.visits()))
		}
	})
}
