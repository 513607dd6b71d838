package breaker

import "time"

// State is where a breaker stands.
type State uint8

const (
	// Closed admits every call and counts what becomes of it. It is the zero value.
	Closed State = iota
	// Open refuses every call until its open time is over.
	Open
	// HalfOpen admits a few calls as probes and refuses the others.
	HalfOpen
)

// String returns "closed", "open" or "half-open".
func (s State) String() string {
	return name(s, "closed", "open", "half-open")
}

// Cause says why a breaker changed its state.
type Cause uint8

const (
	// ConsecutiveFailures opened it: so many calls failed in a row.
	ConsecutiveFailures Cause = iota + 1
	// FailureRatio opened it: too large a part of the calls in the window failed.
	FailureRatio
	// OpenTimeOver made it half-open.
	OpenTimeOver
	// ProbeFailed opened it again.
	ProbeFailed
	// ProbeLapsed opened it again: a probe's lease ended without a result.
	ProbeLapsed
	// ProbesSucceeded closed it.
	ProbesSucceeded
	// SlowCalls opened it: too large a part of the calls in the window was slow.
	SlowCalls
	// ProbeSlow opened it again: a probe was answered, but slowly.
	ProbeSlow
)

// String returns the cause in words, such as "failure ratio".
func (c Cause) String() string {
	return name(c, "unknown", "consecutive failures", "failure ratio", "open time over",
		"probe failed", "probe lapsed", "probes succeeded", "slow calls", "probe slow")
}

// name returns the word at index i, or "unknown".
func name[T State | Cause | Result](i T, words ...string) string {
	if int(i) >= len(words) {
		return "unknown"
	}
	return words[i]
}

// Event is one change of state.
type Event struct {
	// Seq counts the changes of this breaker from 1; a gap means that events were dropped.
	Seq uint64
	// From and To are the states before and after.
	From, To State
	// Cause says why.
	Cause Cause
	// At is when the new state began. A lease or an open time that ends is noticed by the next call,
	// so At may be earlier than the call that delivers the event.
	At time.Time
	// RetryAt is when the open time ends; zero unless To is Open.
	RetryAt time.Time
	// Counts is what was counted in the closed state that ended; zero unless From is Closed.
	Counts Counts
}

// Counts is what a closed breaker knows of its calls.
type Counts struct {
	// Successes and Failures ended within the policy's Window.
	Successes, Failures uint64
	// ConsecutiveFailures ended since the last success or the last change of state, however long ago.
	ConsecutiveFailures uint64
	// Slow ended within Window and were slow; 0 where the policy doesn't count them.
	Slow uint64
}

// Health is a snapshot of a breaker, consistent in itself.
type Health struct {
	State State
	// Cause is why the breaker is in this State; 0 if it never changed.
	Cause Cause
	// Mode is the policy's. In the forced ones State is what was learnt before.
	Mode Mode
	// RetryAt is when a call that would be refused now should come back; zero when the next call
	// would be admitted, and in ForcedOpen, which has no end of its own.
	RetryAt time.Time
	// Counts is zero unless State is Closed.
	Counts Counts
	// Probes is how many probes are out.
	Probes int
	// Spared is how many calls only ObserveOnly has admitted.
	Spared uint64
	// Opened is how many times the breaker opened, failed probes included.
	Opened uint64
	// OpenedAt is when it last opened; zero if never.
	OpenedAt time.Time
	// Dropped is how many events Options.Observe was too slow for.
	Dropped uint64
}

// OpenError is a refusal. Nothing was sent.
type OpenError struct {
	// RetryAt is when to come back, always later than the refusal. While probes are out it is the end
	// of the latest lease. It is zero if Forced.
	RetryAt time.Time
	// Forced tells that the policy holds the breaker open: waiting is in vain.
	Forced bool
	// Probing tells that the breaker is half-open with all its probes out: their results may let
	// calls in well before RetryAt.
	Probing bool
}

// Error returns a text without the time, so that equal refusals are equal in a log.
func (e *OpenError) Error() string {
	if e.Probing {
		return "breaker: open, probes are out"
	}
	return e.Unwrap().Error()
}

// Unwrap returns ErrOpen, or ErrForcedOpen, which is an ErrOpen too.
func (e *OpenError) Unwrap() error {
	if e.Forced {
		return ErrForcedOpen
	}
	return ErrOpen
}
