package tether

import (
	"net/http"
	"time"

	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

// Class says what an attempt taught about the server.
type Class uint8

// The classes of outcomes. The zero Class teaches nothing, so that an outcome nobody filled in does
// no harm.
const (
	// Ignored says nothing about the server: the caller cancelled, the refusal was local, the attempt
	// panicked, or the trouble is this machine's own (network, file descriptors, name resolution).
	Ignored Class = iota
	// Healthy is an answer, whatever it says: 4xx other than 408 and 429 included.
	Healthy
	// Transient is no answer (refused, reset, timed out) or one that reports a fault (500, 502, 504).
	Transient
	// Overloaded is an answer that says "not now" (429, 503, RESOURCE_EXHAUSTED, and a 403 that
	// names a wait or says that nothing is left of a quota). It feeds holds and pacing, never the
	// breaker: a server that can still say no has capacity left.
	Overloaded
)

// String returns the name of the class.
func (c Class) String() string {
	switch c {
	case Healthy:
		return "healthy"
	case Transient:
		return "transient"
	case Overloaded:
		return "overloaded"
	default:
		return "ignored"
	}
}

// Sent says whether the server can have seen an attempt that failed.
type Sent uint8

// What is known of a failed attempt's way. The zero value is the cautious one.
const (
	// MaybeSent means that some of it may have arrived and been acted on.
	MaybeSent Sent = iota
	// NotSent means that no byte of it left: repeating is safe for any method.
	NotSent
	// NotProcessed means that the server guarantees not to have acted on it (HTTP/2 REFUSED_STREAM,
	// RFC 9113 section 8.7): repeating is safe for any method.
	NotProcessed
)

// Outcome is what one attempt brought.
type Outcome struct {
	Class Class
	// Err is the failure that the caller gets to see if the attempt is the last one; nil for an
	// answer.
	Err error
	// Status is the answer's HTTP status; 0 where there was none, or none of HTTP's. With a status,
	// the policy's retryable status codes decide whether a repeat makes sense.
	Status int
	// Code is the gRPC code that the attempt failed with, whoever made it; 0: OK, or not gRPC. With
	// a code, too, the policy's retryable codes decide. RESOURCE_EXHAUSTED is repeated only where
	// the answer names a wait.
	Code policy.StatusCode
	// Answered says that a Code came from the server and stands for no missing answer.
	Answered bool
	// Final says that a repeat would end in the same way, or is somebody else's to make.
	Final bool
	Sent  Sent
	// Hint is when the server asks to come back, and what it says about its quota and about a repeat.
	Hint hint.Hint
	// Partitioned says that the refusal covers this caller's credential only, not the whole target.
	Partitioned bool
}

// served tells whether the answer is what the caller wants, by the policy that the call has.
func (o *Outcome) served(p *policy.Resolved) bool { return o.Class == Healthy && !o.retryable(p) }

// retryable tells whether a repeat may end better, by the policy that the call has.
func (o *Outcome) retryable(p *policy.Resolved) bool {
	if o.Final || o.Class == Healthy && o.Status == 0 && o.Code == 0 {
		return false
	}
	switch {
	case o.Code != 0:
		return o.Hint.Verdict == hint.Repeat || p.Retryable.Has(o.Code) &&
			(o.Code != policy.CodeResourceExhausted || o.Hint.Explicit || o.Hint.Quota.Exhausted())
	case o.Status == 0:
		return true
	case o.Status >= 400 && o.Hint.Verdict == hint.Repeat:
		return true
	case o.Status == http.StatusForbidden && o.Partitioned: // what other servers call 429
		return p.Retryable.HasHTTP(http.StatusTooManyRequests)
	}
	return p.Retryable.HasHTTP(o.Status)
}

// answered tells that the server said something, and be it that it failed.
func (o *Outcome) answered() bool { return o.Status != 0 || o.Answered }

// timedOut tells failures that may have cost the server a whole service from those that it never saw.
func (o *Outcome) timedOut() bool { return o.Code == policy.CodeDeadlineExceeded || isTimeout(o.Err) }

// wait is the least wait that the server asks for, before its "no" covers nobody any more.
func (o *Outcome) wait() time.Duration { return o.Hint.MinWait(o.Status) }

// classOfStatus is the breaker's and the pacing's view of an HTTP status.
func classOfStatus(status int) Class {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return Overloaded
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusGatewayTimeout:
		return Transient
	default:
		return Healthy
	}
}

// teachesLittle tells of an answer that is good and says nothing of a quota.
func (o *Outcome) teachesLittle(p *policy.Resolved) bool {
	return o.served(p) && o.Hint.Scope == hint.AllRequests && !o.Hint.Quota.Paces()
}
