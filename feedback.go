package tether

import (
	"context"
	"errors"
	"time"

	"github.com/tether-go/tether/breaker"
)

// settle tells each stage that admitted the attempt, once.
func (c *call) settle(p *Permit, out Outcome) {
	t := c.target
	took := time.Since(p.sent)
	t.inFlight.Add(-1)
	count(c.Context, c.engine.telemetry.attempts, t.series.byClass[min(out.Class, Overloaded)])
	switch out.Class {
	case Healthy:
		t.gate.Healthy()
		t.answered(p.ticket)
		if p.lane != nil {
			p.lane.gate.Healthy()
		}
		t.learn(took)
	case Transient:
		if errors.Is(out.Err, context.DeadlineExceeded) {
			t.learnTimeout(took)
		}
		if out.Status != 0 {
			p.ticket.Done(breaker.Fault)
		} else {
			p.ticket.Done(breaker.Failure)
		}
	case Overloaded:
		c.settleOverloaded(p, out)
	default:
		p.ticket.Done(breaker.Ignored)
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
		p.lane = t.openLane(c.credential(), c.engine.rand)
		gate, l = p.lane.gate, &p.lane.line
	}
	if out.Hint.Wait <= 0 {
		gate.Overloaded()
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
func (c *call) outcomeOfContext(out Outcome) Outcome {
	err := c.Context.Err()
	if err == nil || out.Class == Healthy || out.Class == Overloaded || out.Status != 0 {
		return out
	}
	enough := unknownUseful
	if useful := c.target.useful(); useful > 0 {
		enough = min(manyTimes*useful, time.Second)
	}
	if errors.Is(err, context.DeadlineExceeded) && time.Since(c.permit.sent) >= enough {
		out.Class = Transient
	} else {
		out.Class = Ignored
	}
	return out
}
