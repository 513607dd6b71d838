package tethergrpc

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/policy"
)

// Calls of one method share what they are. Whatever they ask for, and however they end, none changes what the others
// are, and calls over another channel go to the other server.
func TestCallsShareWhatTheyAre(t *testing.T) {
	engine := newEngine(t, policy.Document{}, tether.Options{})
	e, err := newEdge(engine, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var channels []*grpc.ClientConn
	for _, host := range []string{"a.example.com:443", "b.example.com:443"} {
		conn, err := grpc.NewClient("passthrough:///"+host, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		channels = append(channels, conn)
	}
	const method = "/shop.Stock/Put"
	var before []string
	for _, conn := range channels {
		before = append(before, fmt.Sprintf("%+v", withoutFunc(e.known(conn, method).call)))
	}
	const calls = 400
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range calls {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				if i%5 == 0 {
					ctx = tether.WithCall(ctx, tether.CallOptions{Idempotent: true, NoWait: true})
				}
				if i%100 == 50 {
					ctx = criticality.With(ctx, criticality.Sheddable)
				}
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", fmt.Sprint(worker))
				server := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
					if i%50 == 49 {
						return status.Error(codes.Internal, "ours")
					}
					return nil
				}
				_ = e.unary(ctx, method, nil, nil, channels[i%2], server)
				cancel()
			}
		})
	}
	wg.Wait()
	for i, conn := range channels {
		known := e.known(conn, method).call
		if after := fmt.Sprintf("%+v", withoutFunc(known)); after != before[i] {
			t.Errorf("what calls share is %s, was %s", after, before[i])
		}
	}
	for _, target := range engine.Health().Targets {
		if target.Calls != 4*calls/2 {
			t.Errorf("%s had %d calls, want %d", target.Target, target.Calls, 4*calls/2)
		}
	}
	if n := len(engine.Health().Targets); n != 2 {
		t.Errorf("%d targets, want 2", n)
	}
}

func withoutFunc(c tether.Call) tether.Call {
	c.CredentialFrom = nil
	return c
}

// An interceptor further in that drops the options takes the proof with them: then a call that isn't idempotent is
// not repeated, and one whose stream was never made is where they are kept.
func TestDroppedOptionsProveNothing(t *testing.T) {
	for dropped, want := range map[bool]int{true: 1, false: 2} {
		e, err := newEdge(newEngine(t, policy.Document{}, tether.Options{}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		attempts := 0
		server := func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
			attempts++
			err := status.Error(codes.Unavailable, "no connection")
			for _, o := range opts {
				if o, is := o.(grpc.OnFinishCallOption); is && !dropped {
					o.OnFinish(err) // as grpc-go does without a stream
				}
			}
			return err
		}
		err = e.unary(t.Context(), "/shop.Stock/Put", nil, nil, idle(t), server)
		if attempts != want || status.Code(err) != codes.Unavailable {
			t.Errorf("options dropped: %v: %d attempts, want %d; %v", dropped, attempts, want, err)
		}
	}
}
