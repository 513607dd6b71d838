package tethergrpc

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

type watchServer = grpc.ServerStreamingServer[healthpb.HealthCheckResponse]

var unavailable = status.Error(codes.Unavailable, "restarting")

// receive reads a stream to its end.
func receive(stream grpc.ServerStreamingClient[healthpb.HealthCheckResponse], err error) (int, error) {
	if err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		if _, err := stream.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
	}
}

// A stream of answers is made again only while nothing of an answer has come.
func TestStreamRepeats(t *testing.T) {
	failing := func(before func(watchServer)) func(int, watchServer) error {
		return func(n int, s watchServer) error {
			if n < 3 {
				before(s)
				return unavailable
			}
			return s.Send(&healthpb.HealthCheckResponse{})
		}
	}
	nothing := func(watchServer) {}
	for _, test := range []struct {
		name   string
		opts   Options
		watch  func(int, watchServer) error
		visits int
		reason error // nil: it ends well
	}{
		{"nothing came", idempotent, failing(nothing), 3, nil},
		{"not repeatable", Options{}, failing(nothing), 1, retry.ErrUnsafe},
		{"a header came", idempotent, failing(func(s watchServer) { s.SendHeader(metadata.Pairs("a", "b")) }), 1, unavailable},
		{"a message came", idempotent, failing(func(s watchServer) { s.Send(&healthpb.HealthCheckResponse{}) }), 1, unavailable},
		{"forbidden", idempotent, failing(func(s watchServer) { s.SetTrailer(metadata.Pairs(pushbackKey, "-1")) }), 1,
			retry.ErrForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{watch: test.watch}
				c := b.client(t, newEngine(t, policy.Document{}, twoSaved), test.opts)
				_, err := receive(c.Watch(within(t, time.Minute), &healthpb.HealthCheckRequest{}))
				if !errors.Is(err, test.reason) || test.reason != nil && status.Code(err) != codes.Unavailable {
					t.Errorf("%v, want %v", err, test.reason)
				}
				visits := b.visits()
				if len(visits) != test.visits {
					t.Errorf("%d visits, want %d", len(visits), test.visits)
				}
				if told := visits[len(visits)-1].md["grpc-previous-rpc-attempts"]; (len(told) > 0) != (test.visits > 1) {
					t.Errorf("grpc-previous-rpc-attempts: %q", told)
				}
			})
		})
	}
}

// Who has asked for the header has seen this stream, and isn't given another.
func TestStreamHeaderCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{watch: func(n int, s watchServer) error { return unavailable }}
		c := b.client(t, newEngine(t, policy.Document{}, twoSaved), idempotent)
		stream, err := c.Watch(within(t, time.Minute), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if md, err := stream.Header(); len(md) > 0 || err != nil {
			t.Errorf("%v, %v", md, err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || len(b.visits()) != 1 {
			t.Errorf("%v, %d visits", err, len(b.visits()))
		}
	})
}

// Nor is who waits for the header while another goroutine receives.
func TestStreamHeaderBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := make(chan struct{})
		b := &backend{watch: func(n int, s watchServer) error { <-fail; return unavailable }}
		c := b.client(t, newEngine(t, policy.Document{}, twoSaved), idempotent)
		stream, err := c.Watch(within(t, time.Minute), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		headed := make(chan struct{})
		go func() { stream.Header(); close(headed) }()
		time.AfterFunc(time.Second, func() { close(fail) })
		synctest.Wait()
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || len(b.visits()) != 1 {
			t.Errorf("%v, %d visits", err, len(b.visits()))
		}
		<-headed
	})
}

// A stream settles with its header or first message, holds its place until it ends, whoever ends
// it, and one that its caller gives up teaches nothing.
func TestStreamPlace(t *testing.T) {
	cfg := policy.Document{}
	cfg.Defaults.Target.Concurrency = &policy.ConcurrencySettings{Max: policy.Ptr(1)}
	for _, test := range []struct {
		name string
		see  bool // a message, before it is given up
		end  func(cancel func(), b chan struct{})
	}{
		{"the server ends it", true, func(_ func(), done chan struct{}) { close(done) }},
		{"the caller ends it", true, func(cancel func(), _ chan struct{}) { cancel() }},
		{"given up before anything came", false, func(cancel func(), _ chan struct{}) { cancel() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan struct{})
				b := &backend{watch: func(n int, s watchServer) error {
					s.Send(&healthpb.HealthCheckResponse{})
					select {
					case <-done:
					case <-s.Context().Done():
					}
					return nil
				}}
				engine := newEngine(t, cfg, tether.Options{})
				c := b.client(t, engine, Options{})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				stream, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
				if err != nil {
					t.Fatal(err)
				}
				if test.see {
					if _, err := stream.Recv(); err != nil {
						t.Fatal(err)
					}
				}
				busy := tether.WithCall(within(t, time.Minute), tether.CallOptions{NoWait: true})
				if err := check(busy, c); status.Code(err) != codes.ResourceExhausted {
					t.Errorf("beside the stream: %v", err)
				}
				test.end(cancel, done)
				if test.see {
					stream.Recv()
				}
				synctest.Wait()
				if err := check(busy, c); err != nil {
					t.Errorf("after the stream: %v", err)
				}
			})
		})
	}
}

// A silent target opens the breaker for streams too, and their callers' own end doesn't.
func TestStreamsTeach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{watch: func(n int, s watchServer) error { <-s.Context().Done(); return nil }}
		n := b.serve(t)
		engine := newEngine(t, policy.Document{}, tether.Options{})
		options, err := DialOptions(engine, Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(n.channel(t, options...))
		state := func() breaker.State { return engine.Health().Targets[0].Breaker }
		for range 20 {
			ctx, cancel := context.WithCancel(context.Background())
			stream, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			stream.Recv()
		}
		if state() != breaker.Closed {
			t.Fatalf("callers' cancels made it %v", state())
		}
		for range 20 {
			stream, err := c.Watch(within(t, time.Minute), &healthpb.HealthCheckRequest{})
			if err == nil {
				synctest.Wait()
				n.cut()
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.Unavailable {
				t.Fatal(err)
			}
			if state() != breaker.Closed {
				return
			}
		}
		t.Error("20 broken connections in a row leave it closed")
	})
}

// Where no connection can be made nothing left, and any stream is asked for again.
func TestStreamNeverLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := (&backend{}).serve(t)
		n.setRefuse(errors.New("refused"))
		options, err := DialOptions(newEngine(t, policy.Document{}, twoSaved), Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = newClient(n.channel(t, options...)).Watch(within(t, time.Minute), &healthpb.HealthCheckRequest{})
		story, _ := tether.Explain(nil, err)
		if status.Code(err) != codes.Unavailable || len(story.Attempts) != 3 || story.Attempts[2].Sent != tether.NotSent {
			t.Errorf("%v: %v", err, story)
		}
	})
}

// Streams that go well earn what a failed one is repeated by.
func TestStreamsEarn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{watch: func(n int, s watchServer) error {
			if n == 21 {
				return unavailable
			}
			return s.Send(&healthpb.HealthCheckResponse{})
		}}
		c := b.client(t, newEngine(t, policy.Document{}, tether.Options{InitialRetries: policy.Ptr(0)}), idempotent)
		for range 21 {
			if _, err := receive(c.Watch(within(t, time.Minute), &healthpb.HealthCheckRequest{})); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(b.visits()); n != 22 {
			t.Errorf("%d visits", n)
		}
	})
}
