package tether

import (
	"context"
	"time"

	"github.com/tether-go/tether/internal/metrics"
	"github.com/tether-go/tether/internal/target"

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
		c.Target.Alive()
		c.Target.Stats.Passed(target.StageKill)
		if c.forcedOpen { // before anything else could make it wait
			return c.reject(&target.Obstacle{Stage: target.StageBreaker, Reason: breaker.ErrForcedOpen, Forced: true}, nil)
		}
		return nil
	}
	if here && kill.Match.WholeHost() { // else the rest of the host goes on as it is, and has nothing to return from
		c.Target.Killed()
	}
	return c.reject(&target.Obstacle{Stage: target.StageKill, Reason: ErrKilled, RetryAt: kill.Until, Kill: kill}, nil)
}

// reject counts and reports a refusal.
func (c *call) reject(o *target.Obstacle, ended error) *RejectedError {
	c.Target.Stats.Refused(o.Stage)
	if o.Stage == target.StagePacing {
		c.Target.Gate.TurnedAway()
		if l := c.permit.pass.Lane; l != nil {
			l.Gate.TurnedAway()
		}
	}
	metrics.Count(c.Context, c.engine.telemetry.Refusals, c.Target.Series.ByStage[o.Stage])
	err := &RejectedError{
		Target: c.Target.Name, Stage: Stage(o.Stage), ServerAsked: o.Stage == target.StageKill || o.Stage == target.StageHold || o.Forced,
		RetryAt: o.RetryAt, Reason: o.Reason, Ended: ended, Criticality: c.criticality, Shed: o.Shed,
	}
	event := Event{Kind: EventRefused, Target: c.Target.Name, Stage: Stage(o.Stage), Shed: o.Shed, Attempt: c.attempts,
		Until: o.RetryAt, Err: err}
	told := []attribute.KeyValue{attribute.String("tether.stage", Stage(o.Stage).String())}
	if o.Kill != nil {
		err.Note, event.Note = o.Kill.Reason, o.Kill.Said()
		told = append(told, attribute.String("tether.kill", jsondoc.Plain(o.Kill.Name)),
			attribute.String("tether.kill.reason", jsondoc.Plain(o.Kill.Reason)))
	}
	c.spanEvent("tether.refused", told...)
	c.engine.emit(event) // which may hand err on: it is whole by now
	return err
}

// hopeless refuses at once a call that could not wait long enough.
func (c *call) hopeless(o *target.Obstacle) *RejectedError {
	now := time.Now()
	patience := c.patience(now)
	if o.Forced || patience <= 0 || !o.Change && o.RetryAt.Sub(now) > patience {
		return c.reject(o, nil)
	}
	return nil
}

// ended tells how a wait ended that has used up the call's patience: by its deadline, or by the limit.
func (c *call) ended() error {
	if left := c.timeLeft(time.Now()); left >= 0 && left <= c.Target.Reserve() {
		return context.DeadlineExceeded
	}
	return nil
}
