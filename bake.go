package tether

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tether-go/tether/flags"
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

// trial watches whether the timeouts that a stage shortened cut off answers that would have served. To know
// that, the call after one that was cut goes by the timeouts as they are without the stage. A server that
// fails for everybody fails that one too, and what isn't cut is never tried: so only harm is evidence.
type trial struct {
	stage   ConfigStage
	until   time.Time // end of the bake
	without *snapshot
	*evidence
}

// evidence outlives changes elsewhere in the document.
type evidence struct {
	mu        sync.Mutex // guards what follows
	since     time.Time
	due       bool // the next call is to go the old way
	cuts      int  // attempts that a timeout of the stage ended
	tried     int  // attempts that went the old way
	late      int  // of which served, after the stage would have cut them
	firstLate time.Time
}

// trialsOf begins to watch the stages of next that can be, or goes on with those that old has already.
// e.applying is held.
func (e *Engine) trialsOf(next, old *current) (trials []*trial) {
	for i := range next.on {
		s := next.on[i]
		if s.bake() == 0 || !s.Patch.setsTimeouts() && !s.Patch.hasFlags() && !s.Patch.routesBy("") {
			continue
		}
		t := &trial{stage: s, evidence: &evidence{since: time.Now()}}
		for _, before := range old.trials {
			if before.stage.Name == s.Name && reflect.DeepEqual(before.stage.Patch, s.Patch) {
				t.evidence = before.evidence
			}
		}
		if t.until = t.since.Add(s.bake()); !time.Now().Before(t.until) {
			continue
		}
		var others []ConfigStage
		for j := range next.on {
			if j != i {
				others = append(others, next.on[j])
			}
		}
		t.without = e.stage(next.published, next.plain, next.pushed.Kill, others).snapshot
		trials = append(trials, t)
	}
	return trials
}

func (p *ConfigPatch) setsTimeouts() bool {
	sets := func(s *CallSettings) bool { return s.Timeout != nil || s.AttemptTimeout != nil }
	for i := range p.Rules {
		if sets(&p.Rules[i].Call) {
			return true
		}
	}
	return sets(&p.Defaults.Call)
}

// onTrial is a call's part in a trial.
type onTrial struct {
	*trial
	attempt time.Duration // the attempt timeout that the stage shortened to; 0: it didn't
	call    time.Duration // and the call timeout
	old     bool          // the call goes by the timeouts as without the stage
}

// enterTrial finds the stage that shortened one of the call's timeouts, and decides whether the call goes the
// old way.
func (c *call) enterTrial(trials []*trial) {
	shorter := func(now, was time.Duration) time.Duration {
		if now > 0 && (was == 0 || now < was) {
			return now
		}
		return 0
	}
	for _, t := range trials {
		if !c.began.Before(t.until) {
			continue
		}
		was := t.without.resolve(c.Scheme, c.Host, c.Method, c.Path, c.GRPCMethod)
		c.trial.attempt = shorter(c.policy.attemptTimeout, was.attemptTimeout)
		c.trial.call = shorter(c.policy.timeout, was.timeout)
		if c.trial.attempt == 0 && c.trial.call == 0 {
			continue
		}
		c.trial.trial = t
		if c.trial.old = t.takeDue(); c.trial.old {
			policy := *c.policy
			policy.timeout, policy.attemptTimeout = was.timeout, was.attemptTimeout
			c.policy = &policy
		}
		return
	}
}

func (e *evidence) takeDue() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	due := e.due
	e.due = false
	return due
}

// judge hears how an attempt of a call on trial ended, and rolls the stage back if that is enough.
func (c *call) judge(p *Permit, out Outcome) {
	t := &c.trial
	now := time.Now()
	late := t.attempt > 0 && now.Sub(p.sent) > t.attempt || t.call > 0 && now.Sub(c.began) > t.call
	cut := t.attempt > 0 && errors.Is(out.Err, ErrAttemptTimeout) || t.call > 0 && errors.Is(out.Err, ErrCallTimeout)
	if why := t.weigh(t.old, cut, late, out.Class, now); why != "" {
		c.engine.rollBack(t.trial, why)
	}
}

// weigh returns why the stage is to be rolled back, if so.
func (t *trial) weigh(old, cut, late bool, class Class, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !old && cut:
		t.cuts++
		t.due = true
		return ""
	case !old || class == Ignored:
		return ""
	}
	t.tried++
	if class != Healthy || !late {
		return ""
	}
	if t.late++; t.late == 1 {
		t.firstLate = now
	}
	span := min(lateSpan, t.stage.bake()/4)
	if t.late < lateLeast || float64(t.late) < lateShare*float64(t.tried) || now.Sub(t.firstLate) < span ||
		!now.Before(t.until) {
		return ""
	}
	return fmt.Sprintf("its timeouts ended %d attempts, and %d of %d that had the old ones were served later than that",
		t.cuts, t.late, t.tried)
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
// routes. It rolls back the stage that is watched and has changed the flag, or brought a route by it that the
// document itself doesn't have.
func (e *Engine) turnedOff(g flags.GuardEvent) {
	defer e.restaged() // once the lock is free
	e.applying.Lock()
	defer e.applying.Unlock()
	config := e.config.Load()
	base := ConfigPatch{Defaults: config.published.Defaults, Rules: config.published.Rules}
	for _, t := range slices.Backward(config.trials) {
		brings := t.stage.Patch.changesFlag(g.Key) || t.stage.Patch.routesBy(g.Key) && !base.routesBy(g.Key)
		if brings && time.Now().Before(t.until) {
			e.latch(t.stage.Name, "flag "+g.Key+": "+compared(g))
			e.restage()
			return
		}
	}
}

// changesFlag tells whether a patch has something to say about a flag, beside how its guard works.
func (p *ConfigPatch) changesFlag(key string) bool {
	var document struct{ Flags map[string]json.RawMessage }
	return json.Unmarshal(p.Flags, &document) == nil && document.Flags[key] != nil
}
