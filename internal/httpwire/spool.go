package httpwire

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/tether-go/tether/retry"
)

// maxBufferBodies bounds [Options.BufferBodies]: what is kept is memory in every call under way.
const MaxBufferBodies = 1 << 20

var (
	errTooLong    = fmt.Errorf("tether: more of the body was sent than is kept: %w", retry.ErrBody)
	errSuperseded = errors.New("tether: a later attempt sends the body")
)

// Spool is the body of a request without GetBody. It is read once, when and as fast as an attempt asks
// for it, and kept up to limit, so that each attempt's reader begins at the start. A longer one is
// given up, and stays the stream that it was for the one attempt that has it. Readers may overlap: a
// transport may still send an attempt's body when the answer is here and the repeat begins. Only then
// may a read more than limit be kept.
type Spool struct {
	source io.ReadCloser
	limit  int
	size   int // that the request tells; at most limit, or not known

	mu      sync.Mutex // guards what follows, and the readers
	changed sync.Cond  // on mu
	data    []byte     // what source has brought; nil when over
	err     error      // of source, after data
	over    bool       // source has brought more than limit
	reading bool       // a reader is at source; the others wait for what it brings
	claimed bool       // a repeat may come, so data stays
	ended   bool       // no repeat will come
	latest  *spoolReader
}

// NewSpool keeps up to limit bytes of a body. Size is what its request tells, at most limit; negative: unknown.
func NewSpool(source io.ReadCloser, limit, size int) *Spool {
	s := &Spool{source: source, limit: limit, size: size}
	s.changed.L = &s.mu
	return s
}

// Open returns a reader of the whole body. It has the form of GetBody: net/http may send a request
// again within an attempt.
func (s *Spool) Open() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, errTooLong
	}
	s.claimed = false
	s.latest = &spoolReader{spool: s}
	s.changed.Broadcast()
	return s.latest, nil
}

// Claim tells, after an attempt, whether the body can be sent again, and keeps that so until the next
// attempt or the call's end: what source brings beyond limit waits until then. It also tells how much
// is kept.
func (s *Spool) Claim() (kept int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = !s.over
	return len(s.data), !s.over
}

// Failed tells whether err is the body's own: it says nothing about the server, and a repeat would bring
// it again.
func (s *Spool) Failed(err error) bool {
	if s == nil || err == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil && s.err != io.EOF && errors.Is(err, s.err)
}

// End says that no further attempt comes. The last one's reader may still be read; closing it closes the
// source.
func (s *Spool) End() {
	s.mu.Lock()
	s.ended, s.claimed = true, false
	s.changed.Broadcast()
	unused := s.latest == nil || s.latest.closed
	s.mu.Unlock()
	if unused {
		s.source.Close()
	}
}

// spoolReader is one attempt's reader of a spool. Another goroutine may close it while it reads.
type spoolReader struct {
	spool  *Spool
	at     int
	closed bool
}

func (r *spoolReader) Read(p []byte) (int, error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		room := s.limit - len(s.data)
		mayPass := r == s.latest && !s.claimed // the limit, and so give up what is kept
		switch {
		case r.closed:
			return 0, http.ErrBodyReadAfterClose
		case r.at < len(s.data):
			n := copy(p, s.data[r.at:])
			r.at += n
			return n, nil
		case r != s.latest && s.over: // it has missed what the latest was given
			return 0, errSuperseded
		case s.err != nil:
			return 0, s.err
		case r != s.latest && room <= 0:
			return 0, errSuperseded
		case !s.reading && (mayPass || room > 0):
			return r.readOn(p)
		}
		s.changed.Wait()
	}
}

// readOn reads from the source, the lock released meanwhile.
func (r *spoolReader) readOn(p []byte) (n int, err error) {
	s := r.spool
	s.reading = true
	func() {
		s.mu.Unlock()
		defer func() { // a panic too
			s.mu.Lock()
			s.reading = false
			s.changed.Broadcast()
		}()
		n, err = s.source.Read(p)
	}()
	alone := r == s.latest && !s.claimed // nobody else needs what is kept
	if s.over || alone && len(s.data)+n > s.limit {
		s.over, s.data = true, nil
	} else {
		if s.data == nil {
			s.data = make([]byte, 0, max(n, s.size))
		}
		s.data = append(s.data, p[:n]...)
	}
	r.at += n
	s.err = err
	return n, err
}

// Close lets go of the source with the last attempt's reader.
func (r *spoolReader) Close() error {
	s := r.spool
	s.mu.Lock()
	again := r.closed
	r.closed = true
	s.changed.Broadcast()
	last := s.ended && r == s.latest
	s.mu.Unlock()
	if last && !again {
		return s.source.Close()
	}
	return nil
}
