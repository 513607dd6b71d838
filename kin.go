package tether

import (
	"maps"
	"time"
)

// kin are the targets of one server beside the one that key names: those that a document's rule divides
// from it, or it from them. The table is locked. Before a document came there is nothing that it could
// have divided.
func (ts *targets) kin(key targetKey, version uint64) (kin []*target) {
	if key.rule != "" && len(ts.rules) < maxRules {
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
// where they would have to there: else a push that meant to calm would loosen (laws 2 and 8). Nobody else
// knows the target yet.
func (t *target) inherit(kin []*target, rand func() float64) {
	for _, other := range kin {
		until, perSecond := other.gate.Status()
		if !until.IsZero() {
			t.gate.Hold(time.Until(until))
		}
		if perSecond > 0 || other.breaker.Refuses() {
			t.gate.Resume() // not before the hold's end
		}
		for key, until := range other.heldLanes(&t.partitions) {
			t.openLane(key, rand).gate.Hold(time.Until(until))
		}
	}
}

// heldLanes are the lanes that are told to wait, and until when. Where there are some it also tells what
// divides them.
func (t *target) heldLanes(ps *partitions) map[laneKey]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	held := make(map[laneKey]time.Time)
	for key, l := range t.lanes {
		if until, _ := l.gate.Status(); !until.IsZero() {
			held[key] = until
		}
	}
	if len(held) > 0 {
		*ps = t.partitions
		ps.byRoute = maps.Clone(ps.byRoute)
	}
	return held
}
