package tether

import (
	"net/http"
	"time"

	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"

	"go.opentelemetry.io/otel/attribute"
)

// isHedgeable tells whether two of a request may be under way at once. Declared is what its caller said of
// it: that a method is idempotent says nothing about two at the same moment, nor that its body can be read
// twice at once.
func isHedgeable(req *http.Request, declared bool) bool {
	if req.Header.Get("Upgrade") != "" { // a conversation, and not a question
		return false
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return declared || req.Body == nil || req.Body == http.NoBody
	}
	return declared
}

// hedgeAfter is how long the coming attempt may go without an answer before it is hedged; 0: it isn't.
func (h *httpCall) hedgeAfter() time.Duration {
	p := &h.policy.Hedge
	if *p == (policy.Hedging{}) || !h.hedgeable || h.inner || h.attempts >= h.policy.Retry.MaxAttempts {
		return 0
	}
	var delay time.Duration
	if p.Delay > 0 { // the same in all clients, so that those that call together would hedge together
		delay = p.Delay + time.Duration(h.engine.rand()*float64(p.Delay)/2)
	}
	if p.Up > 0 {
		delay = max(delay, h.Target.Late(h.Endpoint))
	}
	if left := h.timeLeft(time.Now()); left >= 0 && delay+h.Target.Useful() >= left {
		return 0
	}
	return delay
}

// admitHedge passes a hedge through the stages, as every attempt. But it takes only what no call waits
// for, and doesn't wait: where anything at all stands in its way it isn't sent, and nil is returned. It runs on the
// goroutine of the hedge's timer, and writes nothing of the call; see [race].
func (c *call) admitHedge() *Permit {
	newest := c.engine.config.Load()
	if c.Context.Err() != nil ||
		newest.Killed(c.Scheme, c.Host, c.Method, c.Path, c.GRPCMethod, time.Now()) != nil {
		return nil
	}
	p := &Permit{call: c, attempt: c.attempts + 1, pass: target.Pass{Hedge: true, Lane: c.ownLane()}}
	c.Target.Flush()
	at := c.Target.Door()
	calm := at.Calm() && (p.pass.Lane == nil || p.pass.Lane.Door().Calm())
	if !calm || !c.Target.Budget.Take() {
		return nil
	}
	a := c.asking()
	if c.Target.Try(&p.pass, &a, at, 0) != nil {
		c.Target.Budget.Refund()
		return nil
	}
	late := p.pass.Ticket.Probe() // the breaker opened and half closed meanwhile
	if p.pass.Lane != nil && c.Target.Try(&p.pass, &a, p.pass.Lane.Door(), 0) != nil {
		p.pass.Lane, late = nil, true
	}
	if late {
		c.unadmitHedge(p)
		return nil
	}
	return p
}

// unadmitHedge gives back what admitHedge gave to a hedge that isn't sent.
func (c *call) unadmitHedge(p *Permit) {
	c.Target.Budget.Refund()
	c.Target.GiveBack(&p.pass, c.criticality)
	if p.pass.Lane != nil {
		p.pass.Lane.Untake()
	}
}

// hedging counts and reports a hedge that is about to be sent. Who observes may be slow, and mustn't hold
// up the attempt: the call's end delivers the event.
func (c *call) hedging(p, beside *Permit) {
	p.pass.SentAt = c.Sample.Now()
	c.Target.Stats.Attempts.Add(1)
	c.Target.Stats.Hedges.Add(1)
	c.Target.InFlight.Add(1)
	waited := p.pass.SentAt.Since(beside.pass.SentAt)
	c.spanEvent("tether.hedge", attribute.Float64("tether.delay", waited.Seconds()))
	c.engine.note(Event{Kind: EventHedge, Target: c.Target.Name, Attempt: beside.attempt, Wait: waited})
}

// hedgeResult is what became of a hedge that was due.
type hedgeResult uint8

const (
	hedgeDenied hedgeResult = iota // not sent
	hedgeServed                    // its answer was first
	hedgeOutrun                    // the attempt's answer was first
	hedgeFailed                    // neither was served
)

func (r hedgeResult) String() string {
	return [...]string{"denied", "served", "outrun", "failed"}[min(r, hedgeFailed)]
}
