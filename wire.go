package tether

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// wire follows an attempt through net/http. It proves, where errors can't, that a request never left,
// and counts what net/http sends again by itself. Its hooks may still be called when the attempt has
// ended.
type wire struct {
	proves      bool        // the transport is known to tell the trace of every connection
	asked       atomic.Bool // for a connection
	connections atomic.Int32
	headed      atomic.Bool // a request's head was complete, and may be under way
}

// watch puts a wire into the attempt's context: only where a repeat depends on what it sees, or where
// somebody counts. It returns nil where neither is so.
func (h *httpCall) watch(ctx context.Context) (context.Context, *wire) {
	// Another RoundTripper may send a request past the trace, after one that failed on the trace.
	_, known := h.base.(*http.Transport)
	needed := known && !h.Idempotent && h.replayable && !h.inner
	if !needed && !h.engine.telemetry.Resends.Enabled(ctx) {
		return ctx, nil
	}
	w := &wire{proves: needed}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { w.asked.Store(true) },
		GotConn:      func(httptrace.GotConnInfo) { w.connections.Add(1) },
		WroteHeaders: func() { w.headed.Store(true) },
	}), w
}

// neverLeft tells whether it is proved that no whole request head left, and so that no server can have
// acted on it (RFC 9112 section 2.2, RFC 9113 section 4.3). Without a connection there was nothing to
// send on. With one, the transport tells of the head before it returns, unless a context ends: then
// HTTP/2 may still write it.
func (w *wire) neverLeft(ctx context.Context, err error) bool {
	switch {
	case w == nil || !w.proves || !w.asked.Load() || w.headed.Load():
		return false
	case w.connections.Load() == 0:
		return true
	}
	return ctx.Err() == nil && !errors.Is(err, context.Canceled) // which Request.Cancel brings too
}

// countResends adds what net/http sent again within the attempt: each needed a connection.
func (h *httpCall) countResends(w *wire) {
	if w == nil {
		return
	}
	if n := w.connections.Load() - 1; n > 0 {
		h.engine.telemetry.Resends.Add(h.Context, int64(n), h.Target.Series.Plain...)
	}
}
