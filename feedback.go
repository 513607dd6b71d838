package tether

import (
	"cmp"
	"context"
	"errors"
	"github.com/tether-go/tether/internal/metrics"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// settle tells each stage that admitted the attempt, once.
func (c *call) settle(p *Permit, out *Outcome, now time.Time) {
	t := c.target
	if out.Class != Healthy && out.Class != Ignored {
		t.beginTrouble()
		defer t.endTrouble()
	}
	t.tell()
	t.inFlight.Add(-1)
	metrics.Count(c.Context, c.engine.telemetry.Attempts, t.series.ByOutcome[min(out.Class, Overloaded)])
	switch out.Class {
	case Healthy:
		c.settleHealthy(p, out, now)
		t.calmDown()
	case Transient:
		c.settleTransient(p, out)
	case Overloaded:
		c.settleOverloaded(p, out, now)
	default:
		t.gate.Ignored()
		p.ticket.Done(breaker.Ignored)
		p.lane.ignored()
	}
	p.end()
	t.line.WakeNext()
	if p.lane != nil {
		p.lane.line.WakeNext()
	}
}

func (c *call) settleHealthy(p *Permit, out *Outcome, now time.Time) {
	t, took := c.target, now.Sub(p.sent())
	calm := !t.gate.Paced() && (p.lane == nil || !p.lane.gate.Paced())
	var slow time.Duration
	if c.single { // its end, or its first message, may be hours away: that is no answer's time
		took = min(took, cmp.Or(t.useful(), took))
	} else {
		slow = t.learn(t.clock.MomentOf(now), c.route, took, calm, c.policy.Breaker.SlowCallRatio > 0)
		c.learnLate(p, took, calm)
	}
	t.gate.GoodAt(now, took, slow)
	if t.concurrency.Answered(took, slow) {
		c.tellLimit(p, "lifted")
	}
	t.deference.Good(took, slow)
	t.answered(p.ticket, c.result(took, slow), now)
	held := c.heed(p, out)
	if p.lane != nil && p.lane != held {
		p.lane.gate.GoodAt(now, took, slow)
	}
}

// heed takes over what an answer that refused nothing says about a quota: what is left is spread, and
// where nothing is, calls of that credential and partition are held until there is more. It returns the
// lane that is held, if one is.
func (c *call) heed(p *Permit, out *Outcome) (held *lane) {
	said, e, t := &out.Hint, c.engine, c.target
	q := said.Quota
	paces := q.Paces()
	scarce := paces && (q.Remaining == 0 || q.Tight(t.gate.Usual()))
	if said.Scope == hint.AllRequests && (!paces || !scarce && !t.hasLanes()) {
		return nil
	}
	l := t.told(c.credential(), c.place(), e.nameOfPartition(*said), said.Scope, scarce, e.rand)
	if l == nil || !paces || l.shared { // a number of one is no word about all who share
		return nil
	}
	l.allowance.Tell(q, p.sent())
	if q.Remaining > 0 {
		return nil
	}
	c.hold(p, l, q.Reset, "quota")
	return l
}

// hold keeps a lane's calls back, and tells whoever watches.
func (c *call) hold(p *Permit, l *lane, wait time.Duration, note string) {
	until := c.target.hold(l, wait)
	c.engine.emit(Event{Kind: EventHeld, Target: c.target.name, Stage: StageHold, Attempt: p.attempt,
		Until: until, Note: note})
}

// holdAll keeps all of the target's calls back.
func (c *call) holdAll(p *Permit, wait time.Duration) {
	c.target.beginTrouble()
	until := c.target.gate.Hold(wait)
	c.target.endTrouble()
	c.target.line.WakeAll()
	c.engine.emit(Event{Kind: EventHeld, Target: c.target.name, Stage: StageHold, Attempt: p.attempt, Until: until})
}

// settleTransient tells pacing of attempts without an answer. One that reports a fault came from a
// server that answers: where three in ten fail, pacing would keep the other seven back.
func (c *call) settleTransient(p *Permit, out *Outcome) {
	t := c.target
	p.lane.ignored()
	c.heed(p, out)
	if out.Code == policy.CodeDeadlineExceeded || errors.Is(out.Err, context.DeadlineExceeded) {
		t.learnTimeout(time.Since(p.sent()))
	}
	switch {
	case out.answered():
		t.gate.Ignored()
		p.ticket.Done(breaker.Fault)
		return
	case out.timedOut():
		c.lost(p)
		c.failedAt(t.gate, p, pacing.TimedOut)
	default:
		c.failedAt(t.gate, p, pacing.Refused)
	}
	p.ticket.Done(breaker.Failure)
}

// failedAt tells a gate of a failure, and whoever watches if that begins to pace calls. A lane's tells nothing
// of the target: calls of other credentials have no reason to give way.
func (c *call) failedAt(gate *pacing.Gate, p *Permit, kind pacing.Failure) {
	if gate == c.target.gate {
		c.target.deference.Failed(kind)
	}
	if gate.Failed(kind) {
		c.engine.emit(Event{Kind: EventPaced, Target: c.target.name, Stage: StagePacing, Attempt: p.attempt,
			Note: kind.String()})
	}
}

// answered tells the breaker of an answer. If that is about to close it, the return begins before: no
// call may slip through between the two. A probe of an earlier state begins nothing.
func (t *target) answered(ticket breaker.Ticket, result breaker.Result, now time.Time) {
	if result == breaker.Success && ticket.Probe() && t.breaker.Refuses() {
		t.gate.Recovered()
	}
	ticket.DoneAt(now, result)
}

// result is what a good answer is to the breaker: slow, where the policy counts that, if it took longer
// than the policy or the usual time of its route says. A stream's end is no answer.
func (c *call) result(took, slow time.Duration) breaker.Result {
	p := &c.policy.Breaker
	if p.SlowCallDuration > 0 {
		slow = p.SlowCallDuration
	}
	if p.SlowCallRatio > 0 && slow > 0 && took > slow && !c.single {
		return breaker.Slow
	}
	return breaker.Success
}

// settleOverloaded turns the server's "not now" into a hold, or into pacing where it names no time.
// To the breaker it is an answer.
func (c *call) settleOverloaded(p *Permit, out *Outcome, now time.Time) {
	t := c.target
	if p.ticket.Probe() {
		t.answered(p.ticket, breaker.Success, now)
	} else {
		p.ticket.Done(breaker.Ignored)
	}
	wait := out.wait()
	if !out.Partitioned {
		c.lost(p)
		p.lane.ignored()
		if wait <= 0 {
			c.failedAt(t.gate, p, pacing.Overloaded)
			return
		}
		c.holdAll(p, wait)
		return
	}
	t.gate.Ignored()
	said := out.Hint
	told := t.told(c.credential(), c.place(), c.engine.nameOfPartition(said), said.Scope, true, c.engine.rand)
	if told != p.lane {
		p.lane.ignored()
		p.lane = told
	}
	if wait <= 0 {
		c.failedAt(told.gate, p, pacing.Overloaded)
		return
	}
	c.hold(p, told, wait, "")
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
	if useful := c.target.useful(); useful > 0 {
		enough = min(manyTimes*useful, time.Second)
	}
	if errors.Is(err, context.DeadlineExceeded) && (time.Since(p.sent()) >= enough || c.target.silent(p.sent())) {
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
