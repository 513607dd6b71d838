package target

import (
	"hash/maphash"
	"time"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/endpoint"
)

// Late is when an attempt on a route is due to be hedged by a quantile; 0: not known yet.
func (t *Target) Late(route uint64) time.Duration {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	return t.baselines.HedgeAt(route)
}

func (t *Target) learnLate(route uint64, took, up time.Duration) {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	t.baselines.LearnLate(route, took, up)
}

// lastRoute remembers the hash of the gRPC method that was called last, which most clients call again. Paths are
// not kept: they may be long, differ each time, and have in them what is nobody's business.
type lastEndpoint struct {
	grpcMethod string
	hash       uint64
}

// hashOf is the hash of an endpoint that has a gRPC method only.
func (r *lastEndpoint) hashOf(grpcMethod string, seed maphash.Seed) uint64 {
	if r.hash == 0 || r.grpcMethod != grpcMethod {
		*r = lastEndpoint{grpcMethod, endpoint.Endpoint{GRPCMethod: grpcMethod}.Hash(seed)}
	}
	return r.hash
}

// learn takes note of how long a good answer took: towards the median by a twentieth, and what is
// normal on its route. It returns from when on it would have been slow.
func (t *Target) learn(now clock.Moment, route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	return t.learnLocked(now, route, took, calm, slowCounts)
}

// usualTime takes note of a good answer of a calm time, unless it was slow or it isn't known what is. The
// target is locked.
func (t *Target) usualTime(now clock.Moment, route uint64, took time.Duration) bool {
	if !t.baselines.IsUsual(route, took) {
		return false
	}
	t.learnLocked(now, route, took, true, false)
	return true
}

func (t *Target) learnLocked(now clock.Moment, route uint64, took time.Duration, calm, slowCounts bool) (slow time.Duration) {
	t.tooShort = min(t.tooShort, took)
	t.hasty, t.hastyTime = 0, 0
	switch {
	case t.usual == 0:
		t.usual = took
	case took > t.usual:
		t.usual += t.usual/20 + 1
	default:
		t.usual -= t.usual / 20
	}
	return t.baselines.Learn(now, route, took, calm, slowCounts)
}

// RefusalDelay is how long this refusal must take.
func (t *Target) RefusalDelay(now time.Time) time.Duration {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	return t.loops.RefusalDelay(now)
}
