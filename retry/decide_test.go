package retry_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tether-go/tether/retry"
)

func TestNext(t *testing.T) {
	good := retry.Attempt{Number: 1, Retryable: true, Safe: true, Replayable: true, TimeLeft: -1,
		WaitLeft: 10 * time.Second}
	with := func(change func(*retry.Attempt)) retry.Attempt {
		a := good
		change(&a)
		return a
	}
	for _, test := range []struct {
		name    string
		attempt retry.Attempt
		want    error
		least   time.Duration
	}{
		{"nothing against it", good, nil, 0},
		{"final", with(func(a *retry.Attempt) { a.Retryable = false }), retry.ErrFinal, 0},
		{"unsafe", with(func(a *retry.Attempt) { a.Safe = false }), retry.ErrUnsafe, 0},
		{"body gone", with(func(a *retry.Attempt) { a.Replayable = false }), retry.ErrBody, 0},
		{"last attempt", with(func(a *retry.Attempt) { a.Number = 3 }), retry.ErrAttempts, 0},
		{"hint", with(func(a *retry.Attempt) { a.Wait = 5 * time.Second }), nil, 5 * time.Second},
		{"hint over the wait", with(func(a *retry.Attempt) { a.Wait = time.Minute }), retry.ErrWait, 0},
		{"huge hint", with(func(a *retry.Attempt) { a.Wait = math.MaxInt64 }), retry.ErrWait, 0},
		{"no wait at all", with(func(a *retry.Attempt) { a.WaitLeft = 0 }), retry.ErrWait, 0},
		{"time left", with(func(a *retry.Attempt) { a.TimeLeft = time.Second }), nil, 0},
		{"deadline before the hint", with(func(a *retry.Attempt) {
			a.TimeLeft, a.Wait = time.Second, 2*time.Second
		}), retry.ErrDeadline, 0},
		{"deadline before an answer could come", with(func(a *retry.Attempt) {
			a.TimeLeft, a.Useful = time.Second, time.Second
		}), retry.ErrDeadline, 0},
		{"deadline passed", with(func(a *retry.Attempt) { a.TimeLeft = 0 }), retry.ErrDeadline, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			backoff := retry.Policy{}.Backoff(highest)
			delay, err := retry.Policy{}.Next(test.attempt, &backoff, budget(t, 0.1, 1))
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("reason is %v, want %v", err, test.want)
			}
			if most := test.least + 250*time.Millisecond; err == nil && (delay < test.least || delay > most) {
				t.Errorf("delay is %v, want %v and up to 250ms", delay, test.least)
			}
		})
	}
}

// TestW05OneDelay: whatever the hint, the backoff and the limits, the delay that is returned is within
// both limits, at least the hint, and leaves time for an attempt.
func TestW05OneDelay(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	span := func() time.Duration {
		if rng.IntN(50) == 0 {
			return math.MaxInt64
		}
		return time.Duration(math.Exp(rng.Float64()*12)) * time.Millisecond
	}
	given, refused := 0, 0
	for range 100_000 {
		policy := retry.Policy{InitialBackoff: span(), Jitter: []retry.Jitter{retry.JitterFull,
			retry.JitterEqual, retry.JitterDecorrelated}[rng.IntN(3)]}
		attempt := retry.Attempt{Number: 1, Retryable: true, Safe: true, Replayable: true,
			Wait: span(), TimeLeft: span(), WaitLeft: span(), Useful: span()}
		if rng.IntN(3) == 0 {
			attempt.Wait = -span() // no hint, or one that was no number
		}
		backoff := policy.Backoff(rng.Float64)
		delay, err := policy.Next(attempt, &backoff, nil)
		if err != nil {
			refused++
			continue
		}
		given++
		if delay < 0 || delay < attempt.Wait || delay > attempt.WaitLeft || delay >= attempt.TimeLeft-attempt.Useful {
			t.Fatalf("%+v with %+v: delay %v", policy, attempt, delay)
		}
	}
	if given < 10_000 || refused < 10_000 {
		t.Errorf("%d delays, %d refusals: it proves little", given, refused)
	}
}

func TestNextTakesFromTheBudgetLast(t *testing.T) {
	b := budget(t, 0.1, 1)
	attempt := retry.Attempt{Number: 1, Retryable: true, Safe: true, Replayable: true, TimeLeft: -1}
	backoff := retry.Policy{}.Backoff(highest)
	if _, err := (retry.Policy{}).Next(attempt, &backoff, b); !errors.Is(err, retry.ErrWait) {
		t.Fatalf("reason is %v", err)
	}
	attempt.WaitLeft = time.Hour
	if _, err := (retry.Policy{}).Next(attempt, &backoff, b); err != nil {
		t.Fatalf("a denied repeat cost the budget: %v", err)
	}
	if _, err := (retry.Policy{}).Next(attempt, &backoff, b); !errors.Is(err, retry.ErrBudget) {
		t.Errorf("reason is %v, want the budget", err)
	}
	if _, err := (retry.Policy{Disabled: true}).Next(attempt, &backoff, nil); !errors.Is(err, retry.ErrAttempts) {
		t.Errorf("reason is %v, want no attempts left", err)
	}
}
