package tether

import (
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/internal/target"
)

// Permit is leave to send one attempt. Whoever has it says once what came of it.
type Permit struct {
	pass    target.Pass
	call    *call
	attempt int
	settled atomic.Bool
}

// sent is when the attempt left.
func (p *Permit) sent() time.Time { return p.call.Sample.Time(p.pass.SentAt) }

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
	if p.call.StateNow() != target.Counted && !p.settled.Load() {
		p.Done(Outcome{})
	}
}

// done is Done by a clock that was just read.
func (p *Permit) done(out *Outcome, now time.Time) {
	c := p.call
	if p.settled.Swap(true) || !c.Promote(&p.pass) {
		return
	}
	c.settle(p, out, now)
	if c.single {
		if out.Class == Healthy {
			c.Target.Budget.SuccessAt(now)
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
	if c.attempts == 0 && c.Generation != 0 {
		c.permit, c.attempts = &c.first, 1
		c.first.call, c.first.attempt, c.first.pass.SentAt = c, 1, c.Entered
		return nil
	}
	began := c.clock()
	if err := c.checkKill(); err != nil {
		return err
	}
	if c.attempts == 0 {
		c.Target.Gate.AskAt(began)
	}
	c.permit = &c.first
	if c.attempts > 0 { // the earlier permit is somebody else's to settle, or has been
		c.permit = new(Permit)
	}
	c.permit.call, c.permit.attempt = c, c.attempts+1
	if o := c.Target.TooHasty(c.timeLeft(began)); o != nil {
		return c.reject(o, nil)
	}
	if err := c.throughLines(); err != nil {
		return err
	}
	sent := c.clock()
	c.permit.pass.SentAt = c.Entered.Add(sent.Sub(c.Began()))
	c.attempts++
	c.spent = false
	c.Target.Stats.Attempts.Add(1)
	c.Target.InFlight.Add(1)
	c.engine.events.Deliver()
	waited := sent.Sub(began)
	if c.obstacle != 0 && c.engine.telemetry.Waits.Enabled(c.Context) {
		c.engine.telemetry.Waits.Record(c.Context, waited.Seconds(), c.Target.Series.WaitedBy[c.obstacle]...)
	}
	if waited > time.Second {
		c.engine.emit(Event{Kind: EventWaited, Target: c.Target.Name, Stage: c.obstacle, Attempt: c.attempts, Wait: waited})
	}
	return nil
}

// throughLines passes the call through its credential's lane, if that has one, and its target's line.
// While it waits for the second the first may be closed again: then it gives back what it was given.
func (c *call) throughLines() *RejectedError {
	counted := c.attempts > 0 // as asked for, at the lane
	for {
		l := c.ownLane()
		c.permit.pass.Lane = l
		if l != nil {
			if !counted {
				l.Ask()
				counted = true
			}
			if err := c.passThrough(l.Door()); err != nil {
				return err
			}
		}
		err := c.passThrough(c.Target.Door())
		if err == nil && !c.laneClosed() {
			return nil
		}
		if l != nil {
			l.Untake()
		}
		if err != nil {
			return err
		}
		c.Target.GiveBack(&c.permit.pass, c.criticality)
	}
}

// laneClosed tells whether the call's credential has been told to wait by now.
func (c *call) laneClosed() bool {
	l := c.ownLane()
	if l == nil {
		return false
	}
	until, _ := l.Gate.Status()
	return !until.IsZero()
}

// passThrough brings the call past a place: at once if nobody waits there and nothing stands in the way, else
// in its turn, for as long as the call's patience lasts.
func (c *call) passThrough(at target.Door) *RejectedError {
	if at.Line.Len() == 0 {
		o := c.try(at, 0)
		if o == nil {
			return nil
		}
		if err := c.hopeless(o); err != nil {
			return err
		}
		c.Target.Stats.Waited(o.Stage)
	}
	now := time.Now()
	if o := c.outOfReach(at, now); o != nil {
		return c.reject(o, nil)
	}
	w, ok := at.Line.Enter(c.criticality, uint64(c.Entered), now.Add(c.patience(now)))
	if !ok {
		return c.reject(&target.Obstacle{Stage: target.StageQueue, Reason: ErrQueueFull}, nil)
	}
	defer at.Line.Leave(w)
	for {
		var o *target.Obstacle
		turn, others, displaced := at.Line.Turn(w, c.Target.RateOf(at, c.criticality))
		switch {
		case displaced:
			return c.reject(&target.Obstacle{Stage: target.StageQueue, Reason: ErrQueueFull, Shed: true}, nil)
		case !turn:
			o = c.Target.Behind(at, c.criticality)
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
func (c *call) asking() target.Ask {
	return target.Ask{Level: c.criticality, Repeat: c.attempts > 0, Limited: c.policy.Rate.PerSecond > 0, Now: c.clock()}
}

// try takes the permit through a place, or tells what stands in the way; then nothing is kept of what was given.
func (c *call) try(at target.Door, waiting int) *target.Obstacle {
	a := c.asking()
	return c.Target.Try(&c.permit.pass, &a, at, waiting)
}

// outOfReach tells of a place that leaves the call no turn within its patience.
func (c *call) outOfReach(at target.Door, now time.Time) *target.Obstacle {
	a := c.asking()
	return c.Target.OutOfReach(&a, at, now, c.patience(now))
}

// await sleeps until it may help to look again: the obstacle's time has come, the line has moved,
// the configuration has changed. It returns a refusal when the call can't wait for that.
func (c *call) await(w *queue.Waiter, o *target.Obstacle) *RejectedError {
	if err := c.hopeless(o); err != nil {
		return err
	}
	c.obstacle = Stage(o.Stage)
	began := time.Now()
	patience := c.patience(began)
	sleep := patience
	if !o.RetryAt.IsZero() {
		sleep = min(sleep, max(0, o.RetryAt.Sub(began)))
	}
	if o.Look > 0 {
		sleep = min(sleep, o.Look)
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
func (c *call) ownLane() *target.Lane {
	if !c.Target.HasLanes() {
		return nil
	}
	return c.Target.Lane(c.credential(), c.place())
}

// followNewest brings the newest configuration to the target: where all calls wait, none that begins
// may be there to do so.
func (c *call) followNewest() {
	p := c.killers.Resolve(c.Scheme, c.Host, c.Method, c.Path, c.GRPCMethod)
	if p.Key == c.policy.Key {
		c.forcedOpen = p.Breaker.Mode == breaker.ForcedOpen
		c.Target.Follow(p, c.killers.serial)
	}
}
