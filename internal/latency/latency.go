package latency

import (
	"github.com/tether-go/tether/internal/clock"
	"math"
	"time"

	"github.com/tether-go/tether/internal/decay"
)

// Baseline learns how long answers of one kind usually take: their 90th percentile, which a heavy tail
// moves less than it moves the mean. It goes up by 13.5 % of itself for an answer above it and down by
// 1.5 % for one below, which is at rest where one in ten is above. With other shares of the same 15 % it
// learns other quantiles. All answers of a second together move it no further than one does, once some
// are known: the onset of trouble must not pass for normal at a client that gets hundreds of answers before
// the first of them fails.
type Baseline struct {
	most    time.Duration // about what nine in ten answers take at most
	answers uint16        // up to 65,535
	lately  float64       // answers of about countTime
	at      clock.Moment  // the last answer
	due     clock.Moment  // before it, a quiet target times no other answer
}

// Quick is less time than what a quiet target reports at once may span.
const Quick = 10 * time.Millisecond

const (
	enoughAnswers = 8
	countTime     = 10 * time.Second // longer than answers take, or late ones would weigh more
	enoughToHedge = 50               // the higher a quantile, the longer it takes to find
	tailToMean    = 2.3              // of an exponential distribution: ln 10
	slowFactor    = 2.2              // of the 90th percentile: five times the mean of an exponential distribution
	normalStep    = 15_000
	normalUp      = normalStep * 9 / 10 // of stepParts, above the 90th percentile
	gentlyUp      = normalStep - normalUp
	stepParts     = 100_000
)

// slow is from when on an answer is slow; 0: not known.
func (n *Baseline) slow() time.Duration {
	if n.answers < enoughAnswers {
		return 0
	}
	return time.Duration(slowFactor * float64(n.most))
}

// weight counts an answer at a time, and is what it weighs where all of a second weigh as much as one.
func (n *Baseline) weight(now clock.Moment) float64 {
	n.lately = n.lately*decay.Of(now.Since(n.at), countTime) + 1
	n.at = max(n.at, now) // another call's clock may have been read later
	return min(1, max(enoughAnswers/(float64(n.answers)+1), countTime.Seconds()/n.lately))
}

// learn goes up by so many stepParts for an answer above, and down by the rest of normalStep for one
// below, or by weight of that.
func (n *Baseline) learn(took, up time.Duration, weight float64) {
	n.answers = min(n.answers, math.MaxUint16-1) + 1
	switch {
	case n.answers <= enoughAnswers:
		n.most += (time.Duration(tailToMean*float64(took)) - n.most) / time.Duration(n.answers)
	case took > n.most:
		n.most += time.Duration(weight * float64(n.most) * float64(up) / stepParts)
	default:
		n.most -= time.Duration(weight * float64(n.most) * float64(normalStep-up) / stepParts)
	}
}

// Endpoints are the baselines of a server: a search, a batch and a health check of one server each have
// a normal of their own, and one in common. Routes share a slot where too many of their hashes meet.
type Endpoints struct {
	all       Baseline
	owners    [32]uint64 // the route that a slot is for; 0: nobody's yet
	endpoints [32]Baseline
	late      [32]Baseline // of each route, the quantile from which its attempts are hedged
}

// HedgeAt is when an attempt of a route is due to be hedged by a quantile; 0: not known yet.
func (n *Endpoints) HedgeAt(route uint64) time.Duration {
	if late := &n.late[n.slot(route)]; late.answers >= enoughToHedge {
		return late.most
	}
	return 0
}

// LearnLate learns the quantile that up stands for, see [quantileUp].
func (n *Endpoints) LearnLate(route uint64, took, up time.Duration) {
	n.late[n.slot(route)].learn(took, up, 1)
}

// IsUsual tells whether an answer took no longer than usual on a route of which enough is known.
func (n *Endpoints) IsUsual(route uint64, took time.Duration) bool {
	slow := n.endpoints[n.slot(route)].slow()
	return slow > 0 && took <= slow
}

// slot is the route's own, or where that is another's one of the next three; the first where all are.
func (n *Endpoints) slot(route uint64) uint64 {
	const slots = uint64(len(n.owners))
	for at := route; at < route+4; at++ {
		switch owner := &n.owners[at%slots]; *owner {
		case 0:
			*owner = route
			return at % slots
		case route:
			return at % slots
		}
	}
	return route % slots
}

func (n *Endpoints) Learn(now clock.Moment, route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	own := &n.endpoints[n.slot(route)]
	if slow = own.slow(); slow == 0 {
		slow = n.all.slow()
	}
	if calm || own.answers < enoughAnswers { // what overload does to answers is not their usual time
		up := time.Duration(normalUp)
		if slowCounts && slow > 0 && took > slow { // a breaker must see it as such for long enough
			up = gentlyUp
		}
		own.learn(took, up, own.weight(now))
		n.all.learn(took, up, n.all.weight(now))
	}
	return slow
}

// learnOften is how often the time of an answer is taken on a route of a quiet target: all answers of a second
// weigh as much as one anyway, and reading the clock costs as much as all else.
const learnOften = time.Millisecond

// Due tells whether the answer to a call that begins now is to be timed. Those that aren't are dated by when
// their calls began: that is of use only where they take less time than what is told at once.
func (n *Endpoints) Due(route uint64, now clock.Moment) bool {
	own := &n.endpoints[n.slot(route)]
	if now < own.due && own.answers >= enoughAnswers && own.most < Quick {
		return false
	}
	own.due = now.Add(learnOften)
	return true
}

// QuantileUp is by how many stepParts a normal goes up that learns a quantile; 0 for the whole of all
// answers, which none is later than.
func QuantileUp(quantile float64) time.Duration {
	if quantile >= 1 {
		return 0
	}
	return time.Duration(min(math.Round(quantile*normalStep), normalStep-1))
}
