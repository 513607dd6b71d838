package flags

import "time"

// GuardedCall is one call of a caller that runs the two paths itself. It is not safe for concurrent use.
type GuardedCall struct {
	guard *Guard
	ticket
	ended bool
}

// Begin is [Guard.Do] for callers that run the paths in their own way, such as one that sends to another
// server. Has says whether the flag gives this call the new path; the guard's options FallBack, Timeout and
// Failed are the caller's to heed. One of Done and Cancel ends each path; of a new path's call that neither
// ends, the guard hears nothing.
func (g *Guard) Begin(has bool) GuardedCall {
	t := g.ticketFor(g.store.Current(), has)
	g.events.Deliver()
	return GuardedCall{guard: g, ticket: t}
}

// New tells whether the new path is to run.
func (c *GuardedCall) New() bool { return c.fresh }

// Done says how the path ended and how long it took. Err is for [GuardEvent] only. The first word counts.
func (c *GuardedCall) Done(failed bool, took time.Duration, err error) {
	result := good
	if failed {
		result = bad
	}
	c.end(result, took, err)
}

// Cancel says that the path's end says nothing about it.
func (c *GuardedCall) Cancel() { c.end(ignored, 0, nil) }

func (c *GuardedCall) end(result verdict, took time.Duration, err error) {
	if c.guard == nil || c.ended {
		return
	}
	c.ended = true
	c.guard.settle(c.ticket, result, err, took)
}

// FallBack says that the old path is going to answer for the new one, whose end was told, and makes the call
// one of the old path.
func (c *GuardedCall) FallBack(err error) {
	if c.guard == nil || !c.fresh {
		return
	}
	c.Cancel()
	c.guard.fellBack(err)
	c.fresh, c.probe, c.ended = false, false, false
}
