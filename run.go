package tether

import (
	"context"

	"github.com/tether-go/tether/internal/metrics"
)

// Room is where the context of a call's first attempt lives, for an edge that has memory of its own for each
// call. The zero value is ready. It is for one call, never to be used again: contexts may outlive the call.
type Room struct{ ctx attemptContext }

// Run is [Engine.Do] for edges, whose attempts need no [Permit]. Calls may share what they are, which isn't
// changed, and must not be.
func (e *Engine) Run(ctx context.Context, room *Room, what *Call, attempt func(context.Context) Outcome) error {
	var v visit
	v.Call = what
	v.begin(ctx, e)
	if !v.passQuietly() {
		return e.runWhole(ctx, what, attempt)
	}
	room.ctx = v.attemptContext
	ended := false
	defer func() {
		if !ended { // a panic, or runtime.Goexit
			v.abandon()
		}
	}()
	out := attempt(&room.ctx)
	ended = true
	if out.teachesLittle(v.policy) && v.Leave(nil) {
		metrics.Count(ctx, e.telemetry.Attempts, v.Target.Series.ByOutcome[Healthy])
		e.events.Deliver()
		return out.Err
	}
	return v.whole().goOn(attempt, out) // a stage must hear of it
}

// passQuietly enters the target, if that is quiet and the visit plain; else nothing has happened. A trial is of
// calls that have a timeout.
func (v *visit) passQuietly() bool {
	p := v.policy
	if v.setCriticality(); p.Timeout > 0 || p.AttemptTimeout > 0 || !v.isPlain() {
		return false
	}
	v.Plain = true
	v.findTarget(v.killers.serial)
	if !v.Target.Fast.On.Load() || !v.enter(v.killers.serial, v.Entered, true) {
		return false
	}
	metrics.Count(v.Context, v.engine.telemetry.Calls, v.Target.Series.Plain)
	return true
}

func (e *Engine) runWhole(ctx context.Context, what *Call, attempt func(context.Context) Outcome) error {
	c := &call{replayable: true}
	c.Call = what
	c.start(ctx, e)
	return c.goOn(attempt, Outcome{})
}

// goOn makes the attempts that are still to be made after one that brought out, or the first.
func (c *call) goOn(attempt func(context.Context) Outcome, out Outcome) error {
	return c.conclude(func(ctx context.Context, _ *Permit) Outcome { return attempt(ctx) }, &out)
}

func (v *visit) abandon() {
	c := v.whole()
	c.first.abandon()
	c.finish()
}

// whole is the call of a visit that has made its first attempt.
func (v *visit) whole() *call {
	c := &call{visit: *v, replayable: true, attempts: 1}
	c.setDeadline()
	c.permit = &c.first
	c.idleAt = v.Entered
	c.first.call, c.first.attempt, c.first.pass.SentAt = c, 1, v.Entered
	return c
}
