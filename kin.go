package tether

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
func (ts *targets) kin(key targetKey, version uint64) (kin []*target) {
	if key.rule != "" && len(ts.rules) < policy.MaxRules {
		if ts.rules == nil {
			ts.rules = make(map[string]bool)
		}
		ts.rules[key.rule] = true
	}
	if len(ts.rules) == 0 || version < 2 {
		return nil
	}
	if t := ts.byKey[targetKey{key.scheme, key.host, key.service, ""}]; t != nil {
		kin = append(kin, t)
	}
	for rule := range ts.rules {
		if t := ts.byKey[targetKey{key.scheme, key.host, key.service, rule}]; t != nil {
			kin = append(kin, t)
		}
	}
	return kin
}

// inherit keeps what the server told others of its targets to wait for, and lets calls return slowly
// where they would have to there: else a push that meant to calm would loosen (laws 2 and 8).
func (t *target) inherit(kin []*target, rand func() float64) {
	t.beginTrouble()
	defer t.endTrouble()
	for _, other := range kin {
		until, perSecond := other.gate.Status()
		if !until.IsZero() {
			t.gate.Hold(time.Until(until))
		}
		if perSecond > 0 || other.breaker.Refuses() {
			t.gate.Resume() // not before the hold's end
		}
		held, divided := other.heldLanes()
		t.holdLanes(held, divided, rand)
	}
}

// holdLanes holds lanes that another target divides by its partitions. Where this one has lanes already, those of
// a partition are held for the whole credential: what divides them there may say nothing here.
func (t *target) holdLanes(held map[laneKey]time.Time, divided partitions, rand func() float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh := len(t.lanes) == 0
	if fresh && len(held) > 0 {
		t.partitions = divided
	}
	for key, until := range held {
		if !fresh {
			key.partition = 0
		}
		l := t.openLane(key, rand)
		l.gate.Hold(time.Until(until))
		l.line.WakeAll()
	}
}

// resplit passes on what servers asked for, where a document's rules divide their calls otherwise than those before
// it: the calls that were told to wait may be another target's now, which may be there from earlier.
func (ts *targets) resplit(old, next *policy.Compiled) {
	was, is := old.Divisions(), next.Divisions()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for key, t := range ts.byKey {
		if key.rule == "" || reflect.DeepEqual(was[key.rule], is[key.rule]) {
			continue
		}
		for _, other := range ts.kin(key, math.MaxUint64) {
			if other != t {
				t.inherit([]*target{other}, ts.opts.rand)
				other.inherit([]*target{t}, ts.opts.rand)
				other.line.WakeAll()
			}
		}
		t.line.WakeAll()
	}
}

// heldLanes are the lanes that are told to wait, and until when. Where there are some it also tells what
// divides them.
func (t *target) heldLanes() (held map[laneKey]time.Time, ps partitions) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held = make(map[laneKey]time.Time)
	for key, l := range t.lanes {
		if until, _ := l.gate.Status(); !until.IsZero() {
			held[key] = until
		}
	}
	if len(held) > 0 {
		ps = t.partitions
		ps.byRoute = maps.Clone(ps.byRoute)
	}
	return held, ps
}
