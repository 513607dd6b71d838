package tether

import (
	"cmp"
	"slices"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"
)

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
	for _, t := range e.targets.All() {
		h.Targets = append(h.Targets, healthOf(t))
	}
	e.events.Deliver()
	slices.SortFunc(h.Targets, func(a, b TargetHealth) int { return cmp.Compare(a.Target, b.Target) })
	return h
}

// healthOf is what a target shows, in the root's words.
func healthOf(t *target.Target) TargetHealth {
	s := t.State()
	h := TargetHealth{
		Target: s.Name, Calls: s.Calls, Attempts: s.Attempts, Retries: s.Retries, Hedges: s.Hedges,
		Stages: make(map[Stage]StageHealth), Breaker: s.Breaker.State, BreakerMode: s.Breaker.Mode,
		BreakerCause: s.Breaker.Cause, HeldUntil: s.HeldUntil, PacedPerSecond: s.Paced, UsualPerSecond: s.Usual,
		LimitedUntil: s.LimitedUntil, UnderWay: s.UnderWay, UnderWayLimit: s.UnderWayLimit, Waiting: s.Waiting,
		RetriesSaved: s.Saved, RetriesSavedLimit: s.SavedLimit, UsualTime: s.UsualTime,
	}
	for stage := StageKill; stage < stageCount; stage++ {
		h.Stages[stage] = StageHealth{s.Passed[stage], s.Waited[stage], s.Refused[stage]}
	}
	return h
}
