package target

import (
	"hash/maphash"

	"github.com/tether-go/tether/ratelimit/hint"
)

// maxRoutes bounds the routes of one target whose partition is kept in mind.
const MaxRoutes = 512

// LaneKey names what is told to wait together: a credential, or one partition of its requests. A
// partition of 0 is all of them.
type LaneKey struct{ Credential, Partition uint64 }

// Partitions is what answers have taught about which requests of a target are counted together. It is
// guarded by the target's lock.
type Partitions struct {
	ByRoute map[uint64]partition
	first   uint64 // that was seen
	several bool   // were seen
	mixed   bool   // one route is under several policies: a policy's name tells no requests apart
}

// partition is a route's, as its last answer named it.
type partition struct {
	Name   uint64
	policy bool // rather than a bucket or a resource
}

// Learn notes the partition that a route's answer has named. It tells whether this shows for the first
// time that policies don't divide the requests.
func (ps *Partitions) Learn(route, name uint64, scope hint.Scope) (mixed bool) {
	if scope == hint.AllRequests {
		return false
	}
	is := partition{name, scope == hint.OnePolicy}
	was, known := ps.ByRoute[route]
	if known && was == is {
		return false
	}
	if known && was.policy && is.policy && !ps.mixed {
		ps.mixed, mixed = true, true
	}
	if ps.first == 0 {
		ps.first = name
	}
	ps.several = ps.several || name != ps.first
	if ps.ByRoute == nil {
		ps.ByRoute = make(map[uint64]partition)
	}
	if !known && len(ps.ByRoute) >= MaxRoutes {
		for any := range ps.ByRoute { // whose next answer names it again
			delete(ps.ByRoute, any)
			break
		}
	}
	ps.ByRoute[route] = is
	return mixed
}

// covered is the partition that an answer's word is about. A bucket or a resource divides the requests
// by its nature; a policy may apply to all of them, until others turn out to be under another one.
func (ps *Partitions) covered(name uint64, scope hint.Scope) uint64 {
	switch {
	case scope == hint.SomeRequests, scope == hint.OnePolicy && ps.several && !ps.mixed:
		return name
	}
	return 0
}

// nameOfPartition keys a partition's name and key for the life of the engine.
func (t *Target) nameOfPartition(h *hint.Hint) uint64 {
	return max(1, maphash.Comparable(t.seed, [2]string{h.Partition, h.PartitionKey}))
}
