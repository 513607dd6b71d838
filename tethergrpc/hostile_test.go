package tethergrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// oneAtOnce admits one call, so that what a call leaves behind shows in the next.
func oneAtOnce() policy.Document {
	cfg := policy.Document{}
	cfg.Defaults.Target.Concurrency = &policy.ConcurrencySettings{Max: policy.Ptr(1)}
	return cfg
}

// panicking is a codec that can't read answers.
type panicking struct{ encoding.CodecV2 }

func (panicking) Unmarshal(mem.BufferSlice, any) error { panic("codec") }

// streams hands out streams as an interceptor further in would.
type streams func(grpc.ClientStream) grpc.ClientStream

func (s streams) intercept(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return s(stream), nil
}

// grumpy refuses every message, and leaves the stream as it is.
type grumpy struct{ grpc.ClientStream }

func (g grumpy) RecvMsg(any) error { return status.Error(codes.Unavailable, "not today") }

// TestStreamsLeaveNothing: however a stream is left, its place among the calls under way is free again.
func TestStreamsLeaveNothing(t *testing.T) {
	type call = grpc.ServerStreamingClient[healthpb.HealthCheckResponse]
	hang := func(_ int, s watchServer) error { <-s.Context().Done(); return nil }
	for _, test := range []struct {
		name  string
		watch func(int, watchServer) error
		inner func(cancel func()) streams // nil: none
		opts  []grpc.CallOption
		lose  bool // the options, further in
		leave func(stream call)
	}{
		{name: "the codec panics", opts: []grpc.CallOption{grpc.ForceCodecV2(panicking{encoding.GetCodecV2("proto")})},
			leave: func(stream call) {
				defer func() { _ = recover() }()
				stream.Recv()
			}},
		{name: "the header of a stream that has none", watch: func(int, watchServer) error { return status.Error(codes.NotFound, "") },
			leave: func(stream call) { stream.Header() }},
		{name: "ended before it is handed over", watch: hang, inner: func(cancel func()) streams {
			return func(s grpc.ClientStream) grpc.ClientStream {
				cancel()
				synctest.Wait()
				return s
			}
		}, leave: func(call) {}},
		{name: "an error of an interceptor's own", watch: hang, inner: func(func()) streams {
			return func(s grpc.ClientStream) grpc.ClientStream { return grumpy{s} }
		}, leave: func(stream call) {
			began := time.Now()
			if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || time.Since(began) > 0 {
				t.Errorf("received %v after %v", err, time.Since(began))
			}
		}},
		{name: "read to its end, and the options lost further in", lose: true, leave: func(stream call) { receive(stream, nil) }},
		{name: "sent after it was closed", watch: hang, leave: func(stream call) {
			stream.SendMsg(&healthpb.HealthCheckRequest{Service: "late"})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				options, err := DialOptions(newEngine(t, oneAtOnce(), twoSaved), idempotent)
				if err != nil {
					t.Fatal(err)
				}
				if test.inner != nil {
					options = append(options, grpc.WithChainStreamInterceptor(test.inner(cancel).intercept))
				}
				if test.lose {
					options = append(options, grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc,
						cc *grpc.ClientConn, method string, streamer grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
						return streamer(ctx, desc, cc, method)
					}))
				}
				c := newClient((&backend{watch: test.watch}).serve(t).channel(t, options...))
				stream, err := c.Watch(ctx, &healthpb.HealthCheckRequest{}, test.opts...)
				if err == nil {
					test.leave(stream)
				}
				cancel()
				synctest.Wait()
				if err := check(tether.WithCall(within(t, time.Minute), tether.CallOptions{NoWait: true}), c); err != nil {
					t.Errorf("the next call: %v", err)
				}
			})
		})
	}
}

// TestStreamsUsedAtRandom: whoever asks for the header, receives, closes and cancels, at whatever moment, the place
// is free again afterwards and the end was told once.
func TestStreamsUsedAtRandom(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(seed, 1))
			doze := func() {
				mu.Lock()
				d := time.Duration(random.IntN(4)) * time.Millisecond
				mu.Unlock()
				time.Sleep(d)
			}
			b := &backend{watch: func(n int, s watchServer) error {
				doze()
				if (seed+uint64(n))%3 == 0 {
					s.SendHeader(metadata.Pairs("a", "b"))
					doze()
				}
				if (seed+uint64(n))%4 == 0 {
					s.Send(&healthpb.HealthCheckResponse{})
					doze()
				}
				if (seed+uint64(n))%2 == 0 {
					return status.Error(codes.Unavailable, "")
				}
				return nil
			}}
			c := b.client(t, newEngine(t, oneAtOnce(), twoSaved), idempotent)
			ctx, cancel := context.WithCancel(context.Background())
			ends := 0
			stream, err := c.Watch(ctx, &healthpb.HealthCheckRequest{}, grpc.OnFinish(func(error) {
				mu.Lock()
				defer mu.Unlock()
				ends++
			}))
			if err == nil {
				var all sync.WaitGroup
				all.Go(func() { doze(); stream.Header() })
				all.Go(func() { doze(); doze(); doze(); cancel() })
				if seed%5 > 0 {
					all.Go(func() { doze(); receive(stream, nil) })
				}
				all.Wait()
			}
			cancel()
			synctest.Wait()
			if ends != 1 {
				t.Errorf("seed %d: told of %d ends", seed, ends)
			}
			time.Sleep(time.Minute) // paced or held calls may go again
			if err := check(tether.WithCall(within(t, time.Minute), tether.CallOptions{NoWait: true}), c); err != nil {
				t.Errorf("seed %d: the next call: %v", seed, err)
			}
		})
	}
}

// TestWaitForReadyWithoutDeadline: a call that waits for its connection for ever ends when it is cancelled, and
// leaves nothing.
func TestWaitForReadyWithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := (&backend{}).serve(t)
		n.setRefuse(errors.New("refused"))
		options, err := DialOptions(newEngine(t, oneAtOnce(), tether.Options{}), idempotent)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(n.channel(t, options...))
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error { return check(ctx, c, grpc.WaitForReady(true)) },
			func(ctx context.Context) error {
				_, err := receive(c.Watch(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)))
				return err
			},
		} {
			ctx, cancel := context.WithCancel(context.Background())
			began := time.Now()
			time.AfterFunc(time.Hour, cancel)
			if err := call(ctx); status.Code(err) != codes.Canceled || time.Since(began) != time.Hour {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		n.setRefuse(nil)
		time.Sleep(5 * time.Minute) // grpc-go's own back-off
		if err := check(within(t, time.Minute), c); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestCallersOptions: a caller's call options tell of the call, not of its attempts: what was answered at last,
// by whom, and its end once.
func TestCallersOptions(t *testing.T) {
	answer := func(n int) error {
		if n%3 != 0 {
			return unavailable
		}
		return nil
	}
	for _, test := range []struct {
		name string
		make func(ctx context.Context, c healthpb.HealthClient, opts ...grpc.CallOption) error
	}{
		{"unary", func(ctx context.Context, c healthpb.HealthClient, opts ...grpc.CallOption) error {
			return check(ctx, c, opts...)
		}},
		{"stream", func(ctx context.Context, c healthpb.HealthClient, opts ...grpc.CallOption) error {
			_, err := receive(c.Watch(ctx, &healthpb.HealthCheckRequest{}, opts...))
			return err
		}},
	} {
		for _, lost := range []bool{false, true} { // the last attempt gets no stream
			t.Run(fmt.Sprint(test.name, " lost ", lost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n *network
					fares := func(ctx context.Context, i int) error {
						grpc.SetTrailer(ctx, metadata.Pairs("attempt", fmt.Sprint(i)))
						if i == 2 && lost {
							n.setRefuse(errors.New("refused"))
							time.AfterFunc(10*time.Millisecond, n.cut)
						}
						return answer(i)
					}
					b := &backend{check: fares}
					b.watch = func(i int, s watchServer) error {
						if err := fares(s.Context(), i); err != nil {
							return err
						}
						return s.Send(&healthpb.HealthCheckResponse{})
					}
					n = b.serve(t)
					options, err := DialOptions(newEngine(t, policy.Document{}, twoSaved), idempotent)
					if err != nil {
						t.Fatal(err)
					}
					c := newClient(n.channel(t, options...))
					var header, trailer metadata.MD
					var from peer.Peer
					var ends []error
					credentials := &tokens{}
					err = test.make(within(t, time.Minute), c, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from),
						grpc.OnFinish(func(err error) { ends = append(ends, err) }), grpc.PerRPCCredentials(credentials))
					if (err != nil) != lost {
						t.Fatal(err)
					}
					if len(ends) != 1 || status.Code(ends[0]) != status.Code(err) {
						t.Errorf("the call ended with %v, and told of %v", err, ends)
					}
					if lost {
						if len(header) > 0 || len(trailer) > 0 || from.Addr != nil {
							t.Errorf("of an attempt that got no stream: %v, %v, %v", header, trailer, from)
						}
						return
					}
					if len(header) == 0 || !slices.Equal(trailer["attempt"], []string{"3"}) || from.Addr == nil {
						t.Errorf("got %v, %v, %v", header, trailer, from)
					}
					for i, v := range b.visits() {
						if token := string(rune('a' + i)); !slices.Equal(v.md["authorization"], []string{token}) {
							t.Errorf("attempt %d had token %q", i+1, v.md["authorization"])
						}
					}
				})
			})
		}
	}
}

// TestEndIsToldOnce: however a call ends, its caller hears of it once.
func TestEndIsToldOnce(t *testing.T) {
	message := func(_ int, s watchServer) error { return s.Send(&healthpb.HealthCheckResponse{}) }
	for _, test := range []struct {
		name  string
		watch func(int, watchServer) error
		use   func(grpc.ServerStreamingClient[healthpb.HealthCheckResponse], func())
		want  codes.Code
	}{
		{"a message and the end", message, func(s grpc.ServerStreamingClient[healthpb.HealthCheckResponse], _ func()) {
			receive(s, nil)
		}, codes.OK},
		{"the end alone", func(int, watchServer) error { return nil }, func(s grpc.ServerStreamingClient[healthpb.HealthCheckResponse], _ func()) {
			receive(s, nil)
		}, codes.OK},
		{"given up", func(_ int, s watchServer) error { <-s.Context().Done(); return nil },
			func(_ grpc.ServerStreamingClient[healthpb.HealthCheckResponse], cancel func()) { cancel() }, codes.Canceled},
		{"given up after a message", func(n int, s watchServer) error { message(n, s); <-s.Context().Done(); return nil },
			func(s grpc.ServerStreamingClient[healthpb.HealthCheckResponse], cancel func()) { s.Recv(); cancel() }, codes.Canceled},
		{"only the header", func(int, watchServer) error { return unavailable },
			func(s grpc.ServerStreamingClient[healthpb.HealthCheckResponse], _ func()) { s.Header() }, codes.Unavailable},
		{"fails for good", func(int, watchServer) error { return unavailable },
			func(s grpc.ServerStreamingClient[healthpb.HealthCheckResponse], _ func()) { s.Recv() }, codes.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := (&backend{watch: test.watch}).client(t, newEngine(t, policy.Document{}, twoSaved), idempotent)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var mu sync.Mutex
				var ends []error
				stream, err := c.Watch(ctx, &healthpb.HealthCheckRequest{}, grpc.OnFinish(func(err error) {
					mu.Lock()
					defer mu.Unlock()
					ends = append(ends, err)
				}))
				if err != nil {
					t.Fatal(err)
				}
				test.use(stream, cancel)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if len(ends) != 1 || status.Code(ends[0]) != test.want && !errors.Is(ends[0], io.EOF) {
					t.Errorf("told of %v", ends)
				}
			})
		})
	}
}
