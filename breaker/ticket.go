package breaker

import (
	"slices"
	"time"
)

// Result is what an admitted call taught about the server.
type Result uint8

const (
	// Ignored teaches nothing: the caller cancelled, or the call never left. It is the zero value.
	Ignored Result = iota
	// Success is any answer of a server that works.
	Success
	// Failure is no answer: refused, reset, timed out.
	Failure
	// Fault is an answer that reports a fault, such as an HTTP 500. It counts for FailureRatio and ends
	// a streak of failures: where three calls in ten fail at once, streaks of five would come about
	// by chance every few minutes, and most calls are served. A probe that it answers has failed.
	Fault
	// Slow is a Success that took too long to be of use. It counts for SlowCallRatio; where that is 0 it
	// is a Success.
	Slow
)

// String returns "ignored", "success", "failure", "fault" or "slow".
func (r Result) String() string {
	return name(r, "ignored", "success", "failure", "fault", "slow")
}

// Ticket is one admitted call. It is a small value; copies stand for the same call. The zero
// Ticket belongs to no breaker: its Done does nothing.
//
// A Ticket is safe for concurrent use.
type Ticket struct {
	call *call
}

// call is what the copies of a ticket share. All but settled is final when the ticket is handed
// out.
type call struct {
	breaker    *Breaker
	began      time.Time // of a probe, whose lease it is, and where the policy times calls
	generation uint64
	probe      bool
	settled    bool // guarded by breaker.mu
}

// Probe tells whether this call tests a half-open breaker. A probe whose result is not reported
// within the policy's ProbeLease counts as a failure.
func (t Ticket) Probe() bool { return t.call != nil && t.call.probe }

// Done reports what became of the call. The first report counts; later ones do nothing, and so
// does one for a call that was admitted before the last change of state, or whose lease is over.
// A result that is none of the constants is Ignored.
//
// A call in the closed state may be forgotten without Done: it is then as if it had been Ignored.
func (t Ticket) Done(result Result) {
	if t.call != nil {
		t.call.breaker.settle(t.call, result, time.Now())
	}
}

// DoneAt is Done by a clock that was just read, which costs more than all the rest.
func (t Ticket) DoneAt(now time.Time, result Result) {
	if t.call != nil {
		t.call.breaker.settle(t.call, result, now)
	}
}

// settle counts the result of a call, once, if the state that admitted it is still there.
func (b *Breaker) settle(c *call, result Result, now time.Time) {
	b.mu.Lock()
	defer b.unlock()
	if c.settled {
		return
	}
	c.settled = true
	if c.probe {
		b.advance(now) // a lease that is over has decided before the result can
	}
	if c.generation != b.generation || !c.probe && b.state != Closed { // the latter: TicketOf was misled
		return
	}
	if c.probe {
		b.release(c)
	}
	if b.policy.Mode.forced() {
		return
	}
	slow, wasClosed := b.slow(c, result), b.state == Closed
	switch result {
	case Success, Slow:
		b.succeeded(slow, now)
	case Failure, Fault:
		b.failed(result)
	default:
		return
	}
	if wasClosed && b.state == Closed {
		b.countSlow(slow, now)
	}
}

// succeeded counts a success in the state that admitted it.
func (b *Breaker) succeeded(slow bool, now time.Time) {
	switch {
	case b.state == Closed:
		b.streak = 0
		b.machine.success(now)
		return
	case slow:
		b.reopened(now, ProbeSlow)
		return
	}
	b.good++
	if b.good >= b.policy.Probes {
		b.closed(now)
	}
}

// failed counts a failure, or a fault, in the state that admitted it.
func (b *Breaker) failed(result Result) {
	if b.state == HalfOpen {
		b.reopened(time.Now(), ProbeFailed)
		return
	}
	b.streak++
	if result == Fault {
		b.streak = 0
	}
	b.machine.failure()
	if !b.machine.isClosed() {
		b.tripped(time.Now())
	}
}

// free returns how many more probes may go out. While none is out it is at least one, whatever a
// push did to Policy.Probes in the meantime, or nothing could ever decide the half-open state.
func (b *Breaker) free() int {
	return max(b.policy.Probes-b.good-len(b.probes), 1-len(b.probes), 0)
}

// lease hands out a probe.
func (b *Breaker) lease(now time.Time) *call {
	c := &call{breaker: b, generation: b.generation, probe: true, began: now}
	b.probes = append(b.probes, c)
	return c
}

// leaseEnd returns when a probe that is out lapses under the policy in force.
func (b *Breaker) leaseEnd(c *call) time.Time { return c.began.Add(b.policy.ProbeLease) }

// release takes a probe off the list of those that are out.
func (b *Breaker) release(c *call) {
	if i := slices.Index(b.probes, c); i >= 0 {
		b.probes = slices.Delete(b.probes, i, i+1)
	}
}
