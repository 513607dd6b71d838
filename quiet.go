package tether

import (
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/policy"

	"github.com/tether-go/tether/internal/latency"
	"github.com/tether-go/tether/ratelimit/hint"
)

// tellTime is how long calls may go by before the stages are told of them.
const tellTime = latency.Quick

// quiet lets calls pass a target that keeps nobody back, counts them, and tells its stages of many at once: a
// busy client's calls come closer than its stages need to hear of them, and each stage's lock costs as much
// as all that it does with a call.
//
// The target is quiet from a good answer that finds every stage calm until something happens that a stage
// must judge. Whatever may end the calm, and isn't done under the target's lock, is done between
// [target.beginTrouble] and [target.endTrouble]: the stages know all that went by then, and no good answer that
// comes meanwhile begins the quiet again. What only adds to what the stages know calls [target.tell] before.
type quiet struct {
	on       atomic.Bool  // changed under the target's lock; where it is false there is nothing to tell
	troubles atomic.Int32 // that have begun and not ended

	// The target's lock guards what follows.
	spell    uint32 // of quiet: the ordinal
	era      uint64 // of the breaker, in this spell and those before since eraSince
	eraSince uint32
	underWay int // calls that passed so and haven't ended
	passed   int // since the stages were told
	good     int // answers since then, none of them slow
	timed    int // of these
	took     time.Duration
	since    clock.Moment // the first of them
	last     clock.Moment // the last of them
}

// enterQuiet lets the visit pass, if nothing about it needs a stage's judgement. The target is locked.
func (v *visit) enterQuiet(now clock.Moment) bool {
	q := &v.target.quiet
	if !q.on.Load() || !v.plain {
		return false
	}
	v.spell, v.timed = q.spell, v.target.normals.Due(v.route, now)
	v.target.noteLocked(now)
	q.passed++
	q.underWay++
	return true
}

// leaveQuiet counts the good answer, unless a stage must hear of it: because of trouble, or because it is
// slow, or nothing is known yet of what is slow. The target is locked.
func (v *visit) leaveQuiet(now clock.Moment, took time.Duration) bool {
	t := v.target
	q := &t.quiet
	if !q.on.Load() || v.spell != q.spell || v.timed && !t.usualTime(now, v.route, took) {
		return false
	}
	t.noteLocked(now)
	q.good++
	if v.timed {
		q.timed++
		q.took += took
	}
	q.underWay--
	return true
}

// noteLocked dates what is about to be counted. What came longer ago is told before: all that is told at once
// has one date.
func (t *target) noteLocked(now clock.Moment) {
	q := &t.quiet
	if q.passed+q.good > 0 && now.Since(q.since) >= tellTime {
		t.tellLocked()
	}
	if q.passed+q.good == 0 {
		q.since = now
	}
	q.last = max(q.last, now)
}

// leaveQuiet counts a permit's good answer, as its visit does.
func (c *call) leaveQuiet(p *Permit) bool {
	took := c.timeTaken()
	t := c.target
	t.mu.Lock()
	defer t.mu.Unlock()
	p.counted = !c.parted && !p.settled.Load() && c.visit.leaveQuiet(c.entered.Add(took), took)
	return p.counted
}

// part makes a call that passed quietly one like any other; the stages are told of it before they hear what came
// of it. It reports false where the permit's outcome was counted already.
func (c *call) part(p *Permit) bool {
	if c.spell == 0 {
		return true
	}
	t := c.target
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.parted || p.counted {
		return !p.counted
	}
	c.parted = true
	if c.spell >= t.quiet.eraSince { // else the breaker has opened and closed since
		p.ticket = t.breaker.TicketOf(t.quiet.era)
	}
	t.quiet.underWay--
	t.users.Add(1)
	return true
}

// tell tells the stages what went by.
func (t *target) tell() {
	if t.quiet.on.Load() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.tellLocked()
	}
}

func (t *target) tellLocked() {
	q := &t.quiet
	if q.passed+q.good == 0 {
		return
	}
	now := time.Now()
	at := now.Add(q.last.Since(t.clock.MomentOf(now))) // by the wall clock of now, which the engine may have seen set
	t.budget.CountAt(at, q.passed, q.good)
	t.gate.CountAt(at, q.passed, q.good, q.took/time.Duration(max(1, q.timed)))
	t.breaker.CountAt(at, q.good)
	t.inFlight.Add(int32(q.passed - q.good))
	passed := uint64(q.passed)
	t.stats.calls.Add(passed)
	t.stats.attempts.Add(passed)
	for _, stage := range [...]Stage{StageKill, StageHold, StagePacing, StageBreaker} {
		t.stats.stages[stage].passed.Add(passed)
	}
	q.passed, q.good, q.timed, q.took = 0, 0, 0, 0
}

// disturb ends the quiet.
func (t *target) disturb() {
	if t.quiet.on.Load() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.disturbLocked()
	}
}

func (t *target) disturbLocked() {
	t.tellLocked()
	t.quiet.on.Store(false)
}

// beginTrouble ends the quiet until endTrouble.
func (t *target) beginTrouble() {
	t.quiet.troubles.Add(1)
	t.disturb()
}

func (t *target) endTrouble() { t.quiet.troubles.Add(-1) }

// calmDown begins the quiet if every stage is calm. It is on before they are asked: a trouble that begins
// meanwhile sees that it is, and ends it.
func (t *target) calmDown() {
	if t.quiet.on.Load() || t.divides() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	q := &t.quiet
	q.on.Store(true)
	era, calm := t.breaker.Calm()
	if !calm || q.troubles.Load() > 0 || !t.gate.Calm() || t.divides() || t.wasKilled.Load() || t.line.Len() > 0 {
		q.on.Store(false)
		return
	}
	if q.spell++; q.spell == 0 { // after months of trouble: 0 is no spell
		q.spell, q.eraSince = 1, 1
	}
	if q.era != era {
		q.era, q.eraSince = era, q.spell
	}
}

// divides tells whether calls are told apart here, or counted by limits: then the stages judge each.
func (t *target) divides() bool {
	return t.rate.On() || t.concurrency.On() || t.deference.Active() || t.hasLanes()
}

// teachesLittle tells of an answer that is good and says nothing of a quota.
func (o *Outcome) teachesLittle(p *policy.Resolved) bool {
	return o.served(p) && o.Hint.Scope == hint.AllRequests && !o.Hint.Quota.Paces()
}
