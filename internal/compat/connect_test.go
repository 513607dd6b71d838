package compat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/ratelimit/pacing"
)

type text = wrapperspb.StringValue

const (
	lookUp  = "/compat.Service/LookUp" // has no side effects, so it is sent as a GET
	store   = "/compat.Service/Store"
	echoAll = "/compat.Service/EchoAll"
)

var harmless = connect.WithIdempotency(connect.IdempotencyNoSideEffects)

// answersConnect is a service with an echo of every kind.
var answersConnect = func() http.Handler {
	echo := func(_ context.Context, req *connect.Request[text]) (*connect.Response[text], error) {
		return connect.NewResponse(req.Msg), nil
	}
	mux := http.NewServeMux()
	mux.Handle(lookUp, connect.NewUnaryHandler(lookUp, echo, harmless))
	mux.Handle(store, connect.NewUnaryHandler(store, echo))
	stream := func(_ context.Context, s *connect.BidiStream[text, text]) error {
		for {
			msg, err := s.Receive()
			if err != nil {
				return nil
			}
			if err := s.Send(msg); err != nil {
				return err
			}
		}
	}
	mux.Handle(echoAll, connect.NewBidiStreamHandler(echoAll, stream))
	return mux
}()

var connectUnary = subject{
	name:    "connect",
	healthy: answersConnect,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		get := connect.NewClient[text, text](wrapped, url+lookUp, connect.WithHTTPGet(), harmless)
		post := connect.NewClient[text, text](wrapped, url+store)
		send := func(client *connect.Client[text, text]) call {
			return func(ctx context.Context, s string) error {
				_, err := client.CallUnary(ctx, connect.NewRequest(&text{Value: s}))
				return err
			}
		}
		return send(get), send(post)
	},
}

// overConnect runs a test against the service over HTTP/1.1 and over HTTP/2 in clear text.
func overConnect(t *testing.T, handler http.Handler,
	test func(t *testing.T, e *tether.Engine, wrapped *http.Client, url string)) {
	for name, serve := range map[string]func(testing.TB, http.Handler) (*http.Transport, string){
		"http1": memnet.Serve, "h2c": memnet.ServeH2C,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport, url := serve(t, handler)
				e := engine(t, tether.Options{})
				test(t, e, e.Client(&http.Client{Transport: transport}).Client, url)
			})
		})
	}
}

// TestConnectUnary in all three protocols that connect speaks.
func TestConnectUnary(t *testing.T) {
	for name, option := range protocols {
		t.Run(name, func(t *testing.T) {
			b := &backend{healthy: answersConnect}
			overConnect(t, b, func(t *testing.T, e *tether.Engine, wrapped *http.Client, url string) {
				if name == "grpc" && isHTTP1(t) {
					t.Skip("grpc needs HTTP/2")
				}
				client := connect.NewClient[text, text](wrapped, url+store, option)
				send := func(ctx context.Context) error {
					got, err := client.CallUnary(ctx, connect.NewRequest(&text{Value: "hello"}))
					if err == nil && got.Msg.Value != "hello" {
						t.Errorf("answer is %q", got.Msg.Value)
					}
					return err
				}
				b.fails()
				if err := send(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.fails(status(503))
				if err := send(t.Context()); connect.CodeOf(err) != connect.CodeUnavailable {
					t.Errorf("a POST with an answer of 503: %v", err)
				}
				b.arrived(t, 1)
				b.fails(status(503))
				if err := send(tether.WithCall(t.Context(), tether.CallOptions{Idempotent: true})); err != nil {
					t.Error(err)
				}
				b.arrived(t, 2)
				apply(t, e, kill)
				if err := send(t.Context()); !isKilled(err) {
					t.Errorf("%v hides the refusal", err)
				}
			})
		})
	}
}

func isHTTP1(t *testing.T) bool { return strings.HasSuffix(t.Name(), "http1") }

// TestConnectStream: a bidirectional stream goes both ways in turn, which takes HTTP/2, and longer
// than any timeout of an attempt.
func TestConnectStream(t *testing.T) {
	overConnect(t, answersConnect, func(t *testing.T, e *tether.Engine, wrapped *http.Client, url string) {
		if isHTTP1(t) {
			t.Skip("connect refuses bidirectional streams over HTTP/1")
		}
		apply(t, e, `{"schema":1,"document":"d","version":1,"defaults":{"call":{"attemptTimeout":"2s"}}}`)
		stream := connect.NewClient[text, text](wrapped, url+echoAll).CallBidiStream(t.Context())
		for _, want := range []string{"one", "two", "three"} {
			if err := stream.Send(&text{Value: want}); err != nil {
				t.Fatal(err)
			}
			if got, err := stream.Receive(); err != nil || got.Value != want {
				t.Fatal(got, err)
			}
			time.Sleep(time.Minute)
		}
		if err := stream.CloseRequest(); err != nil {
			t.Error(err)
		}
		if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream ends with %v", err)
		}
		if err := stream.CloseResponse(); err != nil {
			t.Error(err)
		}
	})
}

// TestConnectStreamIsSentOnce: what streams can't be sent again, and the refusal of a stream is found.
func TestConnectStreamIsSentOnce(t *testing.T) {
	var arrived atomic.Int32
	fail := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	overConnect(t, fail, func(t *testing.T, e *tether.Engine, wrapped *http.Client, url string) {
		arrived.Store(0)
		ctx := tether.WithCall(t.Context(), tether.CallOptions{Idempotent: true})
		client := connect.NewClient[text, text](wrapped, url+echoAll)
		send := func() error {
			stream := client.CallClientStream(ctx)
			stream.Send(&text{Value: "hello"}) // whose error CloseAndReceive has too
			_, err := stream.CloseAndReceive()
			return err
		}
		if err := send(); connect.CodeOf(err) != connect.CodeUnavailable {
			t.Error(err)
		}
		if n := arrived.Load(); n != 1 {
			t.Errorf("sent %d times", n)
		}
		apply(t, e, kill)
		if err := send(); !isKilled(err) {
			t.Errorf("%v hides the refusal", err)
		}
	})
}

// protocols are those that connect speaks.
var protocols = map[string]connect.ClientOption{
	"connect": connect.WithProtoJSON(), "grpc-web": connect.WithGRPCWeb(), "grpc": connect.WithGRPC(),
}

// TestConnectRefusals: what a connect server refuses for a while, with a Retry-After in the error's metadata, is the
// same in all three protocols: repeated where that is safe, and not before any call may come back.
func TestConnectRefusals(t *testing.T) {
	var arrived, refusals atomic.Int32
	handler := connect.NewUnaryHandler(store, func(_ context.Context, req *connect.Request[text]) (*connect.Response[text], error) {
		arrived.Add(1)
		if refusals.Add(-1) < 0 {
			return connect.NewResponse(req.Msg), nil
		}
		err := connect.NewError(connect.CodeUnavailable, errors.New("not now"))
		err.Meta().Set("Retry-After", "5")
		return nil, err
	})
	for name, option := range protocols {
		t.Run(name, func(t *testing.T) {
			overConnect(t, handler, func(t *testing.T, _ *tether.Engine, wrapped *http.Client, url string) {
				if name == "grpc" && isHTTP1(t) {
					t.Skip("grpc needs HTTP/2")
				}
				client := connect.NewClient[text, text](wrapped, url+store, option)
				send := func(opts tether.CallOptions) (time.Duration, error) {
					began := time.Now()
					_, err := client.CallUnary(tether.WithCall(t.Context(), opts), connect.NewRequest(&text{Value: "hello"}))
					return time.Since(began), err
				}
				arrived.Store(0)
				refusals.Store(1)
				took, err := send(tether.CallOptions{Idempotent: true})
				if err != nil || took < 5*time.Second || took > 8*time.Second || arrived.Load() != 2 {
					t.Errorf("%v after %v and %d attempts", err, took, arrived.Load())
				}
				refusals.Store(1)
				var said *connect.Error
				if _, err = send(tether.CallOptions{}); !errors.As(err, &said) || said.Message() != "not now" ||
					said.Meta().Get("Retry-After") != "5" || arrived.Load() != 3 {
					t.Errorf("not repeatable: %v after %d attempts", err, arrived.Load())
				}
				if _, err = send(tether.CallOptions{NoWait: true}); !errors.Is(err, pacing.ErrHeld) {
					t.Errorf("in the hold: %v", err)
				}
				if took, err = send(tether.CallOptions{}); err != nil || took < 5*time.Second || arrived.Load() != 4 {
					t.Errorf("the next: %v after %v and %d attempts", err, took, arrived.Load())
				}
			})
		})
	}
}

// TestConnectStreamIsRefusedAtItsEnd: messages have come, and then a "not before" in a gRPC trailer. What came is
// the caller's, nothing is asked for again, and the next call waits. In the other protocols the end of a stream is in
// its body, and isn't heard.
func TestConnectStreamIsRefusedAtItsEnd(t *testing.T) {
	var arrived atomic.Int32
	handler := connect.NewServerStreamHandler(echoAll, func(_ context.Context, req *connect.Request[text],
		stream *connect.ServerStream[text]) error {
		arrived.Add(1)
		for range 3 {
			if err := stream.Send(req.Msg); err != nil {
				return err
			}
			time.Sleep(time.Second)
		}
		err := connect.NewError(connect.CodeResourceExhausted, errors.New("that is all for today"))
		err.Meta().Set("Grpc-Retry-Pushback-Ms", "5000")
		return err
	})
	for name, option := range protocols {
		t.Run(name, func(t *testing.T) {
			overConnect(t, handler, func(t *testing.T, _ *tether.Engine, wrapped *http.Client, url string) {
				if name == "grpc" && isHTTP1(t) {
					t.Skip("grpc needs HTTP/2")
				}
				arrived.Store(0)
				client := connect.NewClient[text, text](wrapped, url+echoAll, option)
				ctx := tether.WithCall(t.Context(), tether.CallOptions{Idempotent: true, NoWait: true})
				stream, err := client.CallServerStream(ctx, connect.NewRequest(&text{Value: "hello"}))
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for stream.Receive() {
					n++
				}
				if connect.CodeOf(stream.Err()) != connect.CodeResourceExhausted || n != 3 || arrived.Load() != 1 {
					t.Errorf("%d messages of %d calls: %v", n, arrived.Load(), stream.Err())
				}
				stream.Close()
				next, err := client.CallServerStream(ctx, connect.NewRequest(&text{Value: "hello"}))
				if err == nil {
					next.Receive()
					err = next.Err()
					next.Close()
				}
				if errors.Is(err, pacing.ErrHeld) != (name == "grpc") {
					t.Errorf("the next: %v", err)
				}
			})
		})
	}
}

// TestConnectErrorsAreWhole: connect says "unavailable" by a 503, which is repeated; what it says
// beside that reaches the caller from the last answer.
func TestConnectErrorsAreWhole(t *testing.T) {
	var arrived atomic.Int32
	refuse := func(context.Context, *connect.Request[text]) (*connect.Response[text], error) {
		err := connect.NewError(connect.CodeUnavailable, fmt.Errorf("answer %d", arrived.Add(1)))
		detail, _ := connect.NewErrorDetail(&text{Value: "why"})
		err.AddDetail(detail)
		return nil, err
	}
	handler := connect.NewUnaryHandler(lookUp, refuse, harmless)
	overConnect(t, handler, func(t *testing.T, _ *tether.Engine, wrapped *http.Client, url string) {
		client := connect.NewClient[text, text](wrapped, url+lookUp, connect.WithHTTPGet(), harmless)
		arrived.Store(0)
		for _, want := range []int32{2, 3} { // the first call has a repeat saved
			_, err := client.CallUnary(t.Context(), connect.NewRequest(&text{}))
			var said *connect.Error
			if !errors.As(err, &said) || said.Message() != fmt.Sprintf("answer %d", want) || len(said.Details()) != 1 {
				t.Errorf("%v, want answer %d and its detail", err, want)
			}
		}
	})
}
