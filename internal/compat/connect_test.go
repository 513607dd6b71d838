package compat_test

import (
	"context"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type text = wrapperspb.StringValue

const (
	lookUp  = "/compat.Service/LookUp" // has no side effects, so it is sent as a GET
	store   = "/compat.Service/Store"
	echoAll = "/compat.Service/EchoAll"
)

// answersConnect is a service with an echo of every kind.
var answersConnect = func() http.Handler {
	echo := func(_ context.Context, req *connect.Request[text]) (*connect.Response[text], error) {
		return connect.NewResponse(req.Msg), nil
	}
	mux := http.NewServeMux()
	mux.Handle(lookUp, connect.NewUnaryHandler(lookUp, echo, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
	mux.Handle(store, connect.NewUnaryHandler(store, echo))
	mux.Handle(echoAll, connect.NewBidiStreamHandler(echoAll, func(_ context.Context, s *connect.BidiStream[text, text]) error {
		for {
			msg, err := s.Receive()
			if err != nil {
				return nil
			}
			if err := s.Send(msg); err != nil {
				return err
			}
		}
	}))
	return mux
}()

var connectUnary = subject{
	name:    "connect",
	healthy: answersConnect,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		get := connect.NewClient[text, text](wrapped, url+lookUp, connect.WithHTTPGet(),
			connect.WithIdempotency(connect.IdempotencyNoSideEffects))
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
