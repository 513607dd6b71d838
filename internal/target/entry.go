package target

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
	passed                     // it passed the fast path and has no outcome yet
	Counted                    // its good answer was counted in bulk; it is out
	promoted                   // the stages have heard of it, as of any other call
)

// Entry is a call's way into its target.
type Entry struct {
	Target     *Target
	Sample     *clock.Sample
	Entered    clock.Moment // start of the call
	Endpoint   uint64       // names the endpoint: its answers are comparable
	Generation uint32       // of the fast path in which the call passed; 0: the stages were asked
	state      uint32       // an entryState; changed under the target's lock
	Plain      bool         // no stage needs to judge the call while nothing stands in its way
	Timed      bool         // its answer is timed, although it passed quietly
}

func (e *Entry) StateNow() entryState    { return entryState(atomic.LoadUint32(&e.state)) }
func (e *Entry) setState(now entryState) { atomic.StoreUint32(&e.state, uint32(now)) }

// Loop is an endpoint that is asked for far more often than usual.
type Loop struct {
	Found bool
	Calls int32
	Usual float64
}

// Enter counts the call as one that uses its target, unless that was forgotten, or isn't quiet where it must be. The
// target is brought up to the call's configuration.
func (e *Entry) Enter(
	p *policy.Resolved, serial uint64, now clock.Moment, at endpoint.Endpoint, mustBeQuiet bool,
) (in bool, l Loop) {
	t := e.Target
	if at.Method != "" || at.Path != "" { // else it is known mostly
		e.Endpoint = at.Hash(t.seed)
	}
	t.Mu.Lock()
	defer t.Mu.Unlock()
	if t.Users.Load() < 0 {
		return false, l
	}
	t.followLocked(p, serial, now)
	if e.Endpoint == 0 {
		e.Endpoint = t.lastRoute.hashOf(at.GRPCMethod, t.seed)
	}
	if !e.enterFast(now) {
		if mustBeQuiet {
			return false, l
		}
		t.flushLocked() // before the call tells the stages of itself
		t.Users.Add(1)
	}
	l.Found, l.Calls, l.Usual = t.loops.Beat(e.Endpoint, t.used.Since(t.born))
	return true, l
}

// enterFast lets the call pass, if nothing about it needs a stage's judgement. The target is locked.
func (e *Entry) enterFast(now clock.Moment) bool {
	q := &e.Target.Fast
	if !q.On.Load() || !e.Plain {
		return false
	}
	e.Generation, e.Timed = q.Generation, e.Target.baselines.Due(e.Endpoint, now)
	e.setState(passed)
	e.Target.noteLocked(now)
	q.passed++
	q.UnderWay++
	return true
}

// leaveFast counts the good answer, unless a stage must hear of it: because of trouble, or because it is
// slow, or nothing is known yet of what is slow. The target is locked.
func (e *Entry) leaveFast(now clock.Moment, took time.Duration) bool {
	t := e.Target
	q := &t.Fast
	if !q.On.Load() || e.Generation != q.Generation || e.Timed && !t.usualTime(now, e.Endpoint, took) {
		return false
	}
	t.noteLocked(now)
	t.hasty, t.hastyTime = 0, 0 // also an answer that isn't timed
	q.good++
	if e.Timed {
		q.timed++
		q.took += took
	}
	q.UnderWay--
	return true
}

// Leave counts a good answer in bulk, unless a stage must hear of it, or its permit is settled.
func (e *Entry) Leave(settled *atomic.Bool) bool {
	took := e.timeTaken()
	t := e.Target
	t.Mu.Lock()
	defer t.Mu.Unlock()
	if e.StateNow() != passed || settled != nil && settled.Load() || !e.leaveFast(e.Entered.Add(took), took) {
		return false
	}
	e.setState(Counted)
	return true
}

// Promote makes a call that passed the fast path one like any other; the stages hear of it before they hear what came
// of it. It reports false where the permit's outcome was counted already.
func (e *Entry) Promote(p *Pass) bool {
	if e.Generation == 0 {
		return true
	}
	t := e.Target
	t.Mu.Lock()
	defer t.Mu.Unlock()
	if now := e.StateNow(); now != passed {
		return now != Counted
	}
	e.setState(promoted)
	if e.Generation >= t.Fast.epochSince { // else the breaker has opened and closed since
		p.Ticket = t.Breaker.TicketOf(t.Fast.epoch)
	}
	t.Fast.UnderWay--
	t.Users.Add(1)
	return true
}

// Began is when the call did, and passed the time since.
func (e *Entry) Began() time.Time { return e.Sample.Time(e.Entered) }

func (e *Entry) passed() time.Duration {
	return e.Sample.Now().Since(e.Entered)
}

// timeTaken is the time that a timed answer took; else 0, for reading the clock costs as much as all else.
func (e *Entry) timeTaken() time.Duration {
	if !e.Timed {
		return 0
	}
	return e.passed()
}
