package compat_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// overGRPC runs a test of connect's gRPC protocol, through the HTTP edge, against grpc-go's server, which
// answers a call with what handle returns after a trailer, and a header if early. A refusal may come with a pushback.
func overGRPC(t *testing.T, handle func(n int32) error, early bool, pushback string,
	test func(t *testing.T, e *tether.Engine, client *connect.Client[text, text], arrived *atomic.Int32)) {
	synctest.Test(t, func(t *testing.T) {
		var arrived atomic.Int32
		listener := bufconn.Listen(1 << 16)
		server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var msg text
			if err := stream.RecvMsg(&msg); err != nil {
				return err
			}
			stream.SetTrailer(metadata.Pairs("why", "because"))
			if early {
				stream.SendHeader(metadata.Pairs("head", "first"))
			}
			if err := handle(arrived.Add(1)); err != nil {
				if pushback != "" {
					stream.SetTrailer(metadata.Pairs("grpc-retry-pushback-ms", pushback))
				}
				return err
			}
			return stream.SendMsg(&msg)
		}))
		go server.Serve(listener)
		defer server.Stop()
		transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return listener.DialContext(ctx)
		}}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		e := engine(t, tether.Options{InitialRetries: policy.Ptr(2)})
		client := connect.NewClient[text, text](e.Client(&http.Client{Transport: transport}).Client,
			"http://shop.example"+store, connect.WithGRPC())
		test(t, e, client, &arrived)
	})
}

// TestConnectOverGRPC: a good answer has its trailer, and a status of every code reaches the caller whole, with
// RetryInfo and trailer, after as many attempts as tethergrpc would make. Only RetryInfo isn't heard.
func TestConnectOverGRPC(t *testing.T) {
	overGRPC(t, func(int32) error { return nil }, true, "", func(t *testing.T, _ *tether.Engine,
		client *connect.Client[text, text], _ *atomic.Int32) {
		got, err := client.CallUnary(t.Context(), connect.NewRequest(&text{Value: "hello"}))
		if err != nil || got.Msg.Value != "hello" || got.Trailer().Get("why") != "because" || got.Header().Get("head") != "first" {
			t.Errorf("%v, %v", got, err)
		}
	})
	for _, early := range []bool{false, true} {
		for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
			var detail protoadapt.MessageV1 = &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Minute)}
			st, err := grpcstatus.New(code, "not now").WithDetails(detail)
			if err != nil {
				t.Fatal(err)
			}
			overGRPC(t, func(int32) error { return st.Err() }, early, "", func(t *testing.T, e *tether.Engine,
				client *connect.Client[text, text], arrived *atomic.Int32) {
				ctx := tether.WithCall(t.Context(), tether.CallOptions{Idempotent: true})
				_, err := client.CallUnary(ctx, connect.NewRequest(&text{Value: "hello"}))
				var said *connect.Error
				if !errors.As(err, &said) || said.Code() != connect.Code(code) || said.Message() != "not now" ||
					said.Meta().Get("why") != "because" || retryInfoOf(said) != time.Minute {
					t.Errorf("%v, early %v: %v", code, early, err)
				}
				want := int32(1)
				if code == codes.Unavailable || code == codes.DeadlineExceeded {
					want = 3
				}
				if h := e.Health().Targets[0]; arrived.Load() != want || !h.HeldUntil.IsZero() {
					t.Errorf("%v, early %v: %d calls arrived, held until %v", code, early, arrived.Load(), h.HeldUntil)
				}
			})
		}
	}
}

// TestConnectOverGRPCHearsPushback: the call comes back when it was told to, and so do those that it shares the
// server with.
func TestConnectOverGRPCHearsPushback(t *testing.T) {
	for _, early := range []bool{false, true} {
		refuse := func(n int32) error {
			if n == 1 {
				return grpcstatus.Error(codes.Unavailable, "not now")
			}
			return nil
		}
		overGRPC(t, refuse, early, "5000", func(t *testing.T, _ *tether.Engine,
			client *connect.Client[text, text], arrived *atomic.Int32) {
			done := make(chan time.Duration)
			began := time.Now()
			go func() {
				ctx := tether.WithCall(t.Context(), tether.CallOptions{Idempotent: true})
				if _, err := client.CallUnary(ctx, connect.NewRequest(&text{})); err != nil {
					t.Error(err)
				}
				done <- time.Since(began)
			}()
			time.Sleep(time.Second)
			hasty := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
			if _, err := client.CallUnary(hasty, connect.NewRequest(&text{})); !errors.Is(err, pacing.ErrHeld) {
				t.Errorf("beside it, early %v: %v", early, err)
			}
			if took := <-done; took < 5*time.Second || took > 8*time.Second || arrived.Load() != 2 {
				t.Errorf("early %v: served after %v, by attempt %d", early, took, arrived.Load())
			}
		})
	}
}

func retryInfoOf(err *connect.Error) time.Duration {
	for _, detail := range err.Details() {
		if value, err := detail.Value(); err == nil {
			if info, ok := value.(*errdetails.RetryInfo); ok {
				return info.RetryDelay.AsDuration()
			}
		}
	}
	return 0
}

// TestConnectStreamOverGRPC: both ways in turn, for longer than any timeout of an attempt, with the trailer at
// the end.
func TestConnectStreamOverGRPC(t *testing.T) {
	overGRPC(t, func(int32) error { return nil }, true, "", func(t *testing.T, _ *tether.Engine,
		client *connect.Client[text, text], _ *atomic.Int32) {
		stream := client.CallBidiStream(t.Context())
		if err := stream.Send(&text{Value: "hello"}); err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Receive(); err != nil || got.Value != "hello" {
			t.Error(got, err)
		}
		if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if why := stream.ResponseTrailer().Get("why"); why != "because" {
			t.Errorf("the trailer says %q", why)
		}
		if err := errors.Join(stream.CloseRequest(), stream.CloseResponse()); err != nil {
			t.Error(err)
		}
	})
}
