package tether

import (
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/endpoint"
	"github.com/tether-go/tether/policy"
)

// entryState is how a call stands to a target that counts calls in bulk: passed becomes counted or promoted, once.
type entryState uint32

const (
	asked    entryState = iota // the stages were asked
	passed                     // it passed a quiet target and has no outcome yet
	counted                    // its good answer was counted in bulk; it is out
	promoted                   // the stages have heard of it, as of any other call
)

// entry is a call's way into its target.
type entry struct {
	target  *target
	sample  *clock.Sample
	entered clock.Moment // start of the call
	route   uint64       // names the endpoint: its answers are comparable
	spell   uint32       // of the target's quiet, in which the call passed; 0: the stages were asked
	state   uint32       // an entryState; changed under the target's lock
	plain   bool         // no stage needs to judge the call while nothing stands in its way
	timed   bool         // its answer is timed, although it passed quietly
}

func (e *entry) stateNow() entryState    { return entryState(atomic.LoadUint32(&e.state)) }
func (e *entry) setState(now entryState) { atomic.StoreUint32(&e.state, uint32(now)) }

// loop is an endpoint that is asked for far more often than usual.
type loop struct {
	found bool
	calls int32
	usual float64
}

// enter counts the call as one that uses its target, unless that was forgotten, or isn't quiet where it must be. The
// target is brought up to the call's configuration.
func (e *entry) enter(
	p *policy.Resolved, serial uint64, now clock.Moment, at endpoint.Endpoint, mustBeQuiet bool,
) (in bool, l loop) {
	t := e.target
	if at.Method != "" || at.Path != "" { // else it is known mostly
		e.route = at.Hash(t.seed)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users.Load() < 0 {
		return false, l
	}
	t.followLocked(p, serial, now)
	if e.route == 0 {
		e.route = t.lastRoute.hashOf(at.GRPCMethod, t.seed)
	}
	if !e.enterQuiet(now) {
		if mustBeQuiet {
			return false, l
		}
		t.tellLocked() // before the call tells the stages of itself
		t.users.Add(1)
	}
	l.found, l.calls, l.usual = t.loops.Beat(e.route, t.used.Since(t.born))
	return true, l
}

// enterQuiet lets the visit pass, if nothing about it needs a stage's judgement. The target is locked.
func (e *entry) enterQuiet(now clock.Moment) bool {
	q := &e.target.quiet
	if !q.on.Load() || !e.plain {
		return false
	}
	e.spell, e.timed = q.spell, e.target.normals.Due(e.route, now)
	e.setState(passed)
	e.target.noteLocked(now)
	q.passed++
	q.underWay++
	return true
}

// leaveQuiet counts the good answer, unless a stage must hear of it: because of trouble, or because it is
// slow, or nothing is known yet of what is slow. The target is locked.
func (e *entry) leaveQuiet(now clock.Moment, took time.Duration) bool {
	t := e.target
	q := &t.quiet
	if !q.on.Load() || e.spell != q.spell || e.timed && !t.usualTime(now, e.route, took) {
		return false
	}
	t.noteLocked(now)
	q.good++
	if e.timed {
		q.timed++
		q.took += took
	}
	q.underWay--
	return true
}

// leave counts a good answer in bulk, unless a stage must hear of it, or its permit is settled.
func (e *entry) leave(settled *atomic.Bool) bool {
	took := e.timeTaken()
	t := e.target
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.stateNow() != passed || settled != nil && settled.Load() || !e.leaveQuiet(e.entered.Add(took), took) {
		return false
	}
	e.setState(counted)
	return true
}

// part makes a call that passed quietly one like any other; the stages are told of it before they hear what came
// of it. It reports false where the permit's outcome was counted already.
func (e *entry) part(p *pass) bool {
	if e.spell == 0 {
		return true
	}
	t := e.target
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := e.stateNow(); now != passed {
		return now != counted
	}
	e.setState(promoted)
	if e.spell >= t.quiet.eraSince { // else the breaker has opened and closed since
		p.ticket = t.breaker.TicketOf(t.quiet.era)
	}
	t.quiet.underWay--
	t.users.Add(1)
	return true
}

// began is when the call did, and passed the time since.
func (e *entry) began() time.Time { return e.sample.Time(e.entered) }

func (e *entry) passed() time.Duration {
	return e.sample.Now().Since(e.entered)
}

// timeTaken is the time that a timed answer took; else 0, for reading the clock costs as much as all else.
func (e *entry) timeTaken() time.Duration {
	if !e.timed {
		return 0
	}
	return e.passed()
}
