package tether

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// kind is what an answer taught about the server; the numbers are those of Class.
type kind uint8

const (
	ignored kind = iota
	healthy
	transient
	overloaded
)

// answer is what one attempt brought, in the words of a target.
type answer struct {
	kind        kind
	said        hint.Hint
	answered    bool          // the server said something, and be it that it failed
	timedOut    bool          // it may have cost the server a whole service
	ranOut      bool          // its time was too short
	partitioned bool          // a refusal covers this caller's credential only
	stream      bool          // its end, or its first message, is no answer's time
	wait        time.Duration // that the server asks for
	sent        time.Time
	route       uint64
	breaker     *breaker.Policy
	hedgeUp     time.Duration // quantile from which the route's attempts are hedged; 0: they aren't
}

// notice is a change that whoever watches is told of.
type notice struct {
	stage Stage
	until time.Time // end of a hold
	note  string
}

// settled collects what came of an answer.
type settled struct {
	whose   func() (credential, place uint64) // of the call; asked only if the answer covers some requests alone
	notices []notice
}

func (s *settled) add(n notice) { s.notices = append(s.notices, n) }

// settle tells each stage that admitted the attempt, once.
func (t *target) settle(p *pass, a *answer, now time.Time, s *settled) {
	if a.kind != healthy && a.kind != ignored {
		t.beginTrouble()
		defer t.endTrouble()
	}
	t.tell()
	t.inFlight.Add(-1)
	switch a.kind {
	case healthy:
		t.settleHealthy(p, a, now, s)
		t.calmDown()
	case transient:
		t.settleTransient(p, a, s)
	case overloaded:
		t.settleOverloaded(p, a, now, s)
	default:
		t.gate.Ignored()
		p.ticket.Done(breaker.Ignored)
		p.lane.ignored()
	}
	p.end()
	t.line.WakeNext()
	if p.lane != nil {
		p.lane.line.WakeNext()
	}
}

func (t *target) settleHealthy(p *pass, a *answer, now time.Time, s *settled) {
	took := now.Sub(a.sent)
	calm := !t.gate.Paced() && (p.lane == nil || !p.lane.gate.Paced())
	var slow time.Duration
	if a.stream { // its end, or its first message, may be hours away: that is no answer's time
		took = min(took, cmp.Or(t.useful(), took))
	} else {
		slow = t.learn(t.clock.MomentOf(now), a.route, took, calm, a.breaker.SlowCallRatio > 0)
		t.learnHedge(p, a.route, took, a.hedgeUp, calm)
	}
	t.gate.GoodAt(now, took, slow)
	if t.concurrency.Answered(took, slow) {
		t.limitTurned("lifted", s)
	}
	t.deference.Good(took, slow)
	t.answered(p.ticket, a.result(took, slow), now)
	held := t.heed(a, s)
	if p.lane != nil && p.lane != held {
		p.lane.gate.GoodAt(now, took, slow)
	}
}

// heed takes over what an answer that refused nothing says about a quota: what is left is spread, and
// where nothing is, calls of that credential and partition are held until there is more. It returns the
// lane that is held, if one is.
func (t *target) heed(a *answer, s *settled) (held *lane) {
	said := &a.said
	q := said.Quota
	paces := q.Paces()
	scarce := paces && (q.Remaining == 0 || q.Tight(t.gate.Usual()))
	if said.Scope == hint.AllRequests && (!paces || !scarce && !t.hasLanes()) {
		return nil
	}
	credential, place := s.whose()
	l := t.told(credential, place, t.nameOfPartition(said), said.Scope, scarce, t.rand)
	if l == nil || !paces || l.shared { // a number of one is no word about all who share
		return nil
	}
	l.allowance.Tell(q, a.sent)
	if q.Remaining > 0 {
		return nil
	}
	s.add(notice{StageHold, t.hold(l, q.Reset), "quota"})
	return l
}

// holdAll keeps all of the target's calls back.
func (t *target) holdAll(wait time.Duration, s *settled) {
	t.beginTrouble()
	until := t.gate.Hold(wait)
	t.endTrouble()
	t.line.WakeAll()
	s.add(notice{StageHold, until, ""})
}

// hear takes up a "not before" that comes after the attempt was settled.
func (t *target) hear(a *answer, s *settled) {
	if !a.partitioned {
		t.holdAll(a.wait, s)
		return
	}
	credential, place := s.whose()
	l := t.told(credential, place, t.nameOfPartition(&a.said), a.said.Scope, true, t.rand)
	s.add(notice{StageHold, t.hold(l, a.wait), ""})
}

// settleTransient tells pacing of attempts without an answer. One that reports a fault came from a
// server that answers: where three in ten fail, pacing would keep the other seven back.
func (t *target) settleTransient(p *pass, a *answer, s *settled) {
	p.lane.ignored()
	t.heed(a, s)
	if a.ranOut {
		t.learnTimeout(time.Since(a.sent))
	}
	switch {
	case a.answered:
		t.gate.Ignored()
		p.ticket.Done(breaker.Fault)
		return
	case a.timedOut:
		t.lost(s)
		t.failedAt(t.gate, s, pacing.TimedOut)
	default:
		t.failedAt(t.gate, s, pacing.Refused)
	}
	p.ticket.Done(breaker.Failure)
}

// failedAt tells a gate of a failure, and whoever watches if that begins to pace calls. A lane's tells nothing
// of the target: calls of other credentials have no reason to give way.
func (t *target) failedAt(gate *pacing.Gate, s *settled, kind pacing.Failure) {
	if gate == t.gate {
		t.deference.Failed(kind)
	}
	if gate.Failed(kind) {
		s.add(notice{StagePacing, time.Time{}, kind.String()})
	}
}

// answered tells the breaker of an answer. If that is about to close it, the return begins before: no
// call may slip through between the two. A probe of an earlier state begins nothing.
func (t *target) answered(ticket breaker.Ticket, result breaker.Result, now time.Time) {
	if result == breaker.Success && ticket.Probe() && t.breaker.Refuses() {
		t.gate.Recovered()
	}
	ticket.DoneAt(now, result)
}

// result is what a good answer is to the breaker: slow, where the policy counts that, if it took longer
// than the policy or the usual time of its route says. A stream's end is no answer.
func (a *answer) result(took, slow time.Duration) breaker.Result {
	p := a.breaker
	if p.SlowCallDuration > 0 {
		slow = p.SlowCallDuration
	}
	if p.SlowCallRatio > 0 && slow > 0 && took > slow && !a.stream {
		return breaker.Slow
	}
	return breaker.Success
}

// settleOverloaded turns the server's "not now" into a hold, or into pacing where it names no time.
// To the breaker it is an answer.
func (t *target) settleOverloaded(p *pass, a *answer, now time.Time, s *settled) {
	if p.ticket.Probe() {
		t.answered(p.ticket, breaker.Success, now)
	} else {
		p.ticket.Done(breaker.Ignored)
	}
	wait := a.wait
	if !a.partitioned {
		t.lost(s)
		p.lane.ignored()
		if wait <= 0 {
			t.failedAt(t.gate, s, pacing.Overloaded)
			return
		}
		t.holdAll(wait, s)
		return
	}
	t.gate.Ignored()
	credential, place := s.whose()
	told := t.told(credential, place, t.nameOfPartition(&a.said), a.said.Scope, true, t.rand)
	if told != p.lane {
		p.lane.ignored()
		p.lane = told
	}
	if wait <= 0 {
		t.failedAt(told.gate, s, pacing.Overloaded)
		return
	}
	s.add(notice{StageHold, t.hold(told, wait), ""})
}

// lost tells an adaptive concurrency limit that the server couldn't serve an attempt.
func (t *target) lost(s *settled) {
	if t.concurrency.Lost() {
		t.limitTurned("falls", s)
	}
}

func (t *target) limitTurned(how string, s *settled) {
	_, limit := t.concurrency.Status()
	s.add(notice{StageConcurrency, time.Time{}, fmt.Sprintf("%s: %d under way", how, limit)})
}

// silent notes that a deadline left an attempt little time and no answer came. It tells whether enough
// of them say so by now, with no answer between, that it is the server and not the callers' haste.
func (t *target) silent(sent time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hasty == 0 {
		t.hastySince = sent
	}
	t.hasty++
	return t.hasty > 10 && time.Since(t.hastySince) > time.Second
}

// learnHedge notes how long an attempt took, where a quantile of that is when attempts are hedged; up is 0 where they
// aren't. Hedges are no samples: those that take long are cancelled.
func (t *target) learnHedge(p *pass, route uint64, took, up time.Duration, calm bool) {
	if up > 0 && calm && !p.hedge {
		t.learnLate(route, took, up)
	}
}

// outrun learns from an attempt whose hedge was served first: its answer takes at least as long. Without it the slowest
// answers would be missing, and ever more attempts be hedged.
func (t *target) outrun(p *pass, route uint64, took, up time.Duration) {
	t.learnHedge(p, route, took, up, !t.gate.Paced())
}
