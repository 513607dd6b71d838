package tether

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/jsondoc"
)

// Stage is a place where a call may be refused or made to wait, in the order in which they are asked.
// The zero Stage is none.
type Stage uint8

// The stages of admission: cheapest and most absolute first.
const (
	StageKill        Stage = iota + 1 // a kill switch of the document
	StageHold                         // the server said "not before"
	StageBreaker                      // too many failures: the circuit breaker is open
	StagePacing                       // calls return, or are slowed, one at a time
	StageRate                         // our own limit of attempts a second
	StageConcurrency                  // our own limit of attempts under way at once
	StageQueue                        // too many calls wait already
	stageCount
)

// String returns the name of the stage as errors and metrics show it.
func (s Stage) String() string {
	return [...]string{"none", "kill switch", "server hold", "breaker", "pacing",
		"rate limit", "concurrency limit", "queue", "unknown"}[min(s, stageCount)]
}

// Why a call is refused, beside [breaker.ErrOpen], [pacing.ErrHeld], [pacing.ErrPaced],
// [pacing.ErrQuota], [ratelimit.ErrLimited] and [ratelimit.ErrBusy].
var (
	// ErrKilled means that the document switches this call off.
	ErrKilled = errors.New("switched off by the configuration")
	// ErrQueueFull means that as many calls wait for this target as may.
	ErrQueueFull = errors.New("too many calls wait already")
	// ErrOutrun means that an attempt was ended, or its answer given up, because the other one of it and
	// its hedge was served first. Only [Story] shows it.
	ErrOutrun = errors.New("tether: the other attempt was served first")
	// ErrAttemptTimeout means that an attempt brought no response headers within its timeout.
	ErrAttemptTimeout error = timeoutError("no response headers within the attempt timeout")
	// ErrCallTimeout means that a call brought no response headers within its timeout.
	ErrCallTimeout error = timeoutError("no response headers within the call timeout")
)

// timeoutError is a deadline of the policy's: net/http's callers find it by Timeout and by errors.Is.
type timeoutError string

func (e timeoutError) Error() string        { return "tether: " + string(e) }
func (e timeoutError) Timeout() bool        { return true }
func (e timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// RejectedError is a call, or a further attempt of one, that this process did not send. Alone it means
// that nothing reached the network; as the Reason of a *retry.Error, that nothing did after the failure
// that is told there.
//
// It is not temporary in net's sense, so that a caller's own retry loop does not hammer it.
type RejectedError struct {
	// Target is the host, or the name that [Call] gave. It holds no path and no credential.
	Target string
	// Stage refused, or kept the call until its time was up.
	Stage Stage
	// ServerAsked tells whose decision it was: the server's (a hold, a kill switch) or ours.
	ServerAsked bool
	// RetryAt is when asking again may help; zero where that isn't known.
	RetryAt time.Time
	// Reason is the stage's own: breaker.ErrOpen, pacing.ErrHeld, ErrKilled and so on.
	Reason error
	// Criticality is what the call went by, and Shed tells that it was refused for more critical ones: with
	// the same obstacle before it, one of these would have waited.
	Criticality criticality.Level
	Shed        bool
	// Note is what the people who run the server say about it (a kill's reason).
	Note string
	// Ended is the context's error when the caller's time, or patience, ended the wait; else nil.
	Ended error
}

// Error says what happened, whose decision it was, and when to come back.
func (e *RejectedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tether: %s: rejected by %s", e.Target, e.Stage)
	if e.ServerAsked {
		b.WriteString(" (the server's decision)")
	}
	if e.Reason != nil {
		fmt.Fprintf(&b, ": %v", e.Reason)
	}
	if e.Shed {
		fmt.Fprintf(&b, ": more critical calls go before this %s one", e.Criticality)
	}
	if e.Note != "" {
		b.WriteString(": " + jsondoc.Plain(e.Note))
	}
	if e.Ended != nil {
		fmt.Fprintf(&b, ": %v while waiting", e.Ended)
	}
	if !e.RetryAt.IsZero() {
		fmt.Fprintf(&b, ": try again after %s", e.RetryAt.UTC().Format(time.RFC3339))
	}
	return b.String()
}

// Unwrap returns the stage's reason and, where the caller's context ended the wait, its error.
func (e *RejectedError) Unwrap() []error {
	if e.Ended == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Ended}
}

// Timeout tells whether the caller's deadline ended the wait.
func (e *RejectedError) Timeout() bool { return errors.Is(e.Ended, context.DeadlineExceeded) }

// Temporary is false: whoever asks again at once is refused again.
func (e *RejectedError) Temporary() bool { return false }
