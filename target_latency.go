package tether

import (
	"hash/maphash"
	"time"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/endpoint"
)

// late is when an attempt on a route is due to be hedged by a quantile; 0: not known yet.
func (t *target) late(route uint64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.normals.HedgeAt(route)
}

func (t *target) learnLate(route uint64, took, up time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.normals.LearnLate(route, took, up)
}

// lastRoute remembers the hash of the gRPC method that was called last, which most clients call again. Paths are
// not kept: they may be long, differ each time, and have in them what is nobody's business.
type lastRoute struct {
	grpcMethod string
	hash       uint64
}

// hashOf is the hash of an endpoint that has a gRPC method only.
func (r *lastRoute) hashOf(grpcMethod string, seed maphash.Seed) uint64 {
	if r.hash == 0 || r.grpcMethod != grpcMethod {
		*r = lastRoute{grpcMethod, endpoint.Endpoint{GRPCMethod: grpcMethod}.Hash(seed)}
	}
	return r.hash
}

// learn takes note of how long a good answer took: towards the median by a twentieth, and what is
// normal on its route. It returns from when on it would have been slow.
func (t *target) learn(now clock.Moment, route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learnLocked(now, route, took, calm, slowCounts)
}

// usualTime takes note of a good answer of a calm time, unless it was slow or it isn't known what is. The
// target is locked.
func (t *target) usualTime(now clock.Moment, route uint64, took time.Duration) bool {
	if !t.normals.IsUsual(route, took) {
		return false
	}
	t.learnLocked(now, route, took, true, false)
	return true
}

func (t *target) learnLocked(now clock.Moment, route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
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
	return t.normals.Learn(now, route, took, calm, slowCounts)
}
