package httpwire

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	keepAtMost = 64 << 10              // of an answer whose call is repeated
	keepGrace  = 10 * time.Millisecond // that a repeat waits for the rest of it
)

// KeptBody is the body of an answer whose call is going to be repeated. It is read ahead while the
// call waits, so that the connection is free again, and still there should the repeat be refused.
// What is larger than keepAtMost, or dribbles, is read no further than that; the repeat then closes it.
type KeptBody struct {
	source io.ReadCloser
	done   chan struct{} // closed when reading ahead has ended; what follows is set then
	ahead  bytes.Reader
	err    error // of the source after what was read ahead; nil: there is more
	closed sync.Once
}

// peekGrace is how long the first bytes of a gRPC answer are waited for: what is over comes together with its
// head, and what isn't may be delayed by as much (law 10).
const peekGrace = 10 * time.Millisecond

// PeekBody reads ahead what of a body comes first, and no more.
func PeekBody(source io.ReadCloser) *KeptBody {
	k := &KeptBody{source: source, done: make(chan struct{})}
	go func() {
		defer close(k.done)
		first := make([]byte, 512)
		n, err := source.Read(first)
		k.ahead.Reset(first[:n])
		k.err = err
	}()
	return k
}

// IsEmpty tells whether a body that is peeked into ends within a moment, and has nothing.
func (k *KeptBody) IsEmpty() bool {
	timer := time.NewTimer(peekGrace)
	defer timer.Stop()
	select {
	case <-k.done:
		return k.ahead.Len() == 0 && k.err == io.EOF
	case <-timer.C:
		return false
	}
}

func KeepBody(source io.ReadCloser) *KeptBody {
	k := &KeptBody{source: source, done: make(chan struct{})}
	go k.readAhead()
	return k
}

func (k *KeptBody) readAhead() {
	defer close(k.done)
	data, err := io.ReadAll(io.LimitReader(k.source, keepAtMost))
	k.ahead.Reset(data)
	switch {
	case err != nil:
		k.err = err
	case len(data) < keepAtMost:
		k.err = io.EOF
	}
	if k.err != nil {
		k.closeSource()
	}
}

// Complete waits a moment for the whole body to be here. If it isn't, it closes it: the connection
// must not be held while the call is made again.
func (k *KeptBody) Complete() bool {
	select {
	case <-k.done:
	default:
		timer := time.NewTimer(keepGrace)
		defer timer.Stop()
		select {
		case <-k.done:
		case <-timer.C:
			k.closeSource()
			return false
		}
	}
	if k.err != io.EOF {
		k.closeSource()
		return false
	}
	return true
}

func (k *KeptBody) Read(p []byte) (int, error) {
	<-k.done
	if k.ahead.Len() > 0 {
		return k.ahead.Read(p)
	}
	if k.err != nil {
		return 0, k.err
	}
	return k.source.Read(p)
}

func (k *KeptBody) Close() error {
	k.closeSource()
	return nil
}

func (k *KeptBody) closeSource() { k.closed.Do(func() { k.source.Close() }) }

// endingBody tells when a body has ended: read to its end, failed or closed.
type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}

// WriteTo keeps the source's own way of copying itself.
func (b *endingBody) WriteTo(w io.Writer) (int64, error) {
	defer b.end()
	return io.Copy(w, b.ReadCloser)
}

func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// endingConn is the endingBody of a connection that was upgraded (101), which is written to as well.
type endingConn struct {
	endingBody
	io.Writer
}

// CloseWrite ends the half that is written to, as net/http's own connections can: a reverse proxy
// does so and reads on.
func (c *endingConn) CloseWrite() error {
	if half, ok := c.ReadCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}

// WhenEnded arranges for end to be called, once or more, when resp's body has ended.
func WhenEnded(resp *http.Response, end func()) {
	if resp.Body == nil || resp.Body == http.NoBody {
		end()
		return
	}
	body := endingBody{resp.Body, end}
	if w, ok := resp.Body.(io.Writer); ok {
		resp.Body = &endingConn{body, w}
		return
	}
	resp.Body = &body
}
