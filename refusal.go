package tether

import (
	"context"
	"time"

	"github.com/tether-go/tether/internal/metrics"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/jsondoc"
)

// checkKill reads the newest kill switches: the only part of a newer document that a call obeys. Its
// target obeys all that is said of targets.
func (c *call) checkKill() *RejectedError {
	if newest := c.engine.config.Load(); newest != c.killers {
		c.killers = newest
		c.followNewest()
	}
	if c.mayFallBack() { // a kill of what was asked for stops it wherever it goes
		if c.askedKill() != nil {
			c.routing.Cancel()
			c.comeBack()
		}
	}
	kill := c.killers.Killed(c.Scheme, c.Host, c.Method, c.Path, c.GRPCMethod, c.clock())
	here := kill != nil
	if !here && c.routed() { // and stays there
		kill = c.askedKill()
	}
	if kill == nil {
		c.target.alive()
		c.target.stats.passed(StageKill)
		if c.forcedOpen { // before anything else could make it wait
			return c.reject(&obstacle{stage: StageBreaker, reason: breaker.ErrForcedOpen, forced: true}, nil)
		}
		return nil
	}
	if here && kill.Match.WholeHost() { // else the rest of the host goes on as it is, and has nothing to return from
		c.target.killed()
	}
	return c.reject(&obstacle{stage: StageKill, reason: ErrKilled, retryAt: kill.Until, kill: kill}, nil)
}

// reject counts and reports a refusal.
func (c *call) reject(o *obstacle, ended error) *RejectedError {
	c.target.stats.refused(o.stage)
	if o.stage == StagePacing {
		c.target.gate.TurnedAway()
		if l := c.permit.lane; l != nil {
			l.gate.TurnedAway()
		}
	}
	metrics.Count(c.Context, c.engine.telemetry.Refusals, c.target.series.ByStage[o.stage])
	err := &RejectedError{
		Target: c.target.name, Stage: o.stage, ServerAsked: o.stage == StageKill || o.stage == StageHold || o.forced,
		RetryAt: o.retryAt, Reason: o.reason, Ended: ended, Criticality: c.criticality, Shed: o.shed,
	}
	event := Event{Kind: EventRefused, Target: c.target.name, Stage: o.stage, Shed: o.shed, Attempt: c.attempts,
		Until: o.retryAt, Err: err}
	told := []attribute.KeyValue{attribute.String("tether.stage", o.stage.String())}
	if o.kill != nil {
		err.Note, event.Note = o.kill.Reason, o.kill.Said()
		told = append(told, attribute.String("tether.kill", jsondoc.Plain(o.kill.Name)),
			attribute.String("tether.kill.reason", jsondoc.Plain(o.kill.Reason)))
	}
	c.spanEvent("tether.refused", told...)
	c.engine.emit(event) // which may hand err on: it is whole by now
	return err
}

// hopeless refuses at once a call that could not wait long enough.
func (c *call) hopeless(o *obstacle) *RejectedError {
	now := time.Now()
	patience := c.patience(now)
	if o.forced || patience <= 0 || !o.change && o.retryAt.Sub(now) > patience {
		return c.reject(o, nil)
	}
	return nil
}

// ended tells how a wait ended that has used up the call's patience: by its deadline, or by the limit.
func (c *call) ended() error {
	if left := c.timeLeft(time.Now()); left >= 0 && left <= c.target.reserve() {
		return context.DeadlineExceeded
	}
	return nil
}
