package target

import (
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/internal/clock"

	"github.com/tether-go/tether/internal/latency"
)

// flushTime is how long calls may go by before the stages hear of them.
const flushTime = latency.Quick

// fastPath batches calls while no stage restricts the target: it counts them under one lock and reports them to the
// stages every 10 ms. The calls of a busy client come closer than its stages need to hear of them, and the lock of each
// stage costs as much as all that the stage does with a call.
//
// The path is open from a good answer that finds every stage calm until something happens that a stage must judge. A
// change that may end the calm, and isn't made under the target's lock, stands between [Target.BeginTrouble] and
// [Target.EndTrouble]: the stages know all that went by then, and a good answer that comes meanwhile doesn't open the
// path again. A change that only adds to what the stages know calls [Target.Flush] before.
type fastPath struct {
	On       atomic.Bool  // the path is open; changed under the target's lock
	Troubles atomic.Int32 // that have begun and not ended

	// The target's lock guards what follows.
	Generation uint32 // ordinal of the present opening, from 1
	epoch      uint64 // of the breaker, since the generation epochSince
	epochSince uint32
	UnderWay   int // calls that passed so and haven't ended
	passed     int // since the stages were told
	good       int // answers since then, none of them slow
	timed      int // of these
	took       time.Duration
	since      clock.Moment // the first of them
	last       clock.Moment // the last of them
}

// noteLocked dates what is about to be counted. What came longer ago is told before: all that is told at once
// has one date.
func (t *Target) noteLocked(now clock.Moment) {
	q := &t.Fast
	if q.passed+q.good > 0 && now.Since(q.since) >= flushTime {
		t.flushLocked()
	}
	if q.passed+q.good == 0 {
		q.since = now
	}
	q.last = max(q.last, now)
}

// Flush reports the calls that went by to the stages.
func (t *Target) Flush() {
	if t.Fast.On.Load() {
		t.Mu.Lock()
		defer t.Mu.Unlock()
		t.flushLocked()
	}
}

func (t *Target) flushLocked() {
	q := &t.Fast
	if q.passed+q.good == 0 {
		return
	}
	now := time.Now()
	at := now.Add(q.last.Since(t.Clock.MomentOf(now))) // by the wall clock of now, which the engine may have seen set
	t.Budget.CountAt(at, q.passed, q.good)
	t.Gate.CountAt(at, q.passed, q.good, q.took/time.Duration(max(1, q.timed)))
	t.Breaker.CountAt(at, q.good)
	t.InFlight.Add(int32(q.passed - q.good))
	passed := uint64(q.passed)
	t.Stats.Calls.Add(passed)
	t.Stats.Attempts.Add(passed)
	for _, stage := range [...]Stage{StageKill, StageHold, StagePacing, StageBreaker} {
		t.Stats.stages[stage].Passed.Add(passed)
	}
	q.passed, q.good, q.timed, q.took = 0, 0, 0, 0
}

// CloseFast closes the fast path: from now on every call asks the stages.
func (t *Target) CloseFast() {
	if t.Fast.On.Load() {
		t.Mu.Lock()
		defer t.Mu.Unlock()
		t.closeFastLocked()
	}
}

func (t *Target) closeFastLocked() {
	t.flushLocked()
	t.Fast.On.Store(false)
}

// BeginTrouble closes the fast path until EndTrouble.
func (t *Target) BeginTrouble() {
	t.Fast.Troubles.Add(1)
	t.CloseFast()
}

func (t *Target) EndTrouble() { t.Fast.Troubles.Add(-1) }

// calmDown begins the quiet if every stage is calm. It is on before they are asked: a trouble that begins
// meanwhile sees that it is, and ends it.
func (t *Target) openFast() {
	if t.Fast.On.Load() || t.divides() {
		return
	}
	t.Mu.Lock()
	defer t.Mu.Unlock()
	q := &t.Fast
	q.On.Store(true)
	era, calm := t.Breaker.Calm()
	if !calm || q.Troubles.Load() > 0 || !t.Gate.Calm() || t.divides() || t.wasKilled.Load() || t.Queue.Len() > 0 {
		q.On.Store(false)
		return
	}
	if q.Generation++; q.Generation == 0 { // after months of trouble: 0 is no spell
		q.Generation, q.epochSince = 1, 1
	}
	if q.epoch != era {
		q.epoch, q.epochSince = era, q.Generation
	}
}

// divides tells whether calls are told apart here, or counted by limits: then the stages judge each.
func (t *Target) divides() bool {
	return t.rate.On() || t.Concurrency.On() || t.Shedder.Active() || t.HasLanes()
}
