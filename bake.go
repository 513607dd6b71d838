package tether

import (
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
)

const (
	// lateLeast answers are too many for chance, and few enough for a client that calls once in a minute.
	lateLeast = 5
	// lateShare of the calls that were tried the old way is more than the slow tail that a publisher may
	// want to cut off.
	lateShare = 0.25
	// lateSpan is how long answers must have come late, or a quarter of the bake: a server that is slow for a
	// moment is slow for everybody.
	lateSpan = time.Minute
)

// maxTrials bounds what watching costs each call; more changes at once tell a publisher nothing.
const maxTrials = 8

// trial watches whether the timeouts that a stage shortened cut off answers that would have served. To know
// that, the call after one that was cut goes by the timeouts as they are without the stage. A server that
// fails for everybody fails that one too, and what isn't cut is never tried: so only harm is evidence.
type trial struct {
	stage policy.Rollout
	until time.Time // end of the bake
	// without is the document without this stage and the watched ones after it: of two that cut the same calls,
	// to leave out one alone would show nothing. nil: it isn't watched.
	without *policy.Compiled
	*evidence
}

// evidence outlives changes elsewhere in the document, and the bake: that comes once.
type evidence struct {
	since time.Time

	mu     sync.Mutex // guards what follows
	all    weighed
	places map[uint64]*weighed // by a hash of host and route: what is busy, or dead, must not hide harm elsewhere
}

// maxPlaces bounds the evidence; places that find no room share what they have.
const maxPlaces = 64

// at is the evidence of a place. e is locked.
func (e *evidence) at(place uint64) *weighed {
	if e.places[place] == nil && len(e.places) >= maxPlaces {
		place = 0
	}
	if e.places[place] == nil {
		if e.places == nil {
			e.places = make(map[uint64]*weighed)
		}
		e.places[place] = new(weighed)
	}
	return e.places[place]
}

// weighed is evidence of calls that are alike.
type weighed struct {
	due       bool // the next call is to go the old way
	cuts      int  // attempts that a timeout of the stage ended
	tried     int  // attempts that went the old way
	late      int  // of which served, after the stage would have cut them
	firstLate time.Time
}

// trialsOf begins to watch the stages of next that can be, or goes on with those that old has already.
// e.applying is held.
func (e *Engine) trialsOf(next, old *current) (trials []*trial) {
	now := time.Now()
	byStage := make([]*trial, len(next.on)) // nil: not watched
	for i := len(next.on) - 1; i >= 0; i-- {
		s := next.on[i]
		if s.BakeTime() == 0 || !s.Patch.SetsTimeouts() && !s.Patch.HasFlags() && !s.Patch.RoutesBy("") {
			continue
		}
		t := &trial{stage: s, evidence: &evidence{since: now}}
		for _, before := range old.trials {
			if before.stage.Name == s.Name && reflect.DeepEqual(before.stage.Patch, s.Patch) {
				t.evidence = before.evidence
			}
		}
		t.until = t.since.Add(s.BakeTime())
		if trials = append(trials, t); s.Patch.SetsTimeouts() && now.Before(t.until) && len(trials) <= maxTrials {
			byStage[i] = t
		}
	}
	slices.Reverse(trials)
	for i, t := range byStage {
		if t != nil {
			t.without = e.before(next, byStage, i)
		}
	}
	return trials
}

// before is the document without the watched stages from the i-th on; nil if that can't be built.
func (e *Engine) before(next *current, watched []*trial, i int) *policy.Compiled {
	var others []policy.Rollout
	for j := range next.on {
		if j < i || watched[j] == nil {
			others = append(others, next.on[j])
		}
	}
	s, _ := builds(others, func(on []policy.Rollout) staged {
		cfg := policy.Document{Defaults: next.published.Defaults, Rules: next.published.Rules}
		for i := range on { // its timeouts are all that is asked for
			on[i].Patch = policy.Patch{Defaults: on[i].Patch.Defaults, Rules: on[i].Patch.Rules}
		}
		return e.stage(cfg, nil, on)
	})
	return s.snapshot
}

// onTrial is a call's part in a trial.
type onTrial struct {
	*trial
	place   uint64        // in the evidence
	attempt time.Duration // the attempt timeout that the stage shortened to; 0: it didn't
	call    time.Duration // and the call timeout
	old     bool          // the call goes by the timeouts as without the stage
}

// shorter is now where that is a shorter timeout than was, else 0.
func shorter(now, was time.Duration) time.Duration {
	if now > 0 && (was == 0 || now < was) {
		return now
	}
	return 0
}

// enterTrial finds a stage that shortened one of the call's timeouts, and decides whether the call goes the
// old way. Of several it takes the one that is due, or that was blamed least for calls like this one.
func (c *call) enterTrial(trials []*trial) {
	var chosen onTrial
	var old *policy.Resolved
	fewest := 0
	with := c.policy
	for i := len(trials) - 1; i >= 0 && !chosen.old; i-- {
		t := trials[i]
		if t.without == nil {
			continue
		}
		was := t.without.Resolve(c.Scheme, c.Host, c.Method, c.Path, c.GRPCMethod)
		on := onTrial{trial: t, attempt: shorter(with.AttemptTimeout, was.AttemptTimeout),
			call: shorter(with.Timeout, was.Timeout)}
		with = was
		if shorter(c.policy.AttemptTimeout, was.AttemptTimeout) == 0 { // a later stage has its own say
			on.attempt = 0
		}
		if shorter(c.policy.Timeout, was.Timeout) == 0 {
			on.call = 0
		}
		if on.attempt == 0 && on.call == 0 || !c.Began().Before(t.until) {
			continue
		}
		if on.place = chosen.place; chosen.trial == nil {
			on.place = maphash.Comparable(c.engine.hashSeed, [3]string{c.Host, c.Service, c.endpoint().Name()})
		}
		var cuts int
		if on.old, cuts = t.takeDue(on.place); on.old || chosen.trial == nil || cuts < fewest {
			chosen, old, fewest = on, was, cuts
		}
	}
	if chosen.trial == nil {
		return
	}
	if c.trial = &chosen; !chosen.old {
		return
	}
	policy := *c.policy
	if chosen.call > 0 {
		policy.Timeout = old.Timeout
	}
	if chosen.attempt > 0 {
		policy.AttemptTimeout = old.AttemptTimeout
	}
	c.policy = &policy
}

// takeDue tells whether a call of a place is to go the old way, and how many there were cut.
func (e *evidence) takeDue(place uint64) (due bool, cuts int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.at(place)
	due, w.due = w.due, false
	return due, w.cuts
}

// untried gives back the turn of a call that ended before it could try the old way.
func (t *onTrial) untried() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(t.place).due = true
}

// judge hears how an attempt of a call on trial ended, and rolls the stage back if that is enough.
func (c *call) judge(p *Permit, out Outcome) {
	t := c.trial
	now := time.Now()
	late := t.attempt > 0 && now.Sub(p.sent()) > t.attempt || t.call > 0 && now.Sub(c.Began()) > t.call
	cut := t.attempt > 0 && errors.Is(out.Err, ErrAttemptTimeout) || t.call > 0 && errors.Is(out.Err, ErrCallTimeout)
	if why := t.weigh(t.place, t.old, cut, late, out.Class, now); why != "" {
		c.engine.rollBack(t.trial, why)
	}
}

// weigh returns why the stage is to be rolled back, if so: by what came of all calls, or of those of a place.
func (t *trial) weigh(place uint64, old, cut, late bool, class Class, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	here := t.at(place)
	if !old && cut {
		here.due = true
		here.cuts++
		t.all.cuts++
	}
	if !old || class == Ignored || !now.Before(t.until) {
		return ""
	}
	span := min(lateSpan, t.stage.BakeTime()/4)
	for _, w := range [...]*weighed{here, &t.all} {
		w.tried++
		if class != Healthy || !late {
			continue
		}
		if w.late++; w.late == 1 {
			w.firstLate = now
		}
	}
	for _, w := range [...]*weighed{here, &t.all} {
		if class == Healthy && late && w.late >= lateLeast && float64(w.late) >= lateShare*float64(w.tried) &&
			now.Sub(w.firstLate) >= span {
			return fmt.Sprintf("its timeouts ended %d attempts, and %d of %d that had the old ones were served later than that",
				w.cuts, w.late, w.tried)
		}
	}
	return ""
}

// rollBack takes a stage back, if it is still the one that was watched.
func (e *Engine) rollBack(t *trial, why string) {
	defer e.restaged() // once the lock is free
	e.applying.Lock()
	defer e.applying.Unlock()
	for _, on := range e.config.Load().trials {
		if on.evidence == t.evidence {
			e.latch(t.stage.Name, why)
			e.restage()
			return
		}
	}
}

// turnedOff hears of every guard that has turned a flag of the engine's off: the application's own, and those of
// routes. It rolls back the stages that are watched and have changed the flag, or brought a route by it that the
// document itself doesn't have.
func (e *Engine) turnedOff(g flags.GuardEvent) {
	defer e.restaged() // once the lock is free
	e.applying.Lock()
	defer e.applying.Unlock()
	config := e.config.Load()
	base := policy.Patch{Defaults: config.published.Defaults, Rules: config.published.Rules}
	changed := false
	for _, t := range config.trials {
		brings := t.stage.Patch.ChangesFlag(g.Key) || t.stage.Patch.RoutesBy(g.Key) && !base.RoutesBy(g.Key)
		if brings && time.Now().Before(t.until) {
			e.latch(t.stage.Name, "flag "+g.Key+": "+compared(g))
			changed = true
		}
	}
	if changed {
		e.restage()
	}
}
