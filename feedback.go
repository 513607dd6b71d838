package tether

import (
	"context"
	"errors"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/ratelimit"
)

// settle tells each stage that admitted the attempt, once.
func (c *call) settle(p *Permit, out Outcome) {
	t := c.target
	t.inFlight.Add(-1)
	count(c.Context, c.engine.telemetry.attempts, t.series.byClass[min(out.Class, Overloaded)])
	switch out.Class {
	case Healthy:
		c.settleHealthy(p)
	case Transient:
		c.settleTransient(p, out)
	case Overloaded:
		c.settleOverloaded(p, out)
	default:
		t.gate.Ignored()
		p.ticket.Done(breaker.Ignored)
		p.lane.ignored()
	}
	t.line.wakeNext()
	if p.lane != nil {
		p.lane.line.wakeNext()
	}
	if c.single {
		if out.Class == Healthy {
			t.budget.Success()
		}
		c.finish()
	}
}

func (c *call) settleHealthy(p *Permit) {
	t, took := c.target, time.Since(p.sent)
	calm := !t.gate.Paced() && (p.lane == nil || !p.lane.gate.Paced())
	slow := t.learn(c.route(), took, calm)
	c.learnLate(p, took, calm)
	t.gate.Good(took, slow)
	t.answered(p.ticket)
	if p.lane != nil {
		p.lane.gate.Good(took, slow)
	}
}

// settleTransient tells pacing of attempts without an answer. One that reports a fault came from a
// server that answers: where three in ten fail, pacing would keep the other seven back.
func (c *call) settleTransient(p *Permit, out Outcome) {
	t := c.target
	p.lane.ignored()
	if errors.Is(out.Err, context.DeadlineExceeded) {
		t.learnTimeout(time.Since(p.sent))
	}
	switch {
	case out.Status != 0:
		t.gate.Ignored()
		p.ticket.Done(breaker.Fault)
		return
	case isTimeout(out.Err):
		c.failedAt(t.gate, p, ratelimit.TimedOut)
	default:
		c.failedAt(t.gate, p, ratelimit.Refused)
	}
	p.ticket.Done(breaker.Failure)
}

// failedAt tells a gate of a failure, and whoever watches if that begins to pace calls.
func (c *call) failedAt(gate *ratelimit.Gate, p *Permit, kind ratelimit.Failure) {
	if gate.Failed(kind) {
		c.engine.emit(Event{Kind: EventPaced, Target: c.target.name, Stage: StagePacing, Attempt: p.attempt,
			Note: kind.String()})
	}
}

// answered tells the breaker of an answer. If that is about to close it, the return begins before: no
// call may slip through between the two. A probe of an earlier state begins nothing.
func (t *target) answered(ticket breaker.Ticket) {
	if ticket.Probe() && t.breaker.State() != breaker.Closed {
		t.gate.Recovered()
	}
	ticket.Done(breaker.Success)
}

// settleOverloaded turns the server's "not now" into a hold, or into pacing where it names no time.
// To the breaker it is an answer.
func (c *call) settleOverloaded(p *Permit, out Outcome) {
	t := c.target
	if p.ticket.Probe() {
		t.answered(p.ticket)
	} else {
		p.ticket.Done(breaker.Ignored)
	}
	gate, l := t.gate, &t.line
	if out.Partitioned {
		t.gate.Ignored()
		if told := t.openLane(c.credential(), c.engine.rand); told != p.lane {
			p.lane.ignored()
			p.lane = told
		}
		gate, l = p.lane.gate, &p.lane.line
	} else {
		p.lane.ignored()
	}
	if out.Hint.Wait <= 0 {
		c.failedAt(gate, p, ratelimit.Overloaded)
		return
	}
	until := gate.Hold(out.Hint.Wait)
	l.wakeAll()
	c.engine.emit(Event{Kind: EventHeld, Target: t.name, Stage: StageHold, Attempt: p.attempt, Until: until})
}

const (
	// manyTimes the usual time without an answer is the server's failure and not the caller's haste.
	manyTimes = 10
	// unknownUseful is the time in which a server that nothing is known of should answer: enough for a
	// connection and its handshake across the world.
	unknownUseful = 500 * time.Millisecond
)

// outcomeOfContext corrects an outcome for the caller's own context: a cancelled call teaches nothing,
// nor does a deadline that left less than ten times the usual time.
func (c *call) outcomeOfContext(p *Permit, out Outcome) Outcome {
	err := c.Context.Err()
	if err == nil || out.Class == Healthy || out.Class == Overloaded || out.Status != 0 {
		return out
	}
	enough := unknownUseful
	if useful := c.target.useful(); useful > 0 {
		enough = min(manyTimes*useful, time.Second)
	}
	if errors.Is(err, context.DeadlineExceeded) && (time.Since(p.sent) >= enough || c.target.silent(p.sent)) {
		out.Class = Transient
	} else {
		out.Class = Ignored
	}
	return out
}

// isTimeout tells failures that may have cost the server a whole service from those that it never saw.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// silent notes that a deadline left an attempt little time and no answer came. It tells whether enough
// of them say so by now, with no answer between, that it is the server and not the callers' haste.
func (t *target) silent(sent time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hasty == 0 {
		t.hastySince = sent
	}
	t.hasty++
	return t.hasty > 10 && time.Since(t.hastySince) > time.Second
}
