package memnet

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxBuffered is how many bytes one direction holds before a write waits, about what a socket
// does. It isn't zero, as in net.Pipe: there a server that hangs keeps a small request from being
// sent, and so http.Transport.ResponseHeaderTimeout, which begins after that, from ever firing;
// and a client that forgets a small body keeps the handler from ending.
const maxBuffered = 64 << 10

// pipe returns the two ends of a connection.
func pipe(client, server address) (*conn, *conn) {
	up, down := newStream(), newStream()
	return &conn{in: down, out: up, local: client, remote: server},
		&conn{in: up, out: down, local: server, remote: client}
}

// conn is one end of a connection. It is safe for concurrent use.
type conn struct {
	in, out       *stream
	local, remote address
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err == io.EOF {
		return n, err // a reader compares it, so it comes bare as from every net.Conn
	}
	return n, c.wrap("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// Close lets the peer read what was written, then io.EOF; the peer's writes fail from now on.
func (c *conn) Close() error {
	err := c.in.close(&c.in.reader)
	c.out.close(&c.out.writer) // closed together with in, so it has nothing to add
	return c.wrap("close", err)
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.setDeadline(&c.in.reader, t))
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.wrap("set", c.out.setDeadline(&c.out.writer, t))
}

// wrap dresses an error as package net does, so that code under test meets the types that it meets
// in production; net.OpError passes Timeout on.
func (c *conn) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// stream is one direction of a connection: bytes that were written and not yet read.
type stream struct {
	mu      sync.Mutex // guards what follows; never held for long, as a wait for it is not durable
	changed sync.Cond  // on mu; every change of what follows is broadcast
	buf     bytes.Buffer
	reader  side
	writer  side
	writing bool // a write is under way; another waits, so that their bytes do not mix
}

// side is what one end of a stream has done to it.
type side struct {
	closed  bool
	expired bool
	timer   *time.Timer // expires the deadline; nil without one
}

func newStream() *stream {
	s := new(stream)
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch err := s.reader.err(); {
		case err != nil:
			return 0, err
		case len(p) == 0:
			return 0, nil
		case s.buf.Len() > 0:
			s.changed.Broadcast()
			return s.buf.Read(p)
		case s.writer.closed:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing {
		if err := s.writeErr(); err != nil {
			return 0, err
		}
		s.changed.Wait()
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.changed.Broadcast()
	}()
	for {
		if err := s.writeErr(); err != nil || n == len(p) {
			return n, err
		}
		room := min(maxBuffered-s.buf.Len(), len(p)-n)
		if room == 0 {
			s.changed.Wait()
			continue
		}
		s.buf.Write(p[n : n+room])
		n += room
		s.changed.Broadcast()
	}
}

// writeErr is why nothing more can be written, or nil.
func (s *stream) writeErr() error {
	if err := s.writer.err(); err != nil {
		return err
	}
	if s.reader.closed {
		return os.NewSyscallError("write", syscall.EPIPE)
	}
	return nil
}

// err is why the side itself can't go on, or nil.
func (d *side) err() error {
	switch {
	case d.closed:
		return net.ErrClosed
	case d.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// close ends the stream from one of its sides. What a reader left behind is lost with it.
func (s *stream) close(d *side) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	d.closed = true
	d.stop()
	if d == &s.reader {
		s.buf = bytes.Buffer{}
	}
	s.changed.Broadcast()
	return nil
}

// setDeadline expires reads or writes, pending ones and later ones, from t on; zero is never.
func (s *stream) setDeadline(d *side, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	d.stop()
	d.expired = false
	if t.IsZero() {
		return nil
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		s.changed.Broadcast()
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.timer == timer { // not replaced while this one was on its way
			d.expired = true
			s.changed.Broadcast()
		}
	})
	d.timer = timer
	return nil
}

func (d *side) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
