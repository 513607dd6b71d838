package target

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// Kind is what an answer taught about the server; the numbers are those of Class.
type Kind uint8

const (
	Ignored Kind = iota
	Healthy
	Transient
	Overloaded
)

// Answer is what one attempt brought, in the words of a target.
type Answer struct {
	Kind        Kind
	Said        hint.Hint
	Answered    bool          // the server said something, and be it that it failed
	TimedOut    bool          // it may have cost the server a whole service
	RanOut      bool          // its time was too short
	Partitioned bool          // a refusal covers this caller's credential only
	Stream      bool          // its end, or its first message, is no answer's time
	Wait        time.Duration // that the server asks for
	Sent        time.Time
	Endpoint    uint64
	Breaker     *breaker.Policy
	HedgeUp     time.Duration // quantile from which the route's attempts are hedged; 0: they aren't
}

// Notice is a change that whoever watches is told of.
type Notice struct {
	Stage Stage
	Until time.Time // end of a hold
	Note  string
}

// Settled collects what came of an answer.
type Settled struct {
	Whose   func() (credential, place uint64) // of the call; asked only if the answer covers some requests alone
	Notices []Notice
}

func (s *Settled) add(n Notice) { s.Notices = append(s.Notices, n) }

// Settle tells each stage that admitted the attempt, once.
func (t *Target) Settle(p *Pass, a *Answer, now time.Time, s *Settled) {
	if a.Kind != Healthy && a.Kind != Ignored {
		t.BeginTrouble()
		defer t.EndTrouble()
	}
	t.Flush()
	t.InFlight.Add(-1)
	switch a.Kind {
	case Healthy:
		t.settleHealthy(p, a, now, s)
		t.openFast()
	case Transient:
		t.settleTransient(p, a, s)
	case Overloaded:
		t.settleOverloaded(p, a, now, s)
	default:
		t.Gate.Ignored()
		p.Ticket.Done(breaker.Ignored)
		p.Lane.ignored()
	}
	p.end()
	t.Queue.WakeNext()
	if p.Lane != nil {
		p.Lane.Queue.WakeNext()
	}
}

func (t *Target) settleHealthy(p *Pass, a *Answer, now time.Time, s *Settled) {
	took := now.Sub(a.Sent)
	calm := !t.Gate.Paced() && (p.Lane == nil || !p.Lane.Gate.Paced())
	var slow time.Duration
	if a.Stream { // its end, or its first message, may be hours away: that is no answer's time
		took = min(took, cmp.Or(t.Useful(), took))
	} else {
		slow = t.learn(t.Clock.MomentOf(now), a.Endpoint, took, calm, a.Breaker.SlowCallRatio > 0)
		t.learnHedge(p, a.Endpoint, took, a.HedgeUp, calm)
	}
	t.Gate.GoodAt(now, took, slow)
	t.limitTurned(t.Concurrency.Answered(took, slow), s)
	t.Shedder.Good(took, slow)
	t.answered(p.Ticket, a.result(took, slow), now)
	held := t.heed(a, s)
	if p.Lane != nil && p.Lane != held {
		p.Lane.Gate.GoodAt(now, took, slow)
	}
}

// heed takes over what an answer that refused nothing says about a quota: what is left is spread, and
// where nothing is, calls of that credential and partition are held until there is more. It returns the
// lane that is held, if one is.
func (t *Target) heed(a *Answer, s *Settled) (held *Lane) {
	said := &a.Said
	q := said.Quota
	paces := q.Paces()
	scarce := paces && (q.Remaining == 0 || q.Tight(t.Gate.Usual()))
	if said.Scope == hint.AllRequests && (!paces || !scarce && !t.HasLanes()) {
		return nil
	}
	credential, place := s.Whose()
	l := t.LaneFor(credential, place, t.nameOfPartition(said), said.Scope, scarce, t.rand)
	if l == nil || !paces || l.shared { // a number of one is no word about all who share
		return nil
	}
	l.allowance.Tell(q, a.Sent)
	if q.Remaining > 0 {
		return nil
	}
	s.add(Notice{StageHold, t.Hold(l, q.Reset), "quota"})
	return l
}

// holdAll keeps all of the target's calls back.
func (t *Target) holdAll(wait time.Duration, s *Settled) {
	t.BeginTrouble()
	until := t.Gate.Hold(wait)
	t.EndTrouble()
	t.Queue.WakeAll()
	s.add(Notice{StageHold, until, ""})
}

// Hear takes up a "not before" that comes after the attempt was settled.
func (t *Target) Hear(a *Answer, s *Settled) {
	if !a.Partitioned {
		t.holdAll(a.Wait, s)
		return
	}
	credential, place := s.Whose()
	l := t.LaneFor(credential, place, t.nameOfPartition(&a.Said), a.Said.Scope, true, t.rand)
	s.add(Notice{StageHold, t.Hold(l, a.Wait), ""})
}

// settleTransient tells pacing of attempts without an answer. One that reports a fault came from a
// server that answers: where three in ten fail, pacing would keep the other seven back.
func (t *Target) settleTransient(p *Pass, a *Answer, s *Settled) {
	p.Lane.ignored()
	t.heed(a, s)
	if a.RanOut {
		t.learnTimeout(time.Since(a.Sent))
	}
	switch {
	case a.Answered:
		t.Gate.Ignored()
		p.Ticket.Done(breaker.Fault)
		return
	case a.TimedOut:
		t.lost(s)
		t.failedAt(t.Gate, s, pacing.TimedOut)
	default:
		t.failedAt(t.Gate, s, pacing.Refused)
	}
	p.Ticket.Done(breaker.Failure)
}

// failedAt tells a gate of a failure, and whoever watches if that begins to pace calls. A lane's tells nothing
// of the target: calls of other credentials have no reason to give way.
func (t *Target) failedAt(gate *pacing.Gate, s *Settled, kind pacing.Failure) {
	if gate == t.Gate {
		t.Shedder.Failed(kind)
	}
	if gate.Failed(kind) {
		s.add(Notice{StagePacing, time.Time{}, kind.String()})
	}
}

// answered tells the breaker of an answer. If that is about to close it, the return begins before: no
// call may slip through between the two. A probe of an earlier state begins nothing.
func (t *Target) answered(ticket breaker.Ticket, result breaker.Result, now time.Time) {
	if result == breaker.Success && ticket.Probe() && t.Breaker.Refuses() {
		t.Gate.Recovered()
	}
	ticket.DoneAt(now, result)
}

// result is what a good answer is to the breaker: slow, where the policy counts that, if it took longer
// than the policy or the usual time of its route says. A stream's end is no answer.
func (a *Answer) result(took, slow time.Duration) breaker.Result {
	p := a.Breaker
	if p.SlowCallDuration > 0 {
		slow = p.SlowCallDuration
	}
	if p.SlowCallRatio > 0 && slow > 0 && took > slow && !a.Stream {
		return breaker.Slow
	}
	return breaker.Success
}

// settleOverloaded turns the server's "not now" into a hold, or into pacing where it names no time.
// To the breaker it is an answer.
func (t *Target) settleOverloaded(p *Pass, a *Answer, now time.Time, s *Settled) {
	if p.Ticket.Probe() {
		t.answered(p.Ticket, breaker.Success, now)
	} else {
		p.Ticket.Done(breaker.Ignored)
	}
	wait := a.Wait
	if !a.Partitioned {
		t.lost(s)
		p.Lane.ignored()
		if wait <= 0 {
			t.failedAt(t.Gate, s, pacing.Overloaded)
			return
		}
		t.holdAll(wait, s)
		return
	}
	t.Gate.Ignored()
	credential, place := s.Whose()
	told := t.LaneFor(credential, place, t.nameOfPartition(&a.Said), a.Said.Scope, true, t.rand)
	if told != p.Lane {
		p.Lane.ignored()
		p.Lane = told
	}
	if wait <= 0 {
		t.failedAt(told.Gate, s, pacing.Overloaded)
		return
	}
	s.add(Notice{StageHold, t.Hold(told, wait), ""})
}

// lost tells an adaptive concurrency limit that the server couldn't serve an attempt.
func (t *Target) lost(s *Settled) {
	t.limitTurned(t.Concurrency.Lost(), s)
}

// limitTurned notes a turn by what the limit did, not by the outcome that brought it about.
func (t *Target) limitTurned(turn ratelimit.Turn, s *Settled) {
	var how string
	switch turn {
	case ratelimit.Steady:
		return
	case ratelimit.Falls:
		how = "falls"
	case ratelimit.Lifted:
		how = "lifted"
	}
	_, limit := t.Concurrency.Status()
	s.add(Notice{StageConcurrency, time.Time{}, fmt.Sprintf("%s: %d under way", how, limit)})
}

// hastyMany short deadlines in a row without an answer are a loop, or a server that is down: from then on calls with as
// little time are sent hastyGap apart.
const (
	hastyMany = 10
	hastyGap  = 100 * time.Millisecond
)

// Silent notes that a deadline left an attempt little time and no answer came. It tells whether enough
// of them say so by now, with no answer between, that it is the server and not the callers' haste.
func (t *Target) Silent(sent time.Time) bool {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	now := time.Now()
	if t.hasty == 0 {
		t.hastySince = sent
	}
	t.hasty++
	t.hastyTime = max(t.hastyTime, now.Sub(sent))
	if t.hasty == hastyMany {
		t.closeFastLocked() // so that calls are asked for their time
	}
	return t.hasty > hastyMany && now.Sub(t.hastySince) > time.Second
}

// TooHasty tells what keeps back a call that has no more time left than twice what brought no answer many times in a
// row; one in a tenth of a second is sent all the same, because its answer would end that. Left is negative if the call
// has no deadline.
func (t *Target) TooHasty(left time.Duration) *Obstacle {
	if left < 0 {
		return nil
	}
	t.Mu.Lock()
	defer t.Mu.Unlock()
	if t.hasty < hastyMany || left > 2*t.hastyTime {
		return nil
	}
	now := time.Now()
	if now.Before(t.hastyNext) {
		return &Obstacle{Stage: StagePacing, Reason: pacing.ErrPaced, RetryAt: t.hastyNext}
	}
	t.hastyNext = now.Add(hastyGap)
	return nil
}

// learnHedge notes how long an attempt took, where a quantile of that is when attempts are hedged; up is 0 where they
// aren't. Hedges are no samples: those that take long are cancelled.
func (t *Target) learnHedge(p *Pass, route uint64, took, up time.Duration, calm bool) {
	if up > 0 && calm && !p.Hedge {
		t.learnLate(route, took, up)
	}
}

// Outrun learns from an attempt whose hedge was served first: its answer takes at least as long. Without it the slowest
// answers would be missing, and ever more attempts be hedged.
func (t *Target) Outrun(p *Pass, route uint64, took, up time.Duration) {
	t.learnHedge(p, route, took, up, !t.Gate.Paced())
}
