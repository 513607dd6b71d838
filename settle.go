package tether

import (
	"context"
	"errors"
	"time"

	"github.com/tether-go/tether/internal/metrics"
	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"
)

// settle tells the target what an attempt brought, once, and whoever watches what came of that.
func (c *call) settle(p *Permit, out *Outcome, now time.Time) {
	metrics.Count(c.Context, c.engine.telemetry.Attempts, c.Target.Series.ByOutcome[min(out.Class, Overloaded)])
	a := c.answer(p, out)
	s := target.Settled{Whose: func() (credential, place uint64) { return c.credential(), c.place() }}
	c.Target.Settle(&p.pass, &a, now, &s)
	c.report(p, &s)
}

// answer is an outcome in the target's words.
func (c *call) answer(p *Permit, out *Outcome) target.Answer {
	return target.Answer{
		Kind: target.Kind(min(out.Class, Overloaded)), Said: out.Hint, Answered: out.answered(), TimedOut: out.timedOut(),
		RanOut:      out.Code == policy.CodeDeadlineExceeded || errors.Is(out.Err, context.DeadlineExceeded),
		Partitioned: out.Partitioned, Stream: c.single, Wait: out.wait(), Sent: p.sent(), Endpoint: c.Endpoint,
		Breaker: &c.policy.Breaker, HedgeUp: c.policy.Hedge.Up,
	}
}

// report makes events of what came of an answer.
func (c *call) report(p *Permit, s *target.Settled) {
	for _, n := range s.Notices {
		kind := EventHeld
		switch n.Stage {
		case target.StagePacing:
			kind = EventPaced
		case target.StageConcurrency:
			kind = EventLimit
		}
		c.engine.emit(Event{Kind: kind, Target: c.Target.Name, Stage: Stage(n.Stage), Attempt: p.attempt, Until: n.Until, Note: n.Note})
	}
}

const (
	// manyTimes the usual time without an answer is the server's failure and not the caller's haste.
	manyTimes = 10
	// unknownUseful is the time in which a server that nothing is known of should answer: enough for a
	// connection and its handshake across the world.
	unknownUseful = 500 * time.Millisecond
)

// heedContext corrects an outcome for the caller's own context: a cancelled call teaches nothing,
// nor does a deadline that left less than ten times the usual time.
func (c *call) heedContext(p *Permit, out *Outcome) {
	if out.Class == Healthy || out.Class == Overloaded || out.answered() {
		return
	}
	err := c.Context.Err()
	if err == nil {
		return
	}
	enough := unknownUseful
	if useful := c.Target.Useful(); useful > 0 {
		enough = min(manyTimes*useful, time.Second)
	}
	if errors.Is(err, context.DeadlineExceeded) && (time.Since(p.sent()) >= enough || c.Target.Silent(p.sent())) {
		out.Class = Transient
	} else {
		out.Class = Ignored
	}
}

// isTimeout tells an error that says of itself that time ran out.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
