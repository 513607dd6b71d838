package tether

import (
	"context"
	"github.com/tether-go/tether/internal/httpwire"
	"net/http"
	"time"
)

// attemptClock ends an attempt that brings no response headers in time. A body that is being read is
// never ended by it, but its end ends the attempt's context. The nil clock sets no limit.
type attemptClock struct {
	ctx    context.Context
	ends   time.Time
	cancel context.CancelCauseFunc
	timer  *time.Timer
	handed bool // the end is the body's to tell
}

// startClock derives a context that ends with the attempt timeout, or with the policy's call timeout.
// Where the caller's own deadline is as early there is nothing to add, and the clock is nil.
func (c *call) startClock(parent context.Context) (context.Context, *attemptClock) {
	limit, cause := c.policy.AttemptTimeout, ErrAttemptTimeout
	if limit == 0 && !c.policyEnds {
		return parent, nil
	}
	if left := c.timeLeft(time.Now()); left >= 0 && (limit == 0 || left <= limit) {
		if !c.policyEnds {
			return parent, nil
		}
		limit, cause = max(left, 1), ErrCallTimeout // 0 would mean no limit
	}
	ctx, cancel := context.WithCancelCause(parent)
	clock := &attemptClock{ctx: ctx, ends: time.Now().Add(limit), cancel: cancel}
	clock.timer = time.AfterFunc(limit, func() { cancel(cause) })
	return ctx, clock
}

// deadlined is a context that tells when it will be ended: for those who tell the server, as gRPC does.
type deadlined struct {
	context.Context
	ends time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.ends, true }

// shown returns the attempt's context, with the clock's end as its deadline.
func (c *attemptClock) shown(ctx context.Context) context.Context {
	if c == nil {
		return ctx
	}
	return deadlined{ctx, c.ends}
}

// stop is called when the attempt has its response or error. It reports the timeout that came first.
func (c *attemptClock) stop() error {
	if c == nil || c.timer.Stop() {
		return nil
	}
	<-c.ctx.Done() // the timer's function may still be about to cancel
	return context.Cause(c.ctx)
}

// endUnlessHanded lets go of the attempt's context, unless its body will.
func (c *attemptClock) endUnlessHanded() {
	if c != nil && !c.handed {
		c.timer.Stop()
		c.cancel(nil)
	}
}

// endWith ends the attempt's context together with resp's body.
func (c *attemptClock) endWith(resp *http.Response) {
	if c != nil {
		c.handed = true
		httpwire.WhenEnded(resp, func() { c.cancel(nil) })
	}
}
