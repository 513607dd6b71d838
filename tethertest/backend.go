package tethertest

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// server is the modelled backend and the network before it. It is safe for concurrent use.
type server struct {
	backend Backend
	headers time.Duration // that the base transport waits
	ends    time.Time     // of the fault
	log     *log

	mu      sync.Mutex // guards what follows
	rand    *rand.Rand
	fault   Fault
	busy    int
	waiting []*request // in order of arrival, from head on
	head    int
}

// request is one attempt on its way through the server.
type request struct {
	answered chan struct{}
	gone     bool // its caller
}

func newServer(r Rehearsal, l *log) *server {
	return &server{
		backend: r.Backend, headers: r.HeaderTimeout, log: l,
		rand: rand.New(rand.NewPCG(r.Seed, 0x5e4e4)), fault: Fault{Capacity: 1, Slower: 1},
	}
}

// befall changes what the server can do.
func (s *server) befall(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
	s.ends = time.Now().Add(f.For)
	s.serve()
}

// RoundTrip is the base transport of all clients.
func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	own := callOf(req.Context())
	s.log.attempt(own)
	status, header, extra, waits := s.accept()
	if waits == nil {
		time.Sleep(s.backend.Trip + extra)
		if status == http.StatusOK {
			return respond(req, status, header), nil
		}
		s.log.failure(own)
		if status == 0 {
			return nil, errRefused()
		}
		return respond(req, status, header), nil
	}
	if err := s.wait(req.Context(), waits, s.backend.Trip+extra); err != nil {
		s.log.failure(own)
		return nil, err
	}
	return respond(req, status, header), nil
}

// accept decides what becomes of a request: an answer at once, none (status 0), or a wait for it.
func (s *server) accept() (status int, header http.Header, extra time.Duration, waits *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	extra = s.backend.Extra + s.fault.Extra
	lot := s.rand.Float64()
	lose, fail := s.backend.Lose+s.fault.Lose, s.backend.Fail+s.fault.Fail
	switch {
	case s.fault.Down:
		return 0, nil, 0, nil
	case s.fault.Closed != 0:
		return s.fault.Closed, s.comeBack(), 0, nil
	case lot < lose:
		return 0, nil, 0, &request{}
	case lot < lose+fail:
		return http.StatusInternalServerError, nil, extra, nil
	case lot > 1-s.backend.Polls:
		return http.StatusOK, nil, s.backend.PollTime, nil
	case float64(len(s.waiting)-s.head) >= s.backend.Queue.Seconds()*s.backend.capacity():
		return http.StatusServiceUnavailable, nil, 0, nil
	}
	r := &request{answered: make(chan struct{})}
	s.waiting = append(s.waiting, r)
	s.serve()
	return http.StatusOK, nil, extra, r
}

// comeBack says when the fault ends.
func (s *server) comeBack() http.Header {
	seconds := strconv.Itoa(int((time.Until(s.ends) + time.Second - 1) / time.Second))
	switch s.fault.Says {
	case Date:
		return http.Header{"Retry-After": {s.ends.UTC().Format(http.TimeFormat)}}
	case RateLimit:
		return http.Header{"Ratelimit": {`"default";r=0;t=` + seconds}}
	case Epoch:
		return http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {strconv.FormatInt(s.ends.Unix(), 10)}}
	}
	return http.Header{"Retry-After": {seconds}}
}

// serve gives waiting requests to free workers. The server is locked.
func (s *server) serve() {
	workers := max(1, int(float64(s.backend.Workers)*s.fault.Capacity+0.5))
	for s.busy < workers && s.head < len(s.waiting) {
		r := s.waiting[s.head]
		s.waiting[s.head] = nil
		s.head++
		s.busy++
		took := time.Duration(float64(s.backend.Service.Draw(s.rand)) * s.fault.Slower)
		time.AfterFunc(took, func() { s.served(r) })
	}
	if s.head > 1000 && s.head > len(s.waiting)/2 {
		s.waiting = append(s.waiting[:0:0], s.waiting[s.head:]...)
		s.head = 0
	}
}

func (s *server) served(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	s.log.work(time.Now(), r.gone)
	close(r.answered)
	s.serve()
}

// wait returns nil when the answer's head has arrived.
func (s *server) wait(ctx context.Context, r *request, rest time.Duration) error {
	var timeout <-chan time.Time
	if s.headers > 0 {
		timer := time.NewTimer(s.headers)
		defer timer.Stop()
		timeout = timer.C
	}
	arrived := r.answered
	for {
		select {
		case <-arrived:
			if rest <= 0 {
				return nil
			}
			done := make(chan struct{})
			timer := time.AfterFunc(rest, func() { close(done) })
			defer timer.Stop()
			arrived, rest = done, 0
		case <-timeout:
			s.leave(r)
			return errHeaders{}
		case <-ctx.Done():
			s.leave(r)
			return ctx.Err()
		}
	}
}

func (s *server) leave(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.gone = true
}

func respond(req *http.Request, status int, header http.Header) *http.Response {
	if header == nil {
		header = make(http.Header)
	}
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(http.NoBody), Request: req,
	}
}

func errRefused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// errHeaders is what net/http's ResponseHeaderTimeout ends in, as far as anybody can tell.
type errHeaders struct{}

func (errHeaders) Error() string   { return "timeout awaiting response headers" }
func (errHeaders) Timeout() bool   { return true }
func (errHeaders) Temporary() bool { return true }
func (errHeaders) Is(err error) bool {
	return err == context.DeadlineExceeded
}
