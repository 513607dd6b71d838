package tether

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

// ask is what a call says of itself at a place.
type ask struct {
	level   criticality.Level
	repeat  bool      // it has had an attempt
	limited bool      // its policy has a rate limit
	now     time.Time // may be that of the call's start
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
func (t *target) try(p *pass, a *ask, at place, waiting int) *obstacle {
	if o := t.defers(a.level, at, waiting); o != nil {
		return o
	}
	if o := t.throughGate(at.gate, a.now, waiting); o != nil || at.breaker == nil {
		if o == nil && at.allowance != nil {
			o = throughAllowance(at, waiting)
		}
		if o != nil && at.breaker != nil {
			t.deference.Untake(a.level)
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
		t.untake(a.level)
		o := &obstacle{stage: StageBreaker, reason: breaker.ErrOpen}
		var open *breaker.OpenError
		if errors.As(err, &open) {
			o.reason, o.retryAt, o.change, o.forced = open.Unwrap(), open.RetryAt, open.Probing, open.Forced
		}
		return o
	}
	t.stats.passed(StageBreaker)
	if o := t.throughLimits(p, a.limited); o != nil {
		ticket.Done(breaker.Ignored)
		t.untake(a.level)
		return o
	}
	p.ticket = ticket
	return nil
}

func (t *target) throughGate(g *pacing.Gate, now time.Time, waiting int) *obstacle {
	retryAt, err := g.TakeAt(now, waiting)
	switch {
	case err == nil:
		t.stats.passed(StageHold)
		t.stats.passed(StagePacing)
		return nil
	case errors.Is(err, pacing.ErrHeld):
		return &obstacle{stage: StageHold, reason: pacing.ErrHeld, retryAt: retryAt}
	default:
		return &obstacle{stage: StagePacing, reason: pacing.ErrPaced, retryAt: retryAt,
			change: t.inFlight.Load() > 0} // a good answer makes the pace faster
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

// throughLimits takes for a permit what the limits of the target give, or tells which has nothing left; then
// nothing is kept.
func (t *target) throughLimits(p *pass, limited bool) *obstacle {
	if retryAt, err := t.rate.Take(); err != nil {
		return &obstacle{stage: StageRate, reason: ratelimit.ErrLimited, retryAt: retryAt}
	}
	slot, err := t.concurrency.Take()
	if err != nil {
		t.rate.Untake()
		return &obstacle{stage: StageConcurrency, reason: ratelimit.ErrBusy, change: true, look: lookAgain}
	}
	if limited {
		t.stats.passed(StageRate)
	}
	if slot != nil {
		t.stats.passed(StageConcurrency)
	}
	p.slot = slot
	return nil
}

// outOfReach tells of a rate limit that leaves the call no turn within its patience, with those who
// wait already before it. A repeat is not asked: it waits where its call came, not at the end.
func (t *target) outOfReach(a *ask, at place, now time.Time, patience time.Duration) *obstacle {
	if o := t.shed(a.level, at, now, patience); o != nil {
		return o
	}
	if at.breaker == nil || a.repeat {
		return nil
	}
	retryAt := t.rate.ReadyAt(at.line.Ahead(a.level))
	if retryAt.Sub(now) <= patience {
		return nil
	}
	return &obstacle{stage: StageRate, reason: ratelimit.ErrLimited, retryAt: retryAt}
}

// behind is what keeps those back who wait before the call.
func (t *target) behind(at place, level criticality.Level) *obstacle {
	o := &obstacle{stage: StagePacing, reason: pacing.ErrPaced, change: true}
	until, perSecond := at.gate.Status()
	switch {
	case !until.IsZero():
		return &obstacle{stage: StageHold, reason: pacing.ErrHeld, retryAt: until}
	case at.breaker == nil:
	case at.breaker.Refuses():
		o.stage, o.reason = StageBreaker, breaker.ErrOpen
	case t.deference.Pace(level) > 0:
		o.shed = true
	case perSecond > 0:
	case !t.rate.ReadyAt(0).IsZero():
		o.stage, o.reason = StageRate, ratelimit.ErrLimited
	default:
		if taken, most := t.concurrency.Status(); most > 0 && taken >= most {
			o.stage, o.reason = StageConcurrency, ratelimit.ErrBusy
		}
	}
	return o
}

// shed refuses a sheddable call for which the more critical ones that wait already leave no time: at the
// rate of now their turns take all of its patience. Others wait, for the rate may rise meanwhile.
func (t *target) shed(level criticality.Level, at place, now time.Time, patience time.Duration) *obstacle {
	if level != criticality.Sheddable {
		return nil
	}
	ahead, rate := at.line.Ahead(criticality.Default), t.rateOf(at, level)
	if ahead == 0 || rate == 0 {
		return nil
	}
	turn := now.Add(time.Duration(float64(ahead) / rate * float64(time.Second)))
	if turn.Sub(now) <= patience {
		return nil
	}
	o := t.behind(at, level)
	if o.shed = true; o.retryAt.Before(turn) {
		o.retryAt = turn
	}
	return o
}

// defers keeps a call back at its target that gives way to more critical ones.
func (t *target) defers(level criticality.Level, at place, waiting int) *obstacle {
	if at.breaker == nil || t.deference.Pace(level) == 0 {
		return nil
	}
	if until, _ := at.gate.Status(); !until.IsZero() { // which the gate says itself
		return nil
	}
	retryAt, ok := t.deference.Take(level, waiting)
	if ok {
		return nil
	}
	return &obstacle{stage: StagePacing, reason: pacing.ErrPaced, retryAt: retryAt, shed: true, change: true}
}

// untake gives back what let the call through at its target, when nothing is sent.
func (t *target) untake(level criticality.Level) {
	t.deference.Untake(level)
	t.gate.Untake()
}

// rateOf is how many calls like this one a place lets through a second; 0: as many as want.
func (t *target) rateOf(at place, level criticality.Level) float64 {
	rate := at.rate()
	if at.breaker == nil {
		return rate
	}
	if own := t.deference.Pace(level); own > 0 && (rate == 0 || own < rate) {
		return own
	}
	return rate
}

// giveBack returns what the stages gave to an attempt that isn't sent.
func (t *target) giveBack(p *pass, level criticality.Level) {
	p.ticket.Done(breaker.Ignored)
	t.untake(level)
	t.rate.Untake()
	p.end()
	t.line.WakeNext()
}

// door is where all calls of the target pass.
func (t *target) door() place { return place{&t.line, t.gate, nil, t.breaker} }

// calm tells whether nobody waits at the place, and a call that passes it takes nothing from others.
func (at place) calm() bool {
	return at.rate() == 0 && at.line.Len() == 0 && (at.breaker == nil || at.breaker.State() == breaker.Closed)
}
