package tether

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
)

// stats counts what happened at one target.
type stats struct {
	calls, attempts, retries, hedges atomic.Uint64
	stages                           [stageCount]struct{ passed, waited, refused atomic.Uint64 }
}

func (s *stats) passed(stage Stage)  { s.stages[stage].passed.Add(1) }
func (s *stats) waited(stage Stage)  { s.stages[stage].waited.Add(1) }
func (s *stats) refused(stage Stage) { s.stages[stage].refused.Add(1) }

// Health is the state of an engine at one moment.
type Health struct {
	Version       uint64         // of the document in force; 0: the application's own document
	Stale         bool           // the document in force has expired; it stays in force
	Stages        []string       // of the document that are in force here: this client is one of the first
	Kills         []policy.Kill  // that are in force, those of refused documents too, with their names and reasons
	RolledBack    []string       // stages of the document that this client took back
	DroppedEvents uint64         // that Observe was too slow for
	Targets       []TargetHealth // by name
}

// TargetHealth is what an engine knows of one server.
type TargetHealth struct {
	Target            string
	Calls             uint64 // that were asked for
	Attempts          uint64 // that were sent
	Retries           uint64 // that were decided on
	Hedges            uint64 // attempts that were sent beside another
	Stages            map[Stage]StageHealth
	Breaker           breaker.State // as learnt, whatever its mode
	BreakerMode       breaker.Mode
	BreakerCause      breaker.Cause // of its state; 0: it never changed
	HeldUntil         time.Time     // the server's word; zero: not held
	PacedPerSecond    float64       // sends a second that may leave; 0: not paced
	UsualPerSecond    float64       // calls a second that are usually asked for
	LimitedUntil      time.Time     // when our own rate limit lets the next call go; zero: now
	UnderWay          int           // attempts, bodies included, where our own limit counts them
	UnderWayLimit     int           // 0: any number
	Waiting           int           // calls in line
	RetriesSaved      float64       // re-attempts that the budget holds
	RetriesSavedLimit float64       // and may hold
	UsualTime         time.Duration // about the median time to an answer
}

// StageHealth counts what one stage decided. A call may pass, or wait, more than once.
type StageHealth struct{ Passed, Waited, Refused uint64 }

// Health returns the state of the engine and of every target that it remembers.
func (e *Engine) Health() Health {
	config := e.config.Load()
	h := Health{Version: config.version(), Stages: config.stageNames(), RolledBack: e.rolledBack(config),
		Kills: config.KillsOn(time.Now()), DroppedEvents: e.events.Dropped()}
	h.Stale = !config.pushed.Expires.IsZero() && time.Now().After(config.pushed.Expires)
	for _, t := range e.targets.all() {
		h.Targets = append(h.Targets, t.health())
	}
	e.events.Deliver()
	slices.SortFunc(h.Targets, func(a, b TargetHealth) int { return cmp.Compare(a.Target, b.Target) })
	return h
}

func (t *target) health() TargetHealth {
	t.tell()
	h := TargetHealth{
		Target: t.name, Calls: t.stats.calls.Load(), Attempts: t.stats.attempts.Load(),
		Retries: t.stats.retries.Load(), Hedges: t.stats.hedges.Load(), Stages: make(map[Stage]StageHealth),
		Waiting: t.line.Len(), UsualTime: t.useful(),
	}
	b := t.breaker.Health()
	h.Breaker, h.BreakerMode, h.BreakerCause = b.State, b.Mode, b.Cause
	h.HeldUntil, h.PacedPerSecond = t.gate.Status()
	h.UsualPerSecond = t.gate.Usual()
	h.LimitedUntil = t.rate.ReadyAt(0)
	h.UnderWay, h.UnderWayLimit = t.concurrency.Status()
	h.RetriesSaved, h.RetriesSavedLimit = t.budget.Saved()
	for s := StageKill; s < stageCount; s++ {
		counts := &t.stats.stages[s]
		h.Stages[s] = StageHealth{counts.passed.Load(), counts.waited.Load(), counts.refused.Load()}
	}
	return h
}
