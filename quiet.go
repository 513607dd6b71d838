package tether

import (
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/internal/clock"

	"github.com/tether-go/tether/internal/latency"
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
