package breaker

import "time"

// Calm tells whether calls only need to be counted: the breaker is closed, no failure came since the last success
// (or fault, which ends a streak too), and no policy counts slow calls or forces a state. Until a Failure or a Fault
// is reported or the policy is changed every call is admitted, and [Breaker.CountAt] may stand for those that
// succeed. Era names the closed state, where calm is true: the calls that are admitted in it without being asked
// for, and don't succeed, have tickets of [Breaker.TicketOf]. It is safe for concurrent use: whoever goes by its
// word sees to it that no failure and no policy goes by unnoticed.
func (b *Breaker) Calm() (era uint64, calm bool) {
	b.mu.Lock()
	defer b.unlock()
	return b.generation, b.state == Closed && b.streak == 0 && b.policy.SlowCallRatio == 0 && !b.policy.Mode.forced()
}

// TicketOf is the ticket of a call that was admitted in an era of [Breaker.Calm]. In any other state, and where a
// number is no era, it teaches nothing. It is safe for concurrent use.
func (b *Breaker) TicketOf(era uint64) Ticket {
	return Ticket{&call{breaker: b, generation: era}}
}

// CountAt counts at once so many successes of calls that were admitted in the present closed state, none of them
// slow, as if each had been reported with [Ticket.DoneAt] at that time. Their tickets need no Done then. 0 and less
// count nothing, and a breaker that isn't closed, or is forced, learns nothing. A time earlier than another call's is
// taken for that. It is safe for concurrent use.
func (b *Breaker) CountAt(at time.Time, successes int) {
	b.mu.Lock()
	defer b.unlock()
	if successes <= 0 || b.state != Closed || b.policy.Mode.forced() {
		return
	}
	b.streak = 0
	b.machine.good.add(uint32(successes), at)
	if b.policy.SlowCallRatio > 0 { // since a policy that came after they had begun
		b.slowWindow().good.add(uint32(successes), at)
	}
}
