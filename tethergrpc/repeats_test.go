package tethergrpc

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

var update = flag.Bool("update", false, "write the table of repeats.md instead of comparing it")

// kinds are the columns.
var kinds = []struct {
	name       string
	desc       grpc.StreamDesc
	idempotent bool
}{
	{"unary", grpc.StreamDesc{}, false},
	{"unary, idempotent", grpc.StreamDesc{}, true},
	{"stream of answers", grpc.StreamDesc{ServerStreams: true}, false},
	{"stream of answers, idempotent", grpc.StreamDesc{ServerStreams: true}, true},
	{"stream of requests, idempotent", grpc.StreamDesc{ClientStreams: true}, true},
	{"two-way stream, idempotent", grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, true},
}

// scene is a server that fails the first call in one way and serves every other.
type scene struct {
	network  *network
	options  []grpc.DialOption
	fail     func(*scene, grpc.ServerStream) error
	frames   func(stream uint32) (frames []byte, last bool) // of the first call; nil: a real server
	refusals int32                                          // how many calls frames answers; 0: one
	asked    atomic.Int32                                   // calls that reached the server, refused ones too
	worked   atomic.Int32                                   // that it worked on
}

// failures are the rows.
var failures = []struct {
	name string
	set  func(*scene)
}{
	{"connection refused", func(s *scene) { s.refuseFirst() }},
	{"connection refused, wait for ready", func(s *scene) {
		s.refuseFirst()
		s.options = append(s.options, grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	}},
	{"HTTP/2 REFUSED_STREAM", func(s *scene) {
		s.frames = func(stream uint32) ([]byte, bool) { return h2Refuse(stream), false }
	}},
	{"HTTP/2 REFUSED_STREAM twice", func(s *scene) {
		s.refusals = 2
		s.frames = func(stream uint32) ([]byte, bool) { return h2Refuse(stream), false }
	}},
	{"HTTP/2 GOAWAY below the call", func(s *scene) {
		s.frames = func(uint32) ([]byte, bool) { return h2Last(0), true }
	}},
	{"HTTP/2 GOAWAY, then closed", func(s *scene) {
		s.frames = func(stream uint32) ([]byte, bool) { s.worked.Add(1); return h2Last(stream), true }
	}},
	{"connection lost before the header", lost(nothing)},
	{"connection lost after the header", lost(header)},
	{"connection lost after a message", lost(message)},
	{"CANCELLED", fails(codes.Canceled)}, {"UNKNOWN", fails(codes.Unknown)},
	{"INVALID_ARGUMENT", fails(codes.InvalidArgument)}, {"DEADLINE_EXCEEDED", fails(codes.DeadlineExceeded)},
	{"NOT_FOUND", fails(codes.NotFound)}, {"ALREADY_EXISTS", fails(codes.AlreadyExists)},
	{"PERMISSION_DENIED", fails(codes.PermissionDenied)}, {"RESOURCE_EXHAUSTED", fails(codes.ResourceExhausted)},
	{"RESOURCE_EXHAUSTED with RetryInfo", answers(nothing, withRetryInfo(codes.ResourceExhausted, time.Second))},
	{"FAILED_PRECONDITION", fails(codes.FailedPrecondition)}, {"ABORTED", fails(codes.Aborted)},
	{"OUT_OF_RANGE", fails(codes.OutOfRange)}, {"UNIMPLEMENTED", fails(codes.Unimplemented)},
	{"INTERNAL", fails(codes.Internal)}, {"UNAVAILABLE", fails(codes.Unavailable)},
	{"UNAVAILABLE with RetryInfo", answers(nothing, withRetryInfo(codes.Unavailable, time.Second))},
	{"UNAVAILABLE with pushback 1000", answers(pushback("1000"), unavailable)},
	{"UNAVAILABLE with pushback -1", answers(pushback("-1"), unavailable)},
	{"UNAVAILABLE after the header", answers(header, unavailable)},
	{"UNAVAILABLE after a message", answers(message, unavailable)},
	{"DATA_LOSS", fails(codes.DataLoss)}, {"UNAUTHENTICATED", fails(codes.Unauthenticated)},
}

func nothing(grpc.ServerStream)   {}
func header(s grpc.ServerStream)  { s.SendHeader(metadata.Pairs("a", "b")) }
func message(s grpc.ServerStream) { s.SendMsg(&emptypb.Empty{}) }
func pushback(ms string) func(grpc.ServerStream) {
	return func(s grpc.ServerStream) { s.SetTrailer(metadata.Pairs(pushbackKey, ms)) }
}

func fails(code codes.Code) func(*scene) { return answers(nothing, status.Error(code, "no")) }

// answers fails with err after it has sent something.
func answers(before func(grpc.ServerStream), err error) func(*scene) {
	return func(s *scene) {
		s.fail = func(_ *scene, stream grpc.ServerStream) error { before(stream); return err }
	}
}

// lost ends the connection after something was sent, and has arrived.
func lost(before func(grpc.ServerStream)) func(*scene) {
	return func(s *scene) {
		s.fail = func(s *scene, stream grpc.ServerStream) error {
			before(stream)
			time.Sleep(time.Millisecond)
			s.network.cut()
			return nil
		}
	}
}

// refuseFirst refuses the first connection; the channel then tries again within milliseconds, not seconds.
func (s *scene) refuseFirst() {
	s.network.setRefuse(errors.New("refused"))
	s.options = append(s.options, grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond}}))
	time.AfterFunc(5*time.Millisecond, func() { s.network.setRefuse(nil) })
}

// handle is the server of whatever method.
func (s *scene) handle(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	s.worked.Add(1)
	if s.asked.Add(1) == 1 && s.fail != nil {
		return s.fail(s, stream)
	}
	return stream.SendMsg(&emptypb.Empty{})
}

// serve starts the real server, or the one of frames, and returns what ends it.
func (s *scene) serve() (stop func()) {
	if s.frames == nil {
		server := grpc.NewServer(grpc.UnknownServiceHandler(s.handle))
		go server.Serve(s.network.listener)
		return server.Stop
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := s.network.listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				serveFrames(conn, func(stream uint32) ([]byte, bool) {
					if s.asked.Add(1) <= max(s.refusals, 1) {
						return s.frames(stream)
					}
					s.worked.Add(1)
					return h2Serve(stream), false
				})
			})
		}
	})
	return func() { s.network.listener.Close(); serving.Wait() }
}

// sends counts how often grpc-go itself sent a call.
type sends struct {
	counter
	n atomic.Int32
}

func (s *sends) HandleRPC(_ context.Context, e stats.RPCStats) {
	if _, ok := e.(*stats.OutHeader); ok {
		s.n.Add(1)
	}
}

// converse makes one call to its end, whatever that is.
func converse(ctx context.Context, conn *grpc.ClientConn, desc grpc.StreamDesc) error {
	const method = "/shop.Orders/Place"
	var msg emptypb.Empty
	if !desc.ClientStreams && !desc.ServerStreams {
		return conn.Invoke(ctx, method, &msg, &msg)
	}
	stream, err := conn.NewStream(ctx, &desc, method)
	if err != nil {
		return err
	}
	stream.SendMsg(&msg) // its error is RecvMsg's
	if !desc.ClientStreams || !desc.ServerStreams {
		stream.CloseSend()
	}
	for err == nil {
		err = stream.RecvMsg(&msg)
		stream.CloseSend()
		if !desc.ServerStreams {
			return err
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// play makes one call in a scene and says what came of it: who repeated, and how many times the server
// worked.
func play(t *testing.T, set func(*scene), desc grpc.StreamDesc, idempotent bool) (cell string) {
	synctest.Test(t, func(t *testing.T) {
		s := &scene{network: &network{listener: bufconn.Listen(1 << 16)}}
		set(s)
		stop := s.serve()
		defer stop()
		var opts Options
		if idempotent {
			opts.Idempotent = []string{"/shop.Orders/Place"}
		}
		engine, sent := newEngine(t, policy.Document{}, tether.Options{}), &sends{}
		options, err := DialOptions(engine, opts)
		if err != nil {
			t.Fatal(err)
		}
		conn := s.network.channel(t, append(append(options, grpc.WithStatsHandler(sent)), s.options...)...)
		err = converse(within(t, time.Minute), conn, desc)
		who := "no"
		switch {
		case engine.Health().Targets[0].Attempts > 1:
			who = "yes"
		case sent.n.Load() > 1:
			who = "grpc-go"
		}
		time.Sleep(time.Hour) // for what might arrive late
		if cell = fmt.Sprintf("%s, %d", who, s.worked.Load()); err == nil {
			cell += ", served"
		}
		conn.Close()
	})
	return cell
}

const (
	repeatsDoc  = "repeats.md"
	tableBegins = "<!-- measured by TestRepeats; go test -run 'TestRepeats$' -update . -->\n"
	tableEnds   = "<!-- end of what is measured -->\n"
)

// TestRepeats measures every cell of the table in repeats.md.
func TestRepeats(t *testing.T) {
	var table strings.Builder
	table.WriteString("| What fails |")
	for _, kind := range kinds {
		table.WriteString(" " + kind.name + " |")
	}
	table.WriteString("\n|---|" + strings.Repeat("---|", len(kinds)) + "\n")
	for _, failure := range failures {
		table.WriteString("| " + failure.name + " |")
		for _, kind := range kinds {
			cell := play(t, failure.set, kind.desc, kind.idempotent)
			if (!kind.idempotent || kind.desc.ClientStreams) && strings.Contains(cell, "2") {
				t.Errorf("%s, %s: the work was done twice", failure.name, kind.name)
			}
			table.WriteString(" " + cell + " |")
		}
		table.WriteString("\n")
	}
	doc, err := os.ReadFile(repeatsDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), tableBegins)
	written, after, ends := strings.Cut(rest, tableEnds)
	if !ok || !ends {
		t.Fatal("the table has no place in " + repeatsDoc)
	}
	if written == "\n"+table.String()+"\n" {
		return
	}
	if !*update {
		t.Fatalf("%s says\n%s\nmeasured is\n%s", repeatsDoc, written, table.String())
	}
	text := before + tableBegins + "\n" + table.String() + "\n" + tableEnds + after
	if err := os.WriteFile(repeatsDoc, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
