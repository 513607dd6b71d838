package breaker

import "time"

// This file has the changes of state. All of it runs under Breaker.mu.

// advance brings the state up to now. Nothing happens by itself in a breaker: leases and open times
// end when a call notices, and then as of the moment they ended, so that it makes no difference who
// looks how often.
func (b *Breaker) advance(now time.Time) {
	if b.policy.Mode.forced() {
		return
	}
	if b.state == HalfOpen && len(b.probes) > 0 {
		// Leases are equally long, so the oldest ends first, and its end decides for all.
		if end := b.leaseEnd(b.probes[0]); !now.Before(end) {
			b.reopened(end, ProbeLapsed)
		}
	}
	if b.state == Open {
		if end := b.openUntil(); !now.Before(end) {
			b.change(HalfOpen, OpenTimeOver, end)
		}
	}
}

// reopened opens a half-open breaker, for longer than the last time.
func (b *Breaker) reopened(at time.Time, cause Cause) {
	b.machine.failure()
	b.doublings++
	b.open(at, cause)
}

// tripped opens a closed breaker. The open time starts small, unless the closed state lasted less
// than the open time before it: then the close proved nothing, and the doubling goes on. Otherwise
// a server that bears a probe but not the traffic would be tried at the shortest interval for ever.
func (b *Breaker) tripped(now time.Time) {
	proof := b.policy.openTime(b.doublings, b.phase)
	if now.Sub(b.closedAt) < proof {
		b.doublings++
	} else {
		b.doublings = 0
	}
	b.open(now, b.cause)
}

func (b *Breaker) open(at time.Time, cause Cause) {
	b.openedAt, b.phase = at, b.nextPhase
	b.opened++
	b.change(Open, cause, at)
}

// closed closes the breaker. The counts start from nothing, in the window that the policy names by
// now. Otherwise too the machine may need a successor: if it opened at this very instant, which a
// coarse clock makes possible, it refuses to hear the good news.
func (b *Breaker) closed(now time.Time) {
	b.closedAt = now
	b.machine.success(now)
	if b.machine.window != b.policy.Window || !b.machine.isClosed() {
		b.machine = newMachine(b.policy.Window, b.trip)
	}
	b.change(Closed, ProbesSucceeded, now)
}

// change makes a new state visible. Calls of the one before it become voices from the past.
func (b *Breaker) change(to State, cause Cause, at time.Time) {
	from := b.state
	b.state = to
	b.generation++
	b.changed = true
	b.reason = cause
	b.streak, b.good, b.probes, b.slows = 0, 0, nil, nil
	b.letPass()
	if !b.events.Enabled() {
		return
	}
	event := Event{Seq: b.generation, From: from, To: to, Cause: cause, At: at}
	if from == Closed {
		event.Counts = b.tripCounts
	}
	if to == Open {
		event.RetryAt = b.openUntil()
	}
	b.events.Push(event)
}

// openUntil returns when the last open time ends. It is computed, not stored, so that it follows
// the policy and nothing can add to it.
func (b *Breaker) openUntil() time.Time {
	return b.openedAt.Add(b.policy.openTime(b.doublings, b.phase))
}

// refused tells whether a call would be refused now, and when it should come back then.
func (b *Breaker) refused() (retryAt time.Time, refused bool) {
	switch {
	case b.state == Open:
		return b.openUntil(), true
	case b.state == HalfOpen && b.free() == 0:
		return b.leaseEnd(b.probes[len(b.probes)-1]), true
	default:
		return time.Time{}, false
	}
}
