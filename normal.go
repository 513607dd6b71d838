package tether

import (
	"hash/maphash"
	"math"
	"time"
)

// normal learns how long answers of one kind usually take: their 90th percentile, which a heavy tail
// moves less than it moves the mean. It goes up by 13.5 % of itself for an answer above it and down by
// 1.5 % for one below, which is at rest where one in ten is above. All answers of a second together move
// it no further than one does, once some are known: the onset of trouble must not pass for normal at
// a client that gets hundreds of answers before the first of them fails.
type normal struct {
	most    time.Duration // about what nine in ten answers take at most
	answers uint16        // up to 65,535
	at      time.Time     // of the last one
}

const (
	enoughAnswers = 8
	tailToMean    = 2.3 // of an exponential distribution: ln 10
	slowFactor    = 2.2 // of the 90th percentile: five times the mean of an exponential distribution
)

// slow is from when on an answer is slow; 0: not known.
func (n *normal) slow() time.Duration {
	if n.answers < enoughAnswers {
		return 0
	}
	return time.Duration(slowFactor * float64(n.most))
}

// learn takes note of an answer; gently, of one that is slow, where a breaker must see it as such for
// long enough.
func (n *normal) learn(took time.Duration, now time.Time, gently bool) {
	weight := min(1, max(enoughAnswers/float64(n.answers), now.Sub(n.at).Seconds()))
	n.answers = min(n.answers, math.MaxUint16-1) + 1
	n.at = now
	switch {
	case n.answers <= enoughAnswers:
		n.most += (time.Duration(tailToMean*float64(took)) - n.most) / time.Duration(n.answers)
	case took > n.most && gently:
		n.most += time.Duration(0.015 * weight * float64(n.most))
	case took > n.most:
		n.most += time.Duration(0.135 * weight * float64(n.most))
	default:
		n.most -= time.Duration(0.015 * weight * float64(n.most))
	}
}

// normals are those of a target's routes: a search, a batch and a health check of one server each have
// a normal of their own. Routes share a slot where their hashes meet, and all of them the first one.
type normals struct {
	all    normal
	routes [32]normal
}

func (n *normals) learn(route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	own := &n.routes[route%uint64(len(n.routes))]
	if slow = own.slow(); slow == 0 {
		slow = n.all.slow()
	}
	if calm || own.answers < enoughAnswers { // what overload does to answers is not their usual time
		now, gently := time.Now(), slowCounts && slow > 0 && took > slow
		own.learn(took, now, gently)
		n.all.learn(took, now, gently)
	}
	return slow
}

// route names what answers are comparable with the call's.
func (c *call) route() uint64 {
	if c.routeHash == 0 {
		c.routeHash = maphash.Comparable(c.engine.hashSeed, [3]string{c.Method, c.Path, c.GRPCMethod})
	}
	return c.routeHash
}

// learn takes note of how long a good answer took: towards the median by a twentieth, and what is
// normal on its route. It returns from when on it would have been slow.
func (t *target) learn(route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
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
	return t.normals.learn(route, took, calm, slowCounts)
}
