package tether

import (
	"context"
	"net/http"

	"github.com/tether-go/tether/internal/httpwire"
	"github.com/tether-go/tether/internal/queue"
)

// watch puts a wire into the attempt's context: only where a repeat depends on what it sees, or where
// somebody counts. It returns nil where neither is so.
func (h *httpCall) watch(ctx context.Context) (context.Context, *httpwire.Wire) {
	// Another RoundTripper may send a request past the trace, after one that failed on the trace.
	_, known := h.base.(*http.Transport)
	needed := known && !h.Idempotent && h.replayable && !h.inner
	if !needed && !h.engine.telemetry.Resends.Enabled(ctx) {
		return ctx, nil
	}
	return httpwire.Watch(ctx, needed)
}

// countResends adds what net/http sent again within the attempt: each needed a connection.
func (h *httpCall) countResends(w *httpwire.Wire) {
	if w == nil {
		return
	}
	if n := w.Resends(); n > 0 {
		h.engine.telemetry.Resends.Add(h.Context, int64(n), h.Target.Series.Plain...)
	}
}

// spoolBody keeps the call's body, where the application has asked for that and a repeat may need it.
func (h *httpCall) spoolBody() {
	limit, body := h.engine.opts.BufferBodies, h.request.Body
	if limit == 0 || h.replayable || h.inner || h.request.ContentLength > limit ||
		h.policy.Retry.MaxAttempts < 2 || h.policy.BudgetRatio == 0 && !h.mayFallBack() {
		return
	}
	h.replayable = true
	h.spool = httpwire.NewSpool(body, int(limit), int(h.request.ContentLength))
}

// lend leaves the attempt's place among those under way to the body of its answer, and returns the answer with that
// body. It is a copy: net/http may keep the response that it made until the body ends. Nothing but the caller may keep
// the new body alive, so that one that is forgotten frees its place.
func lend(p *Permit, line *queue.Queue, resp *http.Response) *http.Response {
	end := p.pass.Lend(line)
	if end == nil {
		return resp
	}
	if resp.Trailer == nil {
		resp.Trailer = make(http.Header) // net/http fills its response's when the body ends: both have the same
	}
	own := *resp
	httpwire.WhenEnded(&own, end)
	return &own
}
