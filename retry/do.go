package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tether-go/tether/internal/random"
)

// Error is the last failure of a call that was made more than once, or that was not made again
// although it might have helped. errors.Is and errors.As see both the failure and the reason.
type Error struct {
	Attempts int   // that were sent
	Err      error // the last real failure
	Reason   error // why there was no further attempt: one of the package's sentinels, or a refusal
}

// Error says what failed and why it was not tried again.
func (e *Error) Error() string {
	return fmt.Sprintf("%v (attempts: %d; %v)", e.Err, e.Attempts, e.Reason)
}

// Unwrap returns the failure and the reason.
func (e *Error) Unwrap() []error { return []error{e.Err, e.Reason} }

// Timeout tells whether the failure was a timeout, or a deadline was the reason. It exists because url.Error
// asks only the error that it wraps directly.
func (e *Error) Timeout() bool { return isTimeout(e.Err) || isTimeout(e.Reason) }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// final marks an error that must not be repeated.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// Final marks err, which may be nil, so that [Do] returns it at once.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return final{err}
}

// after carries the server's word on when to come back.
type after struct {
	error
	wait time.Duration
}

func (a after) Unwrap() error { return a.error }

// After marks err so that [Do] repeats not before wait has passed, or gives up at once where that is
// more than the caller may wait.
func After(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return after{err, wait}
}

// Do calls fn until it returns nil, at most MaxAttempts times, with jittered delays between the calls.
// fn must be safe to repeat. An error made by [Final] ends it; one made by [After] sets a floor. Do
// never sleeps past ctx's deadline nor towards one that it can't meet, and waits at most 60 s
// altogether (10 s without a deadline). When it gives up it returns an *[Error]; when ctx ends it
// returns at once, with the last failure if there was one.
//
// Do has no memory: calls that fail together multiply by MaxAttempts. Use [Budget.Do] for more than
// an occasional call.
func Do(ctx context.Context, policy Policy, fn func(context.Context) error) error {
	return do(ctx, policy, nil, fn)
}

// Do is [Do] with re-attempts taken from the budget, and each success saving for the next.
func (b *Budget) Do(ctx context.Context, policy Policy, fn func(context.Context) error) error {
	b.Call()
	err := do(ctx, policy, b, fn)
	if err == nil {
		b.Success()
	}
	return err
}

func do(ctx context.Context, policy Policy, budget *Budget, fn func(context.Context) error) error {
	if err := policy.Validate(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	waitLeft := WaitLimit(ctx)
	err := fn(ctx)
	if err == nil {
		return nil
	}
	return repeat(ctx, policy, budget, fn, err, waitLeft)
}

// repeat goes on after a first attempt that failed. It is apart so that most calls, which succeed, need
// neither a source of randomness nor memory.
func repeat(ctx context.Context, policy Policy, budget *Budget, fn func(context.Context) error,
	err error, waitLeft time.Duration) error {
	backoff := policy.Backoff(random.New(0).Float64)
	for number := 1; ; number++ {
		if ctx.Err() != nil {
			return ended(err, number, ctx.Err())
		}
		attempt := describe(ctx, err, number)
		attempt.WaitLeft = waitLeft
		delay, reason := policy.Next(attempt, &backoff, budget)
		if reason != nil {
			return ended(err, number, reason)
		}
		waitLeft -= delay
		if reason := sleep(ctx, delay); reason != nil {
			if budget != nil {
				budget.Refund()
			}
			return ended(err, number, reason)
		}
		if ctx.Err() != nil {
			return ended(err, number, ctx.Err())
		}
		if err = fn(ctx); err == nil {
			return nil
		}
	}
}

// describe turns fn's error into the facts that the decision needs.
func describe(ctx context.Context, err error, number int) Attempt {
	a := Attempt{Number: number, Safe: true, Replayable: true, TimeLeft: -1}
	a.Retryable = !errors.As(err, new(final))
	var hint after
	if errors.As(err, &hint) {
		a.Wait = hint.wait
	}
	if deadline, ok := ctx.Deadline(); ok {
		a.TimeLeft = max(0, time.Until(deadline))
	}
	return a
}

// ended strips our marks from a final error and dresses every other one.
func ended(err error, attempts int, reason error) error {
	if f, ok := err.(final); ok {
		return f.error
	}
	if errors.As(err, new(final)) {
		return err
	}
	return &Error{Attempts: attempts, Err: err, Reason: reason}
}

// WaitLimit is the longest that a call may be kept waiting altogether: what its deadline leaves, at
// most 60 s; 10 s without a deadline.
func WaitLimit(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 10 * time.Second
	}
	return min(max(0, time.Until(deadline)), 60*time.Second)
}

// sleep waits for d, or returns the context's error as soon as it ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
