package target

import (
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/breaker"
)

// Stage is a place where a call may be refused or made to wait, in the order in which they are asked. The root's Stage
// has the same numbers.
type Stage uint8

// The stages of admission; 0 is none.
const (
	StageKill Stage = iota + 1
	StageHold
	StageBreaker
	StagePacing
	StageRate
	StageConcurrency
	StageQueue
	Stages
)

// stats counts what happened at one target.
type stats struct {
	Calls, Attempts, Retries, Hedges atomic.Uint64
	stages                           [Stages]struct{ Passed, Waited, Refused atomic.Uint64 }
}

func (s *stats) Passed(at Stage)  { s.stages[at].Passed.Add(1) }
func (s *stats) Waited(at Stage)  { s.stages[at].Waited.Add(1) }
func (s *stats) Refused(at Stage) { s.stages[at].Refused.Add(1) }

// State is what a target shows of itself.
type State struct {
	Name                             string
	Calls, Attempts, Retries, Hedges uint64
	Passed, Waited, Refused          [Stages]uint64 // by stage
	Breaker                          breaker.Health
	HeldUntil                        time.Time // zero: not held
	Paced, Usual                     float64   // calls a second; paced 0: not paced
	LimitedUntil                     time.Time // zero: now
	UnderWay, UnderWayLimit, Waiting int
	Saved, SavedLimit                float64
	UsualTime                        time.Duration
}

func (t *Target) State() State {
	t.Flush()
	s := State{Name: t.Name, Calls: t.Stats.Calls.Load(), Attempts: t.Stats.Attempts.Load(),
		Retries: t.Stats.Retries.Load(), Hedges: t.Stats.Hedges.Load(), Waiting: t.Queue.Len(), UsualTime: t.Useful()}
	s.Breaker = t.Breaker.Health()
	s.HeldUntil, s.Paced = t.Gate.Status()
	s.Usual = t.Gate.Usual()
	s.LimitedUntil = t.rate.ReadyAt(0)
	s.UnderWay, s.UnderWayLimit = t.Concurrency.Status()
	s.Saved, s.SavedLimit = t.Budget.Saved()
	for at := StageKill; at < Stages; at++ {
		counts := &t.Stats.stages[at]
		s.Passed[at], s.Waited[at], s.Refused[at] = counts.Passed.Load(), counts.Waited.Load(), counts.Refused.Load()
	}
	return s
}
