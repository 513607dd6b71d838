package target

import (
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
)

// MaxRoutes bounds the routes of one target whose partition is kept in mind.
const MaxRoutes = 512

// LaneKey names what is told to wait together: a credential, or one partition of its requests. A
// partition of 0 is all of them.
type LaneKey struct{ Credential, Partition uint64 }

// Partitions is what answers have taught about which requests of a target are counted together. It is
// guarded by the target's lock.
type Partitions struct {
	ByRoute map[uint64]partition
	held    map[uint64]time.Time // by name, the end of the last hold; at most one a lane
	first   uint64               // name that was seen
	several bool                 // names were seen
	mixed   bool                 // one route is under several policies: a policy's name tells no requests apart
}

// partition is a route's, as its last answer named it.
type partition struct {
	Name   uint64
	policy bool // rather than a bucket or a resource
	// former are the names that the route had while a hold of theirs was on: the answer which brought the hold
	// covered the route.
	former [4]formerName
}

// formerName is a name that says something about a route until the hold ends that it had then. The zero value is none.
type formerName struct {
	name  uint64
	until time.Time
}

// names calls f with each name that says something about a route.
func (ps *Partitions) names(route uint64, now time.Time, f func(name uint64)) {
	is, known := ps.ByRoute[route]
	if !known {
		return
	}
	f(is.Name)
	for _, before := range is.former {
		if before.until.After(now) {
			f(before.name)
		}
	}
}

// isHeld tells whether a hold of a name is on.
func (ps *Partitions) isHeld(name uint64, now time.Time) bool { return ps.held[name].After(now) }

// hold notes the end of a name's hold.
func (ps *Partitions) hold(name uint64, until time.Time) {
	if name == 0 || !until.After(ps.held[name]) {
		return
	}
	if ps.held == nil {
		ps.held = make(map[uint64]time.Time)
	}
	if _, known := ps.held[name]; !known && len(ps.held) > MaxLanes {
		now := time.Now()
		maps.DeleteFunc(ps.held, func(_ uint64, end time.Time) bool { return !end.After(now) })
	}
	ps.held[name] = until
}

// Learn notes the partition that a route's answer has named. It tells whether this shows for the first
// time that policies don't divide the requests, and which names' holds must move to what still covers the
// route: those that find no place beside it any more.
func (ps *Partitions) Learn(route, name uint64, scope hint.Scope, now time.Time) (mixed bool, displaced []uint64) {
	if scope == hint.AllRequests {
		return false, nil
	}
	is := partition{Name: name, policy: scope == hint.OnePolicy}
	was, known := ps.ByRoute[route]
	is.former = was.former
	if known && was == is {
		return false, nil
	}
	if known && was.policy && is.policy && was.Name != name && !ps.mixed {
		ps.mixed, mixed = true, true
	}
	if ps.first == 0 {
		ps.first = name
	}
	ps.several = ps.several || name != ps.first
	if ps.ByRoute == nil {
		ps.ByRoute = make(map[uint64]partition)
	}
	switch {
	case known && was.Name != name:
		is.former, displaced = ps.kept(was, name, now)
	case known:
	case len(ps.ByRoute) >= MaxRoutes:
		displaced = ps.evict(now)
	}
	ps.ByRoute[route] = is
	return mixed, displaced
}

// kept are the names of a route that still hold it beside the new one, and those for which there is no place.
func (ps *Partitions) kept(was partition, name uint64, now time.Time) (former [4]formerName, displaced []uint64) {
	n := 0
	for _, before := range append([]formerName{{was.Name, ps.held[was.Name]}}, was.former[:]...) {
		switch {
		case before.name == name || !before.until.After(now) || slices.ContainsFunc(former[:n],
			func(newer formerName) bool { return newer.name == before.name }):
		case n < len(former):
			former[n] = before
			n++
		default:
			displaced = append(displaced, before.name)
		}
	}
	return former, displaced
}

// evict forgets a route, one that isn't held if there is one. It returns the names that held it.
func (ps *Partitions) evict(now time.Time) (displaced []uint64) {
	var last uint64
	for route := range ps.ByRoute {
		displaced, last = displaced[:0], route
		ps.names(route, now, func(name uint64) {
			if ps.isHeld(name, now) {
				displaced = append(displaced, name)
			}
		})
		if len(displaced) == 0 {
			break
		}
	}
	delete(ps.ByRoute, last)
	return displaced
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
