package tether

import (
	"errors"
	"sync/atomic"
	"time"
	"weak"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/policy"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// Permit is leave to send one attempt. Whoever has it says once what came of it.
type Permit struct {
	call    *call
	attempt int
	ticket  breaker.Ticket
	room    breaker.Room                 // where the ticket is
	lane    *lane                        // of the credential; nil if it was never told to wait
	slot    *ratelimit.Slot              // among the attempts under way; nil where nothing limits them
	lent    weak.Pointer[ratelimit.Slot] // what the answer's body has instead
	lentBy  *queue.Queue                 // where that place is
	sentAt  clock.Moment                 // sending of the attempt
	settled atomic.Bool
	hedge   bool
	counted bool // instead of settled, by a quiet target, which guards it
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
	if !p.counted && !p.settled.Load() {
		p.Done(Outcome{})
	}
}

// done is Done by a clock that was just read.
func (p *Permit) done(out *Outcome, now time.Time) {
	c := p.call
	if p.settled.Swap(true) || !c.part(p) {
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
			if err := c.pass(l.place()); err != nil {
				return err
			}
		}
		err := c.pass(place{&c.target.line, c.target.gate, nil, c.target.breaker})
		if err == nil && !c.laneClosed() {
			return nil
		}
		if l != nil {
			l.untake()
		}
		if err != nil {
			return err
		}
		c.permit.ticket.Done(breaker.Ignored)
		c.untake()
		c.target.rate.Untake()
		c.permit.end()
		c.target.line.WakeNext()
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

// obstacle is what keeps a call from going on, and when trying again may help.
type obstacle struct {
	stage   Stage
	reason  error
	retryAt time.Time
	change  bool          // something else than time may remove it: an answer that is still awaited
	forced  bool          // it stands until somebody decides otherwise: waiting is in vain
	shed    bool          // a less critical call is refused for more critical ones
	kill    *policy.Kill  // whose; nil: another stage's
	look    time.Duration // after which to look again, for what nobody tells; 0: no need
}

// place is where calls may have to wait: before the gate of a lane, or before the gate and the breaker
// of a target.
type place struct {
	line      *queue.Queue
	gate      *pacing.Gate
	allowance *pacing.Allowance // nil for a target
	breaker   *breaker.Breaker  // nil for a lane
}

// openRate is about how often a breaker that isn't closed lets a probe through, in calls a second.
const openRate = 0.5

// rate is how many calls a second the place lets through; 0: as many as want.
func (at place) rate() float64 {
	if at.breaker != nil && at.breaker.Refuses() {
		return openRate
	}
	_, perSecond := at.gate.Status()
	if at.allowance != nil {
		if spread := at.allowance.Rate(); spread > 0 && (perSecond == 0 || spread < perSecond) {
			return spread
		}
	}
	return perSecond
}

// try takes the permit through a place, or tells what stands in the way; then nothing is kept of what was given.
func (c *call) try(p *Permit, at place, waiting int) *obstacle {
	if o := c.defers(at, waiting); o != nil {
		return o
	}
	if o := c.throughGate(at.gate, waiting); o != nil || at.breaker == nil {
		if o == nil && at.allowance != nil {
			o = throughAllowance(at, waiting)
		}
		if o != nil && at.breaker != nil {
			c.target.deference.Untake(c.criticality)
		}
		if o != nil && o.stage == StagePacing && at.breaker != nil && at.breaker.Refuses() {
			o.stage, o.reason = StageBreaker, breaker.ErrOpen // pacing only tells when to try it again
			if h := at.breaker.Health(); h.State == breaker.Open && h.RetryAt.After(o.retryAt) {
				o.retryAt = h.RetryAt
			}
		}
		return o
	}
	ticket, err := at.breaker.AllowIn(&p.room)
	if err != nil {
		c.untake()
		o := &obstacle{stage: StageBreaker, reason: breaker.ErrOpen}
		var open *breaker.OpenError
		if errors.As(err, &open) {
			o.reason, o.retryAt, o.change, o.forced = open.Unwrap(), open.RetryAt, open.Probing, open.Forced
		}
		return o
	}
	c.target.stats.passed(StageBreaker)
	if o := c.throughLimits(p); o != nil {
		ticket.Done(breaker.Ignored)
		c.untake()
		return o
	}
	p.ticket = ticket
	return nil
}

func (c *call) throughGate(g *pacing.Gate, waiting int) *obstacle {
	retryAt, err := g.TakeAt(c.clock(), waiting)
	switch {
	case err == nil:
		c.target.stats.passed(StageHold)
		c.target.stats.passed(StagePacing)
		return nil
	case errors.Is(err, pacing.ErrHeld):
		return &obstacle{stage: StageHold, reason: pacing.ErrHeld, retryAt: retryAt}
	default:
		return &obstacle{stage: StagePacing, reason: pacing.ErrPaced, retryAt: retryAt,
			change: c.target.inFlight.Load() > 0} // a good answer makes the pace faster
	}
}

// throughAllowance takes what the gate has given back if the quota has none to give yet.
func throughAllowance(at place, waiting int) *obstacle {
	retryAt, ok := at.allowance.Take(waiting)
	if ok {
		return nil
	}
	at.gate.Untake()
	return &obstacle{stage: StagePacing, reason: pacing.ErrQuota, retryAt: retryAt}
}

// pass brings the call past a place: at once if nobody waits there and nothing stands in the way, else
// in its turn, for as long as the call's patience lasts.
func (c *call) pass(at place) *RejectedError {
	if at.line.Len() == 0 {
		o := c.try(c.permit, at, 0)
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
		turn, others, displaced := at.line.Turn(w, c.rate(at))
		switch {
		case displaced:
			return c.reject(&obstacle{stage: StageQueue, reason: ErrQueueFull, shed: true}, nil)
		case !turn:
			o = c.behind(at)
		default:
			if o = c.try(c.permit, at, others); o == nil {
				return nil
			}
		}
		if err := c.await(w, o); err != nil {
			return err
		}
	}
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
