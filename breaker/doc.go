// Package breaker refuses calls to a server that doesn't answer, so that neither the caller waits
// for nothing nor the server is asked for what it can't give.
//
//	b, err := breaker.New(breaker.Policy{}, breaker.Options{})
//	if err != nil {
//		return err
//	}
//	ticket, err := b.Allow()
//	if err != nil {
//		return err // errors.Is(err, breaker.ErrOpen): nothing was sent
//	}
//	ticket.Done(send()) // breaker.Success, breaker.Failure or breaker.Ignored
//
// Do is the same in one call, for a func() error.
//
//	          enough failures                open time over
//	closed ---------------------> open <------------------------> half-open
//	  ^                                 a probe failed or lapsed      |
//	  +---------------------------------------------------------------+
//	                      as many good probes as Policy.Probes
//
// # On by default
//
// The zero Policy opens after 5 failures in a row, or when half of at least 20 calls in 30 s
// failed; stays open for about a second, doubling with each failed probe up to 5 s; and closes
// after one good probe.
//
// Policy.SlowCallRatio makes it open on slow answers too. Policy.Mode holds it open or closed
// whatever it has learnt, or lets it only observe.
//
// # What it holds to
//
//   - A probe is a lease. One that hangs or is forgotten counts as a failure when its lease ends,
//     so no probe can hold a breaker half-open for longer.
//   - Clients don't come back in step: every open time is jittered by a quarter to either side, at
//     the longest too.
//   - A result counts only for the state that admitted its call. A slow failure can't open a
//     breaker that has closed since, nor a slow success close one that has opened.
//   - A change of policy loses nothing that was learnt and never closes a breaker.
//   - Time is the monotonic clock's: a step of the wall clock is not noticed.
//
// Nothing happens by itself: there is no timer and no goroutine. Open times and leases end when the
// next call notices.
//
// What counts as a failure is the caller's to say. Refusals by the server (429, 503) are better
// answered by slowing down: a breaker would waste what the server can still do.
//
// The window and the states are github.com/sony/gobreaker's.
package breaker
