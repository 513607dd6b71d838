// Grpc tells, step by step and in a few seconds, what tether does for a gRPC channel: a real server
// on loopback asks for a pause, is down for a moment, and its people switch a method off and change
// a rule. The exit status is 0 only if every step was as it says.
//
//	cd examples/grpc && go run .
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/tethergrpc"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}

// story is what the steps share.
type story struct {
	out    io.Writer
	server *server
	client healthpb.HealthClient
	engine *tether.Engine
}

func run(out io.Writer) error {
	server, err := newServer()
	if err != nil {
		return err
	}
	defer server.grpc.Stop()
	engine, err := tether.New(tether.Options{})
	if err != nil {
		return err
	}
	// The wrap: what a channel needs beside its credentials.
	options, err := tethergrpc.DialOptions(engine, tethergrpc.Options{Idempotent: []string{retryable}})
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(server.addr, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := &story{out, server, healthpb.NewHealthClient(conn), engine}
	for _, step := range []func() error{s.usual, s.pushback, s.outage, s.kill, s.push} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// check makes a call that has so much time.
func (s *story) check(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := s.client.Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

func (s *story) usual() error {
	for range 50 {
		if err := s.check(time.Second); err != nil {
			return fmt.Errorf("a healthy server: %w", err)
		}
	}
	fmt.Fprintln(s.out, "usual: 50 calls, all served")
	return nil
}

// pushback: the first call is told to come back later, and all of the process keep to it.
func (s *story) pushback() error {
	s.server.be(pushBack)
	var callers sync.WaitGroup
	var served atomic.Int32
	first := make(chan struct{})
	for i := range 10 {
		callers.Go(func() {
			if i > 0 {
				<-first
			}
			if i == 0 {
				time.AfterFunc(100*time.Millisecond, func() { close(first) })
			}
			if s.check(5*time.Second) == nil {
				served.Add(1)
			}
		})
	}
	callers.Wait()
	visits := s.server.visits()
	if served.Load() != 10 || len(visits) != 11 {
		return fmt.Errorf("pushback: %d of 10 served with %d attempts", served.Load(), len(visits))
	}
	if silence := visits[1].Sub(visits[0]); silence < pushback {
		return fmt.Errorf("pushback: the server was asked again after %v", silence)
	}
	fmt.Fprintf(s.out, "pushback: told to wait %v, the server heard from none of 10 callers before; then all were served\n", pushback)
	return nil
}

// outage: ten callers in a loop, against a server that says UNAVAILABLE for two seconds and is well
// again.
func (s *story) outage() error {
	s.server.be(down)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	var callers sync.WaitGroup
	var tries, served atomic.Int32
	for range 10 {
		callers.Go(func() {
			for ctx.Err() == nil {
				tries.Add(1)
				if s.check(200*time.Millisecond) == nil {
					served.Add(1)
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	time.Sleep(time.Until(began.Add(2 * time.Second)))
	hammered, asked := len(s.server.visits()), tries.Load()
	s.server.be(well)
	callers.Wait()
	if hammered > 60 || hammered == 0 || served.Load() < 10 {
		return fmt.Errorf("outage: %d attempts in two seconds, %d calls served after it", hammered, served.Load())
	}
	fmt.Fprintf(s.out, "outage: 10 callers asked %d times in 2 s, the server had to answer %d; then it served %d\n",
		asked, hammered, served.Load())
	return nil
}

// kill: a document switches the method off, and its next version on again.
func (s *story) kill() error {
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	err := s.apply(1, fmt.Sprintf(`"kill": [{"name": "off", "match": {"grpcMethod": %q}, "until": %q, "reason": "maintenance"}]`,
		retryable, until))
	if err != nil {
		return err
	}
	s.server.be(well)
	err = s.check(time.Second)
	if !errors.Is(err, tether.ErrKilled) || len(s.server.visits()) != 0 {
		return fmt.Errorf("kill: %v, and %d attempts", err, len(s.server.visits()))
	}
	fmt.Fprintf(s.out, "kill: nothing sent, the caller gets %v\n", status.Code(err))
	if err := s.apply(2, `"kill": []`); err != nil {
		return err
	}
	if err := s.check(5 * time.Second); err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	fmt.Fprintln(s.out, "kill lifted: served again")
	return nil
}

// push: a rule ends the method's repeats.
func (s *story) push() error {
	err := s.apply(3, fmt.Sprintf(`"rules": [{"name": "once", "match": {"grpcMethod": %q}, "call": {"retryPolicy": {"maxAttempts": 1}}}]`,
		retryable))
	if err != nil {
		return err
	}
	s.server.be(down)
	if err := s.check(5 * time.Second); err == nil || len(s.server.visits()) != 1 {
		return fmt.Errorf("push: %v, and %d attempts", err, len(s.server.visits()))
	}
	fmt.Fprintln(s.out, "push: a rule with one attempt is in force, one attempt was made")
	return nil
}

func (s *story) apply(version int, members string) error {
	_, err := s.engine.Apply(fmt.Appendf(nil, `{"schema": 1, "document": "example", "version": %d, %s}`, version, members))
	return err
}
