package tether

import (
	"hash/maphash"
	"math"
	"time"

	"github.com/tether-go/tether/internal/decay"
)

// normal learns how long answers of one kind usually take: their 90th percentile, which a heavy tail
// moves less than it moves the mean. It goes up by 13.5 % of itself for an answer above it and down by
// 1.5 % for one below, which is at rest where one in ten is above. With other shares of the same 15 % it
// learns other quantiles. All answers of a second together move it no further than one does, once some
// are known: the onset of trouble must not pass for normal at a client that gets hundreds of answers before
// the first of them fails.
type normal struct {
	most    time.Duration // about what nine in ten answers take at most
	answers uint16        // up to 65,535
	lately  float64       // answers of about countTime
	at      time.Duration // of the last one, since the engine was made
	due     time.Duration // before which a quiet target times no other answer
}

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
func (n *normal) slow() time.Duration {
	if n.answers < enoughAnswers {
		return 0
	}
	return time.Duration(slowFactor * float64(n.most))
}

// weight counts an answer at a time, and is what it weighs where all of a second weigh as much as one.
func (n *normal) weight(now time.Duration) float64 {
	n.lately = n.lately*decay.Of(now-n.at, countTime) + 1
	n.at = max(n.at, now) // another call's clock may have been read later
	return min(1, max(enoughAnswers/(float64(n.answers)+1), countTime.Seconds()/n.lately))
}

// learn goes up by so many stepParts for an answer above, and down by the rest of normalStep for one
// below, or by weight of that.
func (n *normal) learn(took, up time.Duration, weight float64) {
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

// normals are those of a target's routes: a search, a batch and a health check of one server each have
// a normal of their own, and one in common. Routes share a slot where too many of their hashes meet.
type normals struct {
	all    normal
	owners [32]uint64 // the route that a slot is for; 0: nobody's yet
	routes [32]normal
	late   [32]normal // of each route, the quantile from which its attempts are hedged
}

// slot is the route's own, or where that is another's one of the next three; the first where all are.
func (n *normals) slot(route uint64) uint64 {
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

func (n *normals) learn(now time.Duration, route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	own := &n.routes[n.slot(route)]
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

// late is when an attempt on a route is due to be hedged by a quantile; 0: not known yet.
func (t *target) late(route uint64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := &t.normals.late[t.normals.slot(route)]; n.answers >= enoughToHedge {
		return n.most
	}
	return 0
}

func (t *target) learnLate(route uint64, took, up time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.normals.late[t.normals.slot(route)].learn(took, up, 1)
}

// lastRoute remembers the hash of the gRPC method that was called last, which most clients call again. Paths are
// not kept: they may be long, differ each time, and have in them what is nobody's business.
type lastRoute struct {
	grpcMethod string
	hash       uint64
}

// hashOf is the hash of a visit that has a gRPC method only.
func (r *lastRoute) hashOf(v *visit) uint64 {
	if r.hash == 0 || r.grpcMethod != v.GRPCMethod {
		*r = lastRoute{v.GRPCMethod, v.hashRoute()}
	}
	return r.hash
}

// hashRoute names what answers are comparable with the visit's.
func (v *visit) hashRoute() uint64 {
	return maphash.Comparable(v.engine.hashSeed, [3]string{v.Method, v.Path, v.GRPCMethod})
}

// learn takes note of how long a good answer took: towards the median by a twentieth, and what is
// normal on its route. It returns from when on it would have been slow.
func (t *target) learn(now time.Duration, route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learnLocked(now, route, took, calm, slowCounts)
}

// learnOften is how often the time of an answer is taken on a route of a quiet target: all answers of a second
// weigh as much as one anyway, and reading the clock costs as much as all else.
const learnOften = time.Millisecond

// due tells whether the answer to a call that begins now is to be timed. Those that aren't are dated by when
// their calls began: that is of use only where they take less time than what is told at once.
func (n *normals) due(route uint64, now time.Duration) bool {
	own := &n.routes[n.slot(route)]
	if now < own.due && own.answers >= enoughAnswers && own.most < tellTime {
		return false
	}
	own.due = now + learnOften
	return true
}

// usualTime takes note of a good answer of a calm time, unless it was slow or it isn't known what is. The
// target is locked.
func (t *target) usualTime(now time.Duration, route uint64, took time.Duration) bool {
	own := &t.normals.routes[t.normals.slot(route)]
	if slow := own.slow(); slow == 0 || took > slow {
		return false
	}
	t.learnLocked(now, route, took, true, false)
	return true
}

func (t *target) learnLocked(now time.Duration, route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	t.tooShort = min(t.tooShort, took)
	t.hasty = 0
	switch {
	case t.usual == 0:
		t.usual = took
	case took > t.usual:
		t.usual += t.usual/20 + 1
	default:
		t.usual -= t.usual / 20
	}
	return t.normals.learn(now, route, took, calm, slowCounts)
}
