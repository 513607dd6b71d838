package target

import (
	"maps"
	"math"
	"reflect"
	"time"

	"github.com/tether-go/tether/policy"
)

// kin are the targets of one server beside the one that key names: those that a document's rule divides
// from it, or it from them. The table is locked. Before a document came there is nothing that it could
// have divided.
func (ts *Table) siblings(key Key, version uint64) (kin []*Target) {
	if key.Rule != "" && len(ts.rules) < policy.MaxRules {
		if ts.rules == nil {
			ts.rules = make(map[string]bool)
		}
		ts.rules[key.Rule] = true
	}
	if len(ts.rules) == 0 || version < 2 {
		return nil
	}
	if t := ts.ByKey[Key{key.Scheme, key.Host, key.Service, ""}]; t != nil {
		kin = append(kin, t)
	}
	for rule := range ts.rules {
		if t := ts.ByKey[Key{key.Scheme, key.Host, key.Service, rule}]; t != nil {
			kin = append(kin, t)
		}
	}
	return kin
}

// inherit keeps what the server told others of its targets to wait for, and lets calls return slowly
// where they would have to there: else a push that meant to calm would loosen (laws 2 and 8).
func (t *Target) inherit(kin []*Target, rand func() float64) {
	t.BeginTrouble()
	defer t.EndTrouble()
	for _, other := range kin {
		until, perSecond := other.Gate.Status()
		if !until.IsZero() {
			t.Gate.Hold(time.Until(until))
		}
		if perSecond > 0 || other.Breaker.Refuses() {
			t.Gate.Resume() // not before the hold's end
		}
		held, divided := other.heldLanes()
		t.holdLanes(held, divided, rand)
	}
}

// holdLanes holds lanes that another target divides by its partitions. Where this one has lanes already, those of
// a partition are held for the whole credential: what divides them there may say nothing here.
func (t *Target) holdLanes(held map[LaneKey]time.Time, divided Partitions, rand func() float64) {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	fresh := len(t.Lanes) == 0
	if fresh && len(held) > 0 {
		t.Partitions = divided
	}
	for key, until := range held {
		if !fresh {
			key.Partition = 0
		}
		l := t.OpenLane(key, rand)
		t.Partitions.hold(key.Partition, l.Gate.Hold(time.Until(until)))
		l.Queue.WakeAll()
	}
}

// Resplit passes on what servers asked for, where a document's rules divide their calls otherwise than those before
// it: the calls that were told to wait may be another target's now, which may be there from earlier.
func (ts *Table) Resplit(old, next *policy.Compiled) {
	was, is := old.Divisions(), next.Divisions()
	ts.Mu.Lock()
	defer ts.Mu.Unlock()
	for key, t := range ts.ByKey {
		if key.Rule == "" || reflect.DeepEqual(was[key.Rule], is[key.Rule]) {
			continue
		}
		for _, other := range ts.siblings(key, math.MaxUint64) {
			if other != t {
				t.inherit([]*Target{other}, ts.Opts.Rand)
				other.inherit([]*Target{t}, ts.Opts.Rand)
				other.Queue.WakeAll()
			}
		}
		t.Queue.WakeAll()
	}
}

// heldLanes are the lanes that are told to wait, and until when. Where there are some it also tells what
// divides them.
func (t *Target) heldLanes() (held map[LaneKey]time.Time, ps Partitions) {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	held = make(map[LaneKey]time.Time)
	for key, l := range t.Lanes {
		if until, _ := l.Gate.Status(); !until.IsZero() {
			held[key] = until
		}
	}
	if len(held) > 0 {
		ps = t.Partitions
		ps.ByRoute, ps.held = maps.Clone(ps.ByRoute), maps.Clone(ps.held)
	}
	return held, ps
}
