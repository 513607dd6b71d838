package httpwire

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
)

// Wire follows an attempt through net/http. It proves, where errors can't, that a request never left,
// and counts what net/http sends again by itself. Its hooks may still be called when the attempt has
// ended.
type Wire struct {
	proves      bool        // the transport is known to tell the trace of every connection
	asked       atomic.Bool // for a connection
	connections atomic.Int32
	headed      atomic.Bool // a request's head was complete, and may be under way
}

// NeverLeft tells whether it is proved that no whole request head left, and so that no server can have
// acted on it (RFC 9112 section 2.2, RFC 9113 section 4.3). Without a connection there was nothing to
// send on. With one, the transport tells of the head before it returns, unless a context ends: then
// HTTP/2 may still write it.
func (w *Wire) NeverLeft(ctx context.Context, err error) bool {
	switch {
	case w == nil || !w.proves || !w.asked.Load() || w.headed.Load():
		return false
	case w.connections.Load() == 0:
		return true
	}
	return ctx.Err() == nil && !errors.Is(err, context.Canceled) // which Request.Cancel brings too
}

// Watch puts a wire into an attempt's context. Proves says that the transport tells the trace of every connection.
func Watch(ctx context.Context, proves bool) (context.Context, *Wire) {
	w := &Wire{proves: proves}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { w.asked.Store(true) },
		GotConn:      func(httptrace.GotConnInfo) { w.connections.Add(1) },
		WroteHeaders: func() { w.headed.Store(true) },
	}), w
}

// Resends is how often the transport sent the request again by itself: each time needed a connection.
func (w *Wire) Resends() int32 {
	if w == nil {
		return 0
	}
	return w.connections.Load() - 1
}
