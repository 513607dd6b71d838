package pacing

import (
	"math"
	"time"

	"github.com/tether-go/tether/internal/decay"
)

// Failure says how an attempt ended that the server, or the way to it, let down.
type Failure uint8

// The kinds of failure. The zero Failure is the one that costs the server least.
const (
	Refused    Failure = iota // no connection, or one that broke: it cost the server nothing
	TimedOut                  // no answer in time: it may have cost the server a whole service
	Overloaded                // an answer that said "not now" and named no time
)

// String returns "refused", "timed out" or "overloaded".
func (f Failure) String() string {
	return [...]string{"refused", "timed out", "overloaded", "unknown"}[min(f, Overloaded+1)]
}

// The steps are in units of the rate's logarithm, for all that is learnt within about a second: many
// outcomes move a busy client no faster than few do a quiet one. All figures were found in rehearsals
// of whole fleets; package tethertest repeats them.
const (
	// Two failures in a row pace a quiet client, one never does: a lone timeout is mostly an accident.
	failStep = 2.0
	headroom = 1.15 // over the usual rate; a failure's step takes the free rate down to just there
	// An answer that says "overloaded" is no accident of the network: the first one counts more.
	overloadWeight = 1.3
	upStep         = 1.5
	byChance       = 2 // so many timeouts may meet by accident
	slowStep       = 0.8
	gently         = 0.2 // of upStep, after a hold: the whole fleet returns at once
	// forgetTime is an e-fold by time alone: a lesson must not outlive its use.
	forgetTime = 60 * time.Second

	// Probes find the end of the trouble at these shares of the usual rate. Where connections are
	// refused they cost nothing, so it can be looked for more often. A fleet at the lower floor must
	// leave even a server that has lost four fifths of its capacity some of it to recover with.
	refusedFloor = 0.27
	costlyFloor  = 0.13
	probeLeast   = 1.0 / 25 // calls/s
	// At most one probe a second for each caller that waits, so that a loop without a pause makes one.
	probeMost = 5.0

	// After a failure, the first fast answer lifts the rate to these shares of the usual one, but a
	// costly failure's no further than liftMost: busy clients soon have more answers to go by.
	refusedLift = 1.0
	costlyLift  = 0.7
	liftMost    = 0.5 // calls/s
	fast        = 0.5 // of the slow time: such an answer met no queue

	// The last answer's slowness stretches the next gap, down to this share of the usual rate. The
	// rate integrates the answers and the server's queue integrates the rate; two integrators
	// oscillate unless something in proportion damps them.
	dampAim   = 0.6
	dampLeast = 0.2
	dampMost  = 1.5
	// A busy client's attempts under way are at most this many times the need of its rate while answers
	// take their usual time (Little's law).
	window = 1.3
)

// pacer is the law by which answers teach how fast to send. It is free, and paces no call, until
// failures bring its rate under the usual one. Slowness alone never does.
type pacer struct {
	paced   bool
	rate    float64   // sends/s that the answers allow; 0: the best there is
	damp    float64   // factor of rate, from the last answer
	at      time.Time // when rate was last brought up to date
	failing bool      // no good answer came since the last failure
	last    Failure
	strikes int  // failures since the pacer was free and an answer was good
	gentle  bool // since a hold, until an answer shows the server's limit

	outcomes  float64 // of about the last second
	outcomeAt time.Time
}

// best is the rate of a free client whose usual one is d: from there, failures in a row for a second
// reach the headroom.
func best(d float64) float64 { return headroom * d * math.Exp(failStep/max(1, d-0.5)) }

func (p *pacer) free() { p.paced, p.failing, p.strikes, p.rate = false, false, 0, 0 }

// elapse brings the rate up to now.
func (p *pacer) elapse(now time.Time, d float64) {
	if !p.paced && !p.failing { // a free pacer has no rate: a failure begins with the best
		p.rate, p.at = 0, later(p.at, now)
		return
	}
	forgotten := max(0, now.Sub(p.at)).Seconds() / forgetTime.Seconds()
	p.at = later(p.at, now)
	p.rate = max(p.rate, min(p.rate*math.Exp(forgotten), returnFactor*d))
}

// pace is the rate in force. Damping may also hurry, but not above the rate of a return.
func (p *pacer) pace(d float64) float64 {
	hurried := min(p.rate*p.damp, max(p.rate, returnMost*d))
	return max(hurried, min(p.rate, dampLeast*d))
}

// outcome counts an attempt that ended and returns how many did within about a second.
func (p *pacer) outcome(now time.Time) float64 { return p.ended(now, 1) }

func (p *pacer) ended(now time.Time, attempts float64) float64 {
	p.outcomes = p.outcomes*decay.Of(now.Sub(p.outcomeAt), time.Second) + attempts
	p.outcomeAt = later(p.outcomeAt, now)
	return p.outcomes
}

// failed lowers the rate, for a client of the usual rate d with so many calls waiting. It returns the
// failure's weight, from 0 to 1.
func (p *pacer) failed(kind Failure, d float64, waiting int, now time.Time) (weight float64) {
	among := p.outcome(now) - 1
	if p.rate == 0 {
		p.rate, p.damp = best(d), 1
	}
	if !p.paced {
		among = max(among, d-0.5)
	}
	weight = 1 / max(1, among)
	step, share := failStep*weight, costlyFloor
	if kind == Overloaded && !p.paced {
		step *= overloadWeight
	}
	if kind == Refused {
		share = refusedFloor
	}
	most := min(max(1, float64(waiting)), probeMost)
	if floor := max(probeLeast, min(most, share*d)); p.rate > floor {
		p.rate = max(p.rate*math.Exp(-step), floor)
	}
	p.damp, p.gentle, p.failing, p.last = 1, false, true, kind
	p.strikes++
	p.paced = p.paced || p.rate < d
	return weight
}

// good raises the rate, or lowers it by a slow answer, and tells whether the server was just found
// to be back. Slow is when answers of this kind are slow; 0: unknown. Lately tells of trouble within about
// a minute: after that slowness keeps no client under the usual rate, it may be the server's new normal.
func (p *pacer) good(took, slow time.Duration, d float64, now time.Time, lately bool) (back bool) {
	among := p.outcome(now)
	ratio, seconds := slowness(took, slow, d)
	accident := p.strikes <= byChance && p.last == TimedOut
	switch {
	case ratio < 1 && (!p.paced || p.failing && accident):
		p.free()
		return false
	case !p.paced:
		return false
	case ratio < 1:
		quick := slow <= 0 || took.Seconds() < fast*slow.Seconds()
		back = p.up(ratio, seconds, d, among, quick)
	default:
		weight := min(1, 1/(among*max(seconds, 1)))
		floor := costlyFloor * d
		if !lately {
			floor = returnFactor * d
		}
		if p.rate > floor {
			p.rate = max(p.rate*math.Exp(-slowStep*min(1, ratio-1)*weight), floor)
		}
	}
	p.gentle = p.gentle && ratio < 0.7
	p.damp = min(max(dampAim/max(ratio, 0.01), dampLeast), dampMost)
	if p.gentle {
		p.damp = min(p.damp, 1)
	}
	if !lately {
		p.damp = max(p.damp, 1)
	}
	return back
}

func (p *pacer) up(ratio, slow, d, among float64, quick bool) (back bool) {
	// A busy client may grow by an e-fold in the time that a queue takes to show. Quiet ones, that each had
	// a few answers just now, mustn't all do so at once.
	most := min(max(0.05, d/15), 1.0/3)
	weight := min(1, max(1/(3*among), min(most, 1/(among*max(slow, 0.001)))))
	if p.gentle {
		weight *= gently
	}
	before := p.rate
	// An unused rate proves nothing about a higher one (RFC 7661 has the same rule for windows).
	used := max(p.rate, returnFactor*d, 1.25*among)
	p.rate = min(p.rate*math.Exp(upStep*(1-ratio)*weight), used)
	if !p.failing || !quick {
		return false
	}
	p.failing = false
	lift := min(costlyLift*d, liftMost)
	if p.last == Refused {
		lift = refusedLift * d
	}
	p.rate = max(p.rate, lift)
	return before < liftMost
}

// slowness is an answer's time over the slow time of its kind, and that time in seconds. A client with much
// under way sees a queue build up earlier, and takes less for slow: but more than the usual time of a
// server whose answers all take as long.
func slowness(took, slow time.Duration, d float64) (ratio, seconds float64) {
	if slow <= 0 {
		return 0.3, 0.3
	}
	seconds = slow.Seconds()
	seconds *= 1 - 0.3*min(1, d*seconds/10)
	return took.Seconds() / seconds, seconds
}
