package tethergrpc_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/tethergrpc"
)

// serve starts a server with the health service on loopback.
func serve(options ...grpc.ServerOption) (address string, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(options...)
	healthpb.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	return listener.Addr().String(), server.Stop
}

func ExampleDialOptions() {
	address, stop := serve()
	defer stop()
	engine, err := tether.New(tether.Options{})
	if err != nil {
		panic(err)
	}
	options, err := tethergrpc.DialOptions(engine, tethergrpc.Options{
		Idempotent: []string{"/grpc.health.v1.Health/Check"},
	})
	if err != nil {
		panic(err)
	}
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(address, options...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	fmt.Println(engine.Health().Targets[0].Breaker)
	// Output:
	// SERVING <nil>
	// closed
}

// What a refusal looks like to a caller that knows gRPC only, and to one that asks.
func ExampleUnaryClientInterceptor() {
	address, stop := serve()
	defer stop()
	cfg := policy.Document{}
	cfg.Defaults.Target.RateLimit = &policy.RateSettings{PerSecond: policy.Ptr(0.01), Burst: policy.Ptr(1)}
	engine, err := tether.New(tether.Options{Policy: cfg})
	if err != nil {
		panic(err)
	}
	unary, err := tethergrpc.UnaryClientInterceptor(engine, tethergrpc.Options{ChannelRetriesOff: true})
	if err != nil {
		panic(err)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithChainUnaryInterceptor(unary))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	ctx := tether.WithCall(context.Background(), tether.CallOptions{NoWait: true})
	for range 2 {
		_, err = client.Check(ctx, &healthpb.HealthCheckRequest{})
	}
	var refused *tether.RejectedError
	fmt.Println(status.Code(err) == codes.ResourceExhausted, errors.As(err, &refused))
	fmt.Println(refused.Stage)
	// Output:
	// true true
	// rate limit
}

func ExampleStreamClientInterceptor() {
	address, stop := serve()
	defer stop()
	engine, err := tether.New(tether.Options{})
	if err != nil {
		panic(err)
	}
	streams, err := tethergrpc.StreamClientInterceptor(engine, tethergrpc.Options{ChannelRetriesOff: true})
	if err != nil {
		panic(err)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithChainStreamInterceptor(streams))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		panic(err)
	}
	answer, err := stream.Recv()
	fmt.Println(answer.GetStatus(), err)
	// Output:
	// SERVING <nil>
}

func ExampleParseServiceConfig() {
	const text = `{
	  "loadBalancingConfig": [{"round_robin": {}}],
	  "methodConfig": [{"name": [{"service": "grpc.health.v1.Health"}], "timeout": "2s", "retryPolicy": {
	    "maxAttempts": 9, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
	    "retryableStatusCodes": ["UNAVAILABLE"]}}]}`
	service, err := tethergrpc.ParseServiceConfig(text, "shop.example.com")
	if err != nil {
		panic(err)
	}
	if err := service.Check(&healthpb.Health_ServiceDesc); err != nil {
		panic(err)
	}
	engine, err := tether.New(tether.Options{Policy: policy.Document{Rules: service.Rules}})
	if err != nil {
		panic(err)
	}
	options, err := tethergrpc.DialOptions(engine, tethergrpc.Options{
		Idempotent:    []string{"/grpc.health.v1.Health/Check"},
		ServiceConfig: service.Channel,
	})
	fmt.Println(len(options), err)
	fmt.Println(service.Differences[0])
	// Output:
	// 4 <nil>
	// methodConfig[0].retryPolicy.maxAttempts: more than 5 is read as 5, as in gRPC
}

func ExampleReadCriticality() {
	reads, err := tethergrpc.ReadCriticality("x-criticality")
	if err != nil {
		panic(err)
	}
	address, stop := serve(append(reads, grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			fmt.Println("the server's own calls are", criticality.From(ctx))
			return handler(ctx, req)
		}))...)
	defer stop()
	engine, err := tether.New(tether.Options{CriticalityHeader: "x-criticality"})
	if err != nil {
		panic(err)
	}
	options, err := tethergrpc.DialOptions(engine, tethergrpc.Options{})
	if err != nil {
		panic(err)
	}
	conn, err := grpc.NewClient(address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	ctx := criticality.With(context.Background(), criticality.Sheddable)
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	fmt.Println(err)
	// Output:
	// the server's own calls are sheddable
	// <nil>
}
