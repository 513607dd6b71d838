package flags

import (
	"slices"
	"sync"
	"sync/atomic"
)

// maxTallied bounds the variants, and the guarded flags, that a tally names over its life: whoever keeps
// such figures never forgets one. Further ones are counted together.
const (
	maxTallied = 1000
	otherFlags = "_OTHER"
)

// Tally counts evaluations, and the calls of guards, for telemetry. It starts with the first look at it:
// until then, and without one, an evaluation costs the same; after it, an addition more. Nothing is ever
// sent from within an evaluation: whoever collects looks at the tally, and when he hangs nobody notices.
//
// The zero value is ready. It counts for all documents that are loaded with it, [LoadOptions].Tally, one
// after the other, and is safe for concurrent use.
type Tally struct {
	on atomic.Bool

	mu     sync.Mutex         // guards what follows, not the counts
	named  map[slotName]*slot // others among them
	others *slot              // of what finds no room; nil: all did
	paths  map[string]*pathCounts
}

// Evaluations is how often a flag was evaluated with the same result. A mismatch of types, which is the
// caller's, is not looked at.
type Evaluations struct {
	Key     string // "_OTHER" for the flags beyond the first 1,000 variants
	Variant string // empty for the caller's default
	Reason  Reason
	Code    ErrorCode // with Failed
	Count   uint64
}

// Outcomes are the calls of both paths of the guards of a flag.
type Outcomes struct {
	Key      string // "_OTHER" for the flags beyond the first 1,000
	New, Old GuardCounts
}

type slotName struct{ key, variant string }

// slot counts one variant by how it came about. Slots are apart, so that two flags don't share a cache line.
type slot struct {
	counts [6]atomic.Uint64
	_      [16]byte
}

type pathCounts struct{ calls, failures [2]atomic.Uint64 } // of the old path, of the new

// attach gives each variant of a set its slot, before anybody evaluates the set.
func (t *Tally) attach(s *Set) {
	s.tally = t
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range s.Keys() {
		f := s.flags[key]
		f.slot = t.slot(slotName{key: key})
		if len(t.named)+len(f.variants) <= maxTallied || len(t.named) > maxTallied { // all find room, or none
			for name, v := range f.variants {
				v.slot = t.slot(slotName{key, name})
			}
			continue
		}
		for _, name := range first(f.variants, maxTallied) { // so many find room at most
			t.slot(slotName{key, name})
		}
		for name, v := range f.variants {
			v.slot = t.slot(slotName{key, name})
		}
	}
}

// first returns the first names of a map, in order, without sorting all.
func first(variants map[string]*variant, most int) (names []string) {
	cut := false
	for name := range variants {
		if !cut || name < names[most-1] {
			names = append(names, name)
		}
		if len(names) == 2*most {
			slices.Sort(names)
			names, cut = names[:most], true
		}
	}
	slices.Sort(names)
	return names[:min(most, len(names))]
}

// slot is called with the lock held.
func (t *Tally) slot(name slotName) *slot {
	if t.named == nil {
		t.named = make(map[slotName]*slot)
	}
	s := t.named[name]
	switch {
	case s != nil:
		return s
	case len(t.named) < maxTallied:
		s = new(slot)
		t.named[name] = s
		return s
	case t.others == nil:
		t.others = new(slot)
		t.named[slotName{key: otherFlags}] = t.others
	}
	return t.others
}

func (t *Tally) count(r resolution) {
	if t == nil || !t.on.Load() || r.flag == nil {
		return
	}
	s := r.flag.slot
	if r.variant != nil {
		s = r.variant.slot
	}
	s.counts[min(int(r.how), len(s.counts)-1)].Add(1)
}

// settled counts a call of a guard.
func (t *Tally) settled(key string, fresh bool, result verdict) {
	if t == nil || !t.on.Load() || result == ignored {
		return
	}
	side := 0
	if fresh {
		side = 1
	}
	p := t.path(key)
	p.calls[side].Add(1)
	if result == bad {
		p.failures[side].Add(1)
	}
}

func (t *Tally) path(key string) *pathCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paths == nil {
		t.paths = make(map[string]*pathCounts)
	}
	if t.paths[key] == nil && len(t.paths) >= maxTallied {
		key = otherFlags
	}
	if t.paths[key] == nil {
		t.paths[key] = new(pathCounts)
	}
	return t.paths[key]
}

// Evaluations returns what was counted since the first look, in no order; what never happened is left out.
// Counts never fall.
func (t *Tally) Evaluations() (all []Evaluations) {
	t.on.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.named {
		for i := range s.counts {
			if n := s.counts[i].Load(); n > 0 {
				why := hows[i]
				all = append(all, Evaluations{name.key, name.variant, why.reason, why.code, n})
			}
		}
	}
	return all
}

// Outcomes returns the guards' calls since the first look, in no order. Failures are never more than calls,
// and counts never fall.
func (t *Tally) Outcomes() (all []Outcomes) {
	t.on.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, p := range t.paths {
		read := func(side int) GuardCounts {
			failures := p.failures[side].Load() // first: each is a call that was counted before
			return GuardCounts{Calls: p.calls[side].Load(), Failures: failures}
		}
		all = append(all, Outcomes{Key: key, New: read(1), Old: read(0)})
	}
	return all
}
