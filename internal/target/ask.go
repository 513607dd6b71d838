package target

import (
	"errors"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// Obstacle is what keeps a call from going on, and when trying again may help.
type Obstacle struct {
	Stage   Stage
	Reason  error
	RetryAt time.Time
	Change  bool          // something else than time may remove it: an answer that is still awaited
	Forced  bool          // it stands until somebody decides otherwise: waiting is in vain
	Shed    bool          // a less critical call is refused for more critical ones
	Kill    *policy.Kill  // whose; nil: another stage's
	Look    time.Duration // after which to look again, for what nobody tells; 0: no need
}

// Ask is what a call says of itself at a place.
type Ask struct {
	Level   criticality.Level
	Repeat  bool      // it has had an attempt
	Limited bool      // its policy has a rate limit
	Now     time.Time // may be that of the call's start
}

// Door is where calls may have to wait: before the gate of a lane, or before the gate and the breaker
// of a target.
type Door struct {
	Line      *queue.Queue
	gate      *pacing.Gate
	allowance *pacing.Allowance // nil for a target
	breaker   *breaker.Breaker  // nil for a lane
}

// openRate is about how often a breaker that isn't closed lets a probe through, in calls a second.
const openRate = 0.5

// rate is how many calls a second the place lets through; 0: as many as want.
func (at Door) rate() float64 {
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

// Try takes the permit through a place, or tells what stands in the way; then nothing is kept of what was given.
func (t *Target) Try(p *Pass, a *Ask, at Door, waiting int) *Obstacle {
	if o := t.defers(a.Level, at, waiting); o != nil {
		return o
	}
	if o := t.throughGate(at.gate, a.Now, waiting); o != nil || at.breaker == nil {
		if o == nil && at.allowance != nil {
			o = throughAllowance(at, waiting)
		}
		if o != nil && at.breaker != nil {
			t.Shedder.Untake(a.Level)
		}
		if o != nil && o.Stage == StagePacing && at.breaker != nil && at.breaker.Refuses() {
			o.Stage, o.Reason = StageBreaker, breaker.ErrOpen // pacing only tells when to try it again
			if h := at.breaker.Health(); h.State == breaker.Open && h.RetryAt.After(o.RetryAt) {
				o.RetryAt = h.RetryAt
			}
		}
		return o
	}
	ticket, err := at.breaker.AllowIn(&p.room)
	if err != nil {
		t.untake(a.Level)
		o := &Obstacle{Stage: StageBreaker, Reason: breaker.ErrOpen}
		var open *breaker.OpenError
		if errors.As(err, &open) {
			o.Reason, o.RetryAt, o.Change, o.Forced = open.Unwrap(), open.RetryAt, open.Probing, open.Forced
		}
		return o
	}
	t.Stats.Passed(StageBreaker)
	if o := t.throughLimits(p, a.Limited); o != nil {
		ticket.Done(breaker.Ignored)
		t.untake(a.Level)
		return o
	}
	p.Ticket = ticket
	return nil
}

func (t *Target) throughGate(g *pacing.Gate, now time.Time, waiting int) *Obstacle {
	retryAt, err := g.TakeAt(now, waiting)
	switch {
	case err == nil:
		t.Stats.Passed(StageHold)
		t.Stats.Passed(StagePacing)
		return nil
	case errors.Is(err, pacing.ErrHeld):
		return &Obstacle{Stage: StageHold, Reason: pacing.ErrHeld, RetryAt: retryAt}
	default:
		return &Obstacle{Stage: StagePacing, Reason: pacing.ErrPaced, RetryAt: retryAt,
			Change: t.InFlight.Load() > 0} // a good answer makes the pace faster
	}
}

// throughAllowance takes what the gate has given back if the quota has none to give yet.
func throughAllowance(at Door, waiting int) *Obstacle {
	retryAt, ok := at.allowance.Take(waiting)
	if ok {
		return nil
	}
	at.gate.Untake()
	return &Obstacle{Stage: StagePacing, Reason: pacing.ErrQuota, RetryAt: retryAt}
}

// throughLimits takes for a permit what the limits of the target give, or tells which has nothing left; then
// nothing is kept.
func (t *Target) throughLimits(p *Pass, limited bool) *Obstacle {
	if retryAt, err := t.rate.Take(); err != nil {
		return &Obstacle{Stage: StageRate, Reason: ratelimit.ErrLimited, RetryAt: retryAt}
	}
	slot, err := t.Concurrency.Take()
	if err != nil {
		t.rate.Untake()
		return &Obstacle{Stage: StageConcurrency, Reason: ratelimit.ErrBusy, Change: true, Look: lookAgain}
	}
	if limited {
		t.Stats.Passed(StageRate)
	}
	if slot != nil {
		t.Stats.Passed(StageConcurrency)
	}
	p.Slot = slot
	return nil
}

// OutOfReach tells of a rate limit that leaves the call no turn within its patience, with those who
// wait already before it. A repeat is not asked: it waits where its call came, not at the end.
func (t *Target) OutOfReach(a *Ask, at Door, now time.Time, patience time.Duration) *Obstacle {
	if o := t.shed(a.Level, at, now, patience); o != nil {
		return o
	}
	if at.breaker == nil || a.Repeat {
		return nil
	}
	retryAt := t.rate.ReadyAt(at.Line.Ahead(a.Level))
	if retryAt.Sub(now) <= patience {
		return nil
	}
	return &Obstacle{Stage: StageRate, Reason: ratelimit.ErrLimited, RetryAt: retryAt}
}

// Behind is what keeps those back who wait before the call.
func (t *Target) Behind(at Door, level criticality.Level) *Obstacle {
	o := &Obstacle{Stage: StagePacing, Reason: pacing.ErrPaced, Change: true}
	until, perSecond := at.gate.Status()
	switch {
	case !until.IsZero():
		return &Obstacle{Stage: StageHold, Reason: pacing.ErrHeld, RetryAt: until}
	case at.breaker == nil:
	case at.breaker.Refuses():
		o.Stage, o.Reason = StageBreaker, breaker.ErrOpen
	case t.Shedder.Pace(level) > 0:
		o.Shed = true
	case perSecond > 0:
	case !t.rate.ReadyAt(0).IsZero():
		o.Stage, o.Reason = StageRate, ratelimit.ErrLimited
	default:
		if taken, most := t.Concurrency.Status(); most > 0 && taken >= most {
			o.Stage, o.Reason = StageConcurrency, ratelimit.ErrBusy
		}
	}
	return o
}

// shed refuses a sheddable call for which the more critical ones that wait already leave no time: at the
// rate of now their turns take all of its patience. Others wait, for the rate may rise meanwhile.
func (t *Target) shed(level criticality.Level, at Door, now time.Time, patience time.Duration) *Obstacle {
	if level != criticality.Sheddable {
		return nil
	}
	ahead, rate := at.Line.Ahead(criticality.Default), t.RateOf(at, level)
	if ahead == 0 || rate == 0 {
		return nil
	}
	turn := now.Add(time.Duration(float64(ahead) / rate * float64(time.Second)))
	if turn.Sub(now) <= patience {
		return nil
	}
	o := t.Behind(at, level)
	if o.Shed = true; o.RetryAt.Before(turn) {
		o.RetryAt = turn
	}
	return o
}

// defers keeps a call back at its target that gives way to more critical ones.
func (t *Target) defers(level criticality.Level, at Door, waiting int) *Obstacle {
	if at.breaker == nil || t.Shedder.Pace(level) == 0 {
		return nil
	}
	if until, _ := at.gate.Status(); !until.IsZero() { // which the gate says itself
		return nil
	}
	retryAt, ok := t.Shedder.Take(level, waiting)
	if ok {
		return nil
	}
	return &Obstacle{Stage: StagePacing, Reason: pacing.ErrPaced, RetryAt: retryAt, Shed: true, Change: true}
}

// untake gives back what let the call through at its target, when nothing is sent.
func (t *Target) untake(level criticality.Level) {
	t.Shedder.Untake(level)
	t.Gate.Untake()
}

// RateOf is how many calls like this one a place lets through a second; 0: as many as want.
func (t *Target) RateOf(at Door, level criticality.Level) float64 {
	rate := at.rate()
	if at.breaker == nil {
		return rate
	}
	if own := t.Shedder.Pace(level); own > 0 && (rate == 0 || own < rate) {
		return own
	}
	return rate
}

// GiveBack returns what the stages gave to an attempt that isn't sent.
func (t *Target) GiveBack(p *Pass, level criticality.Level) {
	p.Ticket.Done(breaker.Ignored)
	t.untake(level)
	t.rate.Untake()
	p.end()
	t.Queue.WakeNext()
}

// Door is where all calls of the target pass.
func (t *Target) Door() Door { return Door{&t.Queue, t.Gate, nil, t.Breaker} }

// Calm tells whether nobody waits at the place, and a call that passes it takes nothing from others.
func (at Door) Calm() bool {
	return at.rate() == 0 && at.Line.Len() == 0 && (at.breaker == nil || at.breaker.State() == breaker.Closed)
}
