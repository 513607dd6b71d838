package breaker

import "time"

// Calm tells whether calls only need to be counted: the breaker is closed, nothing has failed since the
// last success, and no policy times calls or forces a state. Until a failure is reported or the policy is
// changed every call is admitted, and [Breaker.CountAt] may stand for those that succeed. Era names the closed
// state: the calls that are admitted in it without being asked for, and don't succeed, have tickets of
// [Breaker.TicketOf].
func (b *Breaker) Calm() (era uint64, calm bool) {
	b.mu.Lock()
	defer b.unlock()
	return b.generation, b.state == Closed && b.streak == 0 && b.policy.SlowCallRatio == 0 && !b.policy.Mode.forced()
}

// TicketOf is the ticket of a call that was admitted in an era.
func (b *Breaker) TicketOf(era uint64) Ticket {
	return Ticket{&call{breaker: b, generation: uint32(era)}}
}

// CountAt counts at once so many successes that came until a time, as if each of them had been reported
// with [Ticket.DoneAt]. Their tickets need no Done then. A breaker that is no longer closed learns nothing
// from them.
func (b *Breaker) CountAt(at time.Time, successes int) {
	b.mu.Lock()
	defer b.unlock()
	if successes <= 0 || b.state != Closed || b.policy.Mode.forced() {
		return
	}
	b.streak = 0
	b.machine.good.add(uint32(successes), at)
}
