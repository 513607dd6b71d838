package main

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/retry"
)

// way is one contender's way through a leaf, for a function that may fail.
type way struct {
	who string
	do  func(fn func() error) error
}

func leafTables() ([]table, error) {
	breakers, err := breakerWays()
	if err != nil {
		return nil, err
	}
	retries, err := retryWays()
	if err != nil {
		return nil, err
	}
	limits, err := limitWays()
	if err != nil {
		return nil, err
	}
	healthy := func() error { return nil }
	passed := func(name string, ways []way) row {
		r := row{name: name}
		for _, w := range ways {
			r.entries = append(r.entries, entry{who: w.who, once: func() { must(w.do(healthy)) }})
		}
		return r
	}
	refused := row{name: "refused by a limit"}
	for _, l := range limits {
		refused.entries = append(refused.entries, entry{who: l.who, once: func() {
			if l.take() {
				panic(l.who + " let a call through")
			}
		}})
	}
	return []table{{"The parts alone", []row{
		passed("through a closed breaker", breakers), passed("good at the first attempt", retries), refused,
	}}}, nil
}

// breakerWays count over 30 s in steps of 3 s where that can be said, and open by the ratio of failures.
func breakerWays() ([]way, error) {
	ours, err := breaker.New(breaker.Policy{}, breaker.Options{})
	if err != nil {
		return nil, err
	}
	sony := gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Interval: 30 * time.Second, BucketPeriod: 3 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= 5 || c.Requests >= 20 && c.TotalFailures*2 >= c.Requests
		},
	})
	failsafeOwn := failsafe.With(circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(0.5, 20, 30*time.Second).WithDelay(time.Second).WithSuccessThreshold(1).Build())
	return []way{
		{"tether/breaker", ours.Do},
		{"gobreaker", func(fn func() error) error {
			_, err := sony.Execute(func() (any, error) { return nil, fn() })
			return err
		}},
		{"failsafe-go", failsafeOwn.Run},
	}, nil
}

// retryWays make at most three attempts. Only tether's has a budget.
func retryWays() ([]way, error) {
	budget, err := retry.NewBudget(0.1, retry.BudgetOptions{Initial: 1})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	policy := failsafe.With(retrypolicy.NewBuilder[any]().
		WithBackoff(250*time.Millisecond, 5*time.Second).WithJitterFactor(0.5).Build())
	return []way{
		{"tether/retry, with a budget", func(fn func() error) error {
			return budget.Do(ctx, retry.Policy{}, func(context.Context) error { return fn() })
		}},
		// An ExponentialBackOff has the state of one call, so each call makes its own.
		{"backoff/v4", func(fn func() error) error {
			b := backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(250*time.Millisecond), backoff.WithMaxInterval(5*time.Second))
			return backoff.Retry(fn, backoff.WithContext(backoff.WithMaxRetries(b, 2), ctx))
		}},
		{"failsafe-go", policy.Run},
	}, nil
}

// limit is one contender's limit of calls, spent for the next hours.
type limit struct {
	who  string
	take func() bool
}

// limitWays refuse. Letting calls through isn't compared: a benchmark asks more often than the million
// a second that is tether's largest limit.
func limitWays() ([]limit, error) {
	const perHour = 1
	ours, err := ratelimit.NewLimiter(ratelimit.LimitPolicy{PerSecond: perHour / 3600., Burst: 1},
		ratelimit.LimiterOptions{})
	if err != nil {
		return nil, err
	}
	std := rate.NewLimiter(rate.Every(time.Hour/perHour), 1)
	bursty := ratelimiter.NewBursty[any](perHour, time.Hour)
	limits := []limit{
		{"tether/ratelimit", func() bool { _, err := ours.Take(); return err == nil }},
		{"x/time/rate", std.Allow},
		{"failsafe-go", bursty.TryAcquirePermit},
	}
	for _, l := range limits {
		if !l.take() {
			return nil, errors.New(l.who + " refuses its first call")
		}
	}
	return limits, nil
}
