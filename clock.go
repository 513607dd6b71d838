package tether

import (
	"context"
	"net/http"
	"time"
)

// attemptClock ends an attempt that brings no response headers in time. A body that is being read is
// never ended by it, but its end ends the attempt's context. The nil clock sets no limit.
type attemptClock struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// startClock gives req a context that ends with the attempt timeout, or with the policy's call
// timeout. Where the caller's own deadline is as early there is nothing to add.
func (h *httpCall) startClock(req **http.Request) *attemptClock {
	limit, cause := h.policy.attemptTimeout, ErrAttemptTimeout
	if left := h.timeLeft(time.Now()); left >= 0 && (limit == 0 || left <= limit) {
		if !h.policyEnds {
			return nil
		}
		limit, cause = left, ErrCallTimeout
	}
	if limit == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(h)
	clock := &attemptClock{ctx: ctx, cancel: cancel}
	clock.timer = time.AfterFunc(limit, func() { cancel(cause) })
	*req = (*req).WithContext(ctx)
	return clock
}

// stop is called when the attempt has its response or error. It reports the timeout that came first.
func (c *attemptClock) stop() error {
	if c == nil || c.timer.Stop() {
		return nil
	}
	<-c.ctx.Done() // the timer's function may still be about to cancel
	return context.Cause(c.ctx)
}

// end lets go of the attempt's context.
func (c *attemptClock) end() {
	if c != nil {
		c.cancel(nil)
	}
}

// endWith ends the attempt's context together with resp's body.
func (c *attemptClock) endWith(resp *http.Response) {
	if c != nil {
		whenEnded(resp, c.end)
	}
}
