package tether

import (
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/queue"
)

// Permit is leave to send one attempt. Whoever has it says once what came of it.
type Permit struct {
	pass
	call    *call
	attempt int
	settled atomic.Bool
}

// sent is when the attempt left.
func (p *Permit) sent() time.Time { return p.call.sample.Time(p.sentAt) }

// Attempt is the ordinal of the attempt within its call, from 1.
func (p *Permit) Attempt() int { return p.attempt }

// Done tells every stage that admitted the attempt what came of it. The first call counts; later ones
// change nothing. It is safe for concurrent use.
func (p *Permit) Done(out Outcome) {
	if !p.settled.Load() { // else the clock is read for nothing
		p.done(&out, time.Now())
	}
}

// abandon gives back what an attempt was given that taught nothing, unless it is settled.
func (p *Permit) abandon() {
	if p.call.stateNow() != counted && !p.settled.Load() {
		p.Done(Outcome{})
	}
}

// done is Done by a clock that was just read.
func (p *Permit) done(out *Outcome, now time.Time) {
	c := p.call
	if p.settled.Swap(true) || !c.part(&p.pass) {
		return
	}
	c.settle(p, out, now)
	if c.single {
		if out.Class == Healthy {
			c.target.budget.SuccessAt(now)
		}
		c.finish()
	}
}

// admit passes the call through the stages in their order: kill switch, server hold, breaker, pacing,
// rate limit, concurrency limit.
// It waits where the call may, and returns a refusal where it may not; then nothing is sent, and
// nothing that a stage gave is kept.
func (c *call) admit() *RejectedError {
	c.obstacle = 0
	if c.attempts == 0 && c.spell != 0 {
		c.permit, c.attempts = &c.first, 1
		c.first.call, c.first.attempt, c.first.sentAt = c, 1, c.entered
		return nil
	}
	began := c.clock()
	if err := c.checkKill(); err != nil {
		return err
	}
	if c.attempts == 0 {
		c.target.gate.AskAt(began)
	}
	c.permit = &c.first
	if c.attempts > 0 { // the earlier permit is somebody else's to settle, or has been
		c.permit = new(Permit)
	}
	c.permit.call, c.permit.attempt = c, c.attempts+1
	if err := c.throughLines(); err != nil {
		return err
	}
	sent := c.clock()
	c.permit.sentAt = c.entered.Add(sent.Sub(c.began()))
	c.attempts++
	c.spent = false
	c.target.stats.attempts.Add(1)
	c.target.inFlight.Add(1)
	c.engine.events.Deliver()
	waited := sent.Sub(began)
	if c.obstacle != 0 && c.engine.telemetry.Waits.Enabled(c.Context) {
		c.engine.telemetry.Waits.Record(c.Context, waited.Seconds(), c.target.series.WaitedBy[c.obstacle]...)
	}
	if waited > time.Second {
		c.engine.emit(Event{Kind: EventWaited, Target: c.target.name, Stage: c.obstacle, Attempt: c.attempts, Wait: waited})
	}
	return nil
}

// throughLines passes the call through its credential's lane, if that has one, and its target's line.
// While it waits for the second the first may be closed again: then it gives back what it was given.
func (c *call) throughLines() *RejectedError {
	counted := c.attempts > 0 // as asked for, at the lane
	for {
		l := c.ownLane()
		c.permit.lane = l
		if l != nil {
			if !counted {
				l.ask()
				counted = true
			}
			if err := c.passThrough(l.place()); err != nil {
				return err
			}
		}
		err := c.passThrough(c.target.door())
		if err == nil && !c.laneClosed() {
			return nil
		}
		if l != nil {
			l.untake()
		}
		if err != nil {
			return err
		}
		c.target.giveBack(&c.permit.pass, c.criticality)
	}
}

// laneClosed tells whether the call's credential has been told to wait by now.
func (c *call) laneClosed() bool {
	l := c.ownLane()
	if l == nil {
		return false
	}
	until, _ := l.gate.Status()
	return !until.IsZero()
}

// passThrough brings the call past a place: at once if nobody waits there and nothing stands in the way, else
// in its turn, for as long as the call's patience lasts.
func (c *call) passThrough(at place) *RejectedError {
	if at.line.Len() == 0 {
		o := c.try(at, 0)
		if o == nil {
			return nil
		}
		if err := c.hopeless(o); err != nil {
			return err
		}
		c.target.stats.waited(o.stage)
	}
	now := time.Now()
	if o := c.outOfReach(at, now); o != nil {
		return c.reject(o, nil)
	}
	w, ok := at.line.Enter(c.criticality, uint64(c.entered), now.Add(c.patience(now)))
	if !ok {
		return c.reject(&obstacle{stage: StageQueue, reason: ErrQueueFull}, nil)
	}
	defer at.line.Leave(w)
	for {
		var o *obstacle
		turn, others, displaced := at.line.Turn(w, c.target.rateOf(at, c.criticality))
		switch {
		case displaced:
			return c.reject(&obstacle{stage: StageQueue, reason: ErrQueueFull, shed: true}, nil)
		case !turn:
			o = c.target.behind(at, c.criticality)
		default:
			if o = c.try(at, others); o == nil {
				return nil
			}
		}
		if err := c.await(w, o); err != nil {
			return err
		}
	}
}

// asking is what the call says of itself at a place.
func (c *call) asking() ask {
	return ask{level: c.criticality, repeat: c.attempts > 0, limited: c.policy.Rate.PerSecond > 0, now: c.clock()}
}

// try takes the permit through a place, or tells what stands in the way; then nothing is kept of what was given.
func (c *call) try(at place, waiting int) *obstacle {
	a := c.asking()
	return c.target.try(&c.permit.pass, &a, at, waiting)
}

// outOfReach tells of a place that leaves the call no turn within its patience.
func (c *call) outOfReach(at place, now time.Time) *obstacle {
	a := c.asking()
	return c.target.outOfReach(&a, at, now, c.patience(now))
}

// await sleeps until it may help to look again: the obstacle's time has come, the line has moved,
// the configuration has changed. It returns a refusal when the call can't wait for that.
func (c *call) await(w *queue.Waiter, o *obstacle) *RejectedError {
	if err := c.hopeless(o); err != nil {
		return err
	}
	c.obstacle = o.stage
	began := time.Now()
	patience := c.patience(began)
	sleep := patience
	if !o.retryAt.IsZero() {
		sleep = min(sleep, max(0, o.retryAt.Sub(began)))
	}
	if o.look > 0 {
		sleep = min(sleep, o.look)
	}
	timer := time.NewTimer(sleep)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.Woken():
	case <-c.killers.replaced:
	case <-c.Context.Done():
		return c.reject(o, c.Context.Err())
	}
	waited := time.Since(began)
	c.waitLeft = max(0, c.waitLeft-waited)
	if waited >= patience {
		return c.reject(o, c.ended())
	}
	return c.checkKill()
}

// pause sleeps between two attempts, unless a kill switch or the caller ends it.
func (c *call) pause(d time.Duration) error {
	c.waitLeft = max(0, c.waitLeft-d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-c.Context.Done():
			return c.Context.Err()
		case <-c.killers.replaced:
			if err := c.checkKill(); err != nil {
				return err
			}
		}
	}
}

// ownLane returns the lane of the call's credential at a target that has told one to wait.
func (c *call) ownLane() *lane {
	if !c.target.hasLanes() {
		return nil
	}
	return c.target.lane(c.credential(), c.place())
}

// followNewest brings the newest configuration to the target: where all calls wait, none that begins
// may be there to do so.
func (c *call) followNewest() {
	p := c.killers.Resolve(c.Scheme, c.Host, c.Method, c.Path, c.GRPCMethod)
	if p.Key == c.policy.Key {
		c.forcedOpen = p.Breaker.Mode == breaker.ForcedOpen
		c.target.follow(p, c.killers.serial)
	}
}
