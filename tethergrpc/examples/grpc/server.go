package main

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// mood is how the server answers.
type mood int

const (
	well      mood = iota
	down           // UNAVAILABLE, and nothing else
	pushBack       // UNAVAILABLE with a pushback, once; then well
	pushback  = 800 * time.Millisecond
	retryable = "/grpc.health.v1.Health/Check"
)

// server is a gRPC server on loopback that counts what reaches it.
type server struct {
	healthpb.UnimplementedHealthServer
	grpc *grpc.Server
	addr string

	mu   sync.Mutex // guards what follows
	mood mood
	seen []time.Time
}

func newServer() (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{grpc: grpc.NewServer(), addr: listener.Addr().String()}
	healthpb.RegisterHealthServer(s.grpc, s)
	go s.grpc.Serve(listener)
	return s, nil
}

func (s *server) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, time.Now())
	switch s.mood {
	case down:
		return nil, status.Error(codes.Unavailable, "down for a moment")
	case pushBack:
		s.mood = well
		grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "800"))
		return nil, status.Error(codes.Unavailable, "come back later")
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

// be changes the mood and forgets what was seen.
func (s *server) be(m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood, s.seen = m, nil
}

// visits are the times of the calls that came since the last change.
func (s *server) visits() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.seen...)
}
