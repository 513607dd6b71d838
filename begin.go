package tether

import (
	"context"
)

// Begin admits one attempt that the caller makes in its own way (a stream, a long transaction) and
// reports with [Permit.Done]. It waits where the call may. Nothing is repeated but by [Permit.Next].
func (e *Engine) Begin(ctx context.Context, what Call) (*Permit, error) {
	begun := &struct {
		call
		what Call
	}{what: what}
	c := &begun.call
	c.Call, c.single = &begun.what, true
	c.start(ctx, e)
	admitted := false
	defer func() {
		if !admitted { // a panic of the caller's own functions too
			c.finish()
		}
	}()
	if refusal := c.admit(); refusal != nil {
		c.brake()
		return nil, refusal
	}
	admitted = true
	return c.permit, nil
}

// Next says what came of an attempt that [Engine.Begin] admitted, like Done, and admits the next
// one of the same call by the rules that [Engine.Do] repeats by: it waits, takes from the budget,
// passes every stage. Where there is no next it returns nil and what the caller is to get, as Do
// does: after a Healthy outcome its Err. What can't be sent again is Final. Of Next and Done the
// first one counts; Next then is nil, nil.
func (p *Permit) Next(out Outcome) (*Permit, error) {
	if p.settled.Swap(true) {
		return nil, nil
	}
	c := p.call
	c.heedContext(p, &out)
	c.record(p, &out)
	c.replayable = true
	c.idleAt = c.Sample.Now()
	now := c.idleSince()
	c.settle(p, &out, now)
	if out.served(c.policy) {
		c.Target.Budget.SuccessAt(now)
		c.finish()
		return nil, out.Err
	}
	admitted := false
	defer func() {
		if !admitted {
			c.finish()
		}
	}()
	delay, reason := c.again(&out)
	if reason == nil {
		c.retrying(&out, delay)
		if reason = c.pause(delay); reason == nil {
			refusal := c.admit()
			if refusal == nil {
				admitted = true
				return c.permit, nil
			}
			c.brake()
			reason = refusal
		}
	} else {
		c.gaveUp(&out, reason)
	}
	return nil, c.failure(out, reason)
}

// Context is the attempt's context, by which wrappers further in know that they are inside of a call.
func (p *Permit) Context() context.Context { return p.call.withAttempt(p.call, p.Attempt()) }

// Keep lets the attempt's place among those under way outlast Done, for a stream that goes on after
// it has proved good, until the function that it returns is called. It comes before Done.
func (p *Permit) Keep() (end func()) {
	slot, line := p.pass.Slot, &p.call.Target.Queue
	if slot == nil {
		return func() {}
	}
	p.pass.Slot = nil
	return func() {
		slot.Release()
		line.WakeNext()
	}
}
