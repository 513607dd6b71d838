package retry

import (
	"errors"
	"time"
)

// Why a call is not repeated. Errors of a call carry one of them beside the failure itself.
var (
	// ErrFinal means that repeating would end the same way.
	ErrFinal = errors.New("retry: the failure is final")
	// ErrForbidden means that the server said not to repeat the call.
	ErrForbidden = errors.New("retry: the server said not to repeat it")
	// ErrUnsafe means that the work may have been done and is not known to be repeatable.
	ErrUnsafe = errors.New("retry: not safe to repeat")
	// ErrBody means that the request's body cannot be sent again.
	ErrBody = errors.New("retry: the body cannot be sent again")
	// ErrAttempts means that MaxAttempts were made.
	ErrAttempts = errors.New("retry: no attempts left")
	// ErrBudget means that no re-attempt is saved: new clients earn one in ten calls.
	ErrBudget = errors.New("retry: budget spent")
	// ErrDeadline means that the caller's deadline leaves no time for another useful attempt.
	ErrDeadline = errors.New("retry: the deadline would pass first")
	// ErrWait means that the wait is longer than the caller may be kept waiting.
	ErrWait = errors.New("retry: the wait would be too long")
)

// Attempt is what is known when an attempt has failed.
type Attempt struct {
	Number     int           // attempts made so far, this one included
	Retryable  bool          // the failure may pass
	Forbidden  bool          // the server said not to repeat it
	Safe       bool          // a repeat cannot do the work twice: idempotent, or it never left
	Replayable bool          // the request can be sent again as it was
	Wait       time.Duration // not before this has passed: the server's word
	TimeLeft   time.Duration // until the caller's deadline; negative means that there is none
	WaitLeft   time.Duration // what is left of the time that the caller may be kept waiting
	Useful     time.Duration // what an attempt takes at least to be of use
}

// Next decides whether to repeat: the delay before the next attempt, or the reason why there is none.
// A re-attempt is taken from the budget last, when nothing else stands against it; a nil budget
// allows any. The one delay that is returned is the one that was checked against every limit.
func (p Policy) Next(a Attempt, b *Backoff, budget *Budget) (time.Duration, error) {
	switch {
	case a.Forbidden:
		return 0, ErrForbidden
	case !a.Retryable:
		return 0, ErrFinal
	case !a.Safe:
		return 0, ErrUnsafe
	case !a.Replayable:
		return 0, ErrBody
	case p.Disabled || a.Number >= p.WithDefaults().MaxAttempts:
		return 0, ErrAttempts
	}
	// A hint is a floor, and the jitter goes on top: whoever was told the same does not return together.
	delay := add(a.Wait, b.Next())
	switch {
	case a.TimeLeft >= 0 && add(delay, a.Useful) >= a.TimeLeft: // which bounds WaitLeft too
		return 0, ErrDeadline
	case delay > a.WaitLeft:
		return 0, ErrWait
	case budget != nil && !budget.Take():
		return 0, ErrBudget
	}
	return delay, nil
}

// add saturates: a large wait never turns into a short one.
func add(a, b time.Duration) time.Duration {
	if sum := max(a, 0) + max(b, 0); sum >= 0 {
		return sum
	}
	return 1<<63 - 1
}
