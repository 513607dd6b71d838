package tethergrpc

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tether-go/tether"
)

// stream is one call that streams. It is admitted like any other and settles with the first sign of
// life, its header or a message; it keeps its place among the calls under way until it ends. Until
// then it is made again where that is safe: a stream of answers to one request, of which nothing
// has come, not even a header (gRFC A6, When Retries are Valid).
type stream struct {
	edge     *edge
	ctx      context.Context // the caller's
	desc     *grpc.StreamDesc
	cc       *grpc.ClientConn
	method   string
	streamer grpc.Streamer
	opts     []grpc.CallOption // the caller's

	mu       sync.Mutex // guards what follows
	current  grpc.ClientStream
	permit   *tether.Permit
	proof    *proof
	watched  bool // what the attempt brings is about to be seen: its end is no surprise
	settled  bool
	failing  bool          // it is being settled as a failure, and perhaps made again
	ended    bool          // the stream that is under way has
	over     error         // how
	release  func()        // gives back the place among the calls under way; nil: not kept, or given back
	seen     bool          // the caller has asked for the header
	request  any           // of a stream of answers
	complete bool          // the request was sent whole
	ends     []func(error) // the caller's, that hear of the end; nil: they have
}

func (e *edge) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s := &stream{edge: e, ctx: ctx, desc: desc, cc: cc, method: method, streamer: streamer}
	s.opts, s.ends = splitEnds(opts)
	permit, err := e.engine.Begin(ctx, *e.call(ctx, method, cc))
	if err != nil {
		return nil, s.ending(err)
	}
	for {
		err := s.open(permit)
		if err == nil {
			return s, nil
		}
		next, failure := permit.Next(s.failed(err, nil))
		if next == nil {
			return nil, s.ending(failure)
		}
		permit = next
	}
}

// ending tells the caller's options, once, how the call ended, and returns it with a status.
func (s *stream) ending(err error) error {
	err = withStatus(err)
	s.mu.Lock()
	ends := s.ends
	s.ends = nil
	s.mu.Unlock()
	for _, end := range ends {
		end(err)
	}
	return err
}

// open makes a stream for an attempt, and gives it the request that an earlier one had.
func (s *stream) open(permit *tether.Permit) error {
	returned := false
	defer func() {
		if !returned { // a panic, or Goexit, further in
			permit.Done(tether.Outcome{})
		}
	}()
	p := &proof{}
	p.reset()
	s.mu.Lock()
	s.permit, s.proof, s.watched, s.settled, s.failing, s.ended = permit, p, true, false, false, false
	s.mu.Unlock()
	opts := append(append(make([]grpc.CallOption, 0, len(s.opts)+2), s.opts...),
		grpc.HeaderCallOption{HeaderAddr: &p.header},
		grpc.OnFinishCallOption{OnFinish: func(err error) { p.finish(err); s.end(permit, err) }})
	ctx, again := s.edge.outgoing(permit.Context())
	if again {
		forget(s.opts)
	}
	current, err := s.streamer(ctx, s.desc, s.cc, s.method, opts...)
	returned = true
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.current, s.watched = current, s.complete
	request, complete, unseen, over := s.request, s.complete, s.ended && !s.complete, s.over
	s.settled = unseen
	s.mu.Unlock()
	if unseen {
		permit.Done(tether.Outcome{})
		_ = s.ending(over)
	}
	if !complete {
		return nil
	}
	if err := current.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // else RecvMsg has the status
		return err
	}
	return current.CloseSend()
}

// failed is what an attempt brought that ended with err; current is nil if it had no stream. An error of an
// interceptor further in may leave the stream as it is: then nobody knows what will come of it.
func (s *stream) failed(err error, current grpc.ClientStream) tether.Outcome {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	var a answer
	switch {
	case current == nil:
		a = s.proof.answer()
	case ended:
		a.header, _ = current.Header() // at once, now that the stream has ended
		a.trailer = current.Trailer()
	}
	out := s.edge.outcome(s.ctx, s.cc, s.method, err, a)
	if current == nil {
		return out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen || !s.complete || !ended || len(a.header) > 0 {
		out.Final = true
	}
	return out
}

// good settles the attempt: the server answers.
func (s *stream) good(header metadata.MD) {
	s.mu.Lock()
	if s.settled || s.failing {
		s.mu.Unlock()
		return
	}
	s.settled, s.request = true, nil
	permit := s.permit
	s.mu.Unlock()
	s.edge.heed(s.cc, header)
	release := permit.Keep()
	permit.Done(tether.Outcome{Class: tether.Healthy, Hint: hintOf(header, nil, nil)})
	s.mu.Lock()
	ended, over := s.ended, s.over
	if !ended {
		s.release = release
	}
	s.mu.Unlock()
	if ended {
		release()
		_ = s.ending(over)
	}
}

// end is told by grpc-go that an attempt's stream has ended, whoever ended it. One that nobody
// waits for, and that has shown no life, was given up by its caller and teaches nothing.
func (s *stream) end(permit *tether.Permit, err error) {
	s.mu.Lock()
	if s.permit != permit {
		s.mu.Unlock()
		return
	}
	unseen := !s.watched && !s.settled
	release := s.release
	s.ended, s.over, s.release, s.settled = true, err, nil, s.settled || unseen
	final := s.settled
	s.mu.Unlock()
	if unseen {
		permit.Done(tether.Outcome{})
	}
	if release != nil {
		release()
	}
	if final {
		_ = s.ending(err)
	}
}

// abandon gives up an attempt that a panic, or Goexit, further in took from whoever looked at it.
func (s *stream) abandon() {
	s.mu.Lock()
	permit, settled := s.permit, s.settled
	s.settled = true
	s.mu.Unlock()
	if !settled {
		permit.Done(tether.Outcome{})
	}
}

// watch begins a look at the attempt that is under way, unless it is settled.
func (s *stream) watch() (current grpc.ClientStream, permit *tether.Permit, settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = true
	return s.current, s.permit, s.settled
}

// RecvMsg receives, and makes the call again where nothing has come yet and that is safe.
func (s *stream) RecvMsg(m any) error {
	returned := false
	defer func() {
		if !returned {
			s.abandon()
		}
	}()
	err := s.receive(m)
	returned = true
	if err != nil || !s.desc.ServerStreams { // else an interceptor that loses the options would keep the place
		s.mu.Lock()
		permit := s.permit
		s.mu.Unlock()
		over := err
		if errors.Is(err, io.EOF) {
			over = nil
		}
		s.end(permit, over)
	}
	return err
}

func (s *stream) receive(m any) error {
	current, permit, settled := s.watch()
	err := current.RecvMsg(m)
	if settled {
		return err
	}
	for err != nil && !errors.Is(err, io.EOF) {
		out := s.failed(err, current)
		s.mu.Lock()
		settled := s.settled // by Header, meanwhile
		s.failing = !settled
		s.mu.Unlock()
		if settled {
			return s.ending(err)
		}
		next, failure := permit.Next(out)
		if next == nil {
			s.mu.Lock()
			s.settled = true
			s.mu.Unlock()
			if failure == nil { // settled meanwhile, by Header
				failure = err
			}
			return s.ending(failure)
		}
		permit, current = next, nil
		if err = s.open(permit); err == nil {
			current = s.now()
			err = current.RecvMsg(m)
		}
	}
	header, _ := current.Header()
	s.good(header)
	return err
}

func (s *stream) now() grpc.ClientStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// SendMsg sends. The request of a stream of answers is remembered, not copied, until the first
// answer.
func (s *stream) SendMsg(m any) error {
	s.mu.Lock()
	current := s.current
	if s.desc.ServerStreams && !s.desc.ClientStreams && !s.settled {
		s.seen = s.seen || s.request != nil // two requests are none that we know
		s.request = m
	}
	s.mu.Unlock()
	return current.SendMsg(m)
}

// CloseSend says that the request is whole.
func (s *stream) CloseSend() error {
	s.mu.Lock()
	current := s.current
	s.complete = s.request != nil
	s.mu.Unlock()
	return current.CloseSend()
}

// Header waits for the header. Who has asked for it gets the rest of the same stream: it is not
// made again.
func (s *stream) Header() (metadata.MD, error) {
	s.mu.Lock()
	s.seen = true
	s.mu.Unlock()
	current, _, _ := s.watch()
	header, err := current.Header()
	if len(header) > 0 {
		s.good(header)
	} else {
		s.headless(current)
	}
	return header, err
}

// headless settles a stream that ended without a header while Header was waiting: nobody may ask
// for more of it.
func (s *stream) headless(current grpc.ClientStream) {
	s.mu.Lock()
	unseen, err, permit := s.ended && !s.settled, s.over, s.permit
	s.settled = s.settled || unseen
	s.mu.Unlock()
	switch {
	case !unseen:
	case s.ctx.Err() != nil:
		permit.Done(tether.Outcome{})
	default:
		permit.Done(s.edge.outcome(s.ctx, s.cc, s.method, err, answer{trailer: current.Trailer()}))
	}
	if unseen {
		_ = s.ending(err)
	}
}

// Trailer is the trailer of the stream that the last message, or the error, came from.
func (s *stream) Trailer() metadata.MD { return s.now().Trailer() }

// Context is the context of the stream that is under way.
func (s *stream) Context() context.Context { return s.now().Context() }
