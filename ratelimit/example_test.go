package ratelimit_test

import (
	"context"
	"fmt"

	"github.com/tether-go/tether/ratelimit"
)

func Example() {
	ctx := context.Background()
	limiter, err := ratelimit.NewLimiter(ratelimit.LimitPolicy{PerSecond: 5}, ratelimit.LimiterOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	limit, err := ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{Max: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := limiter.Wait(ctx); err != nil {
		fmt.Println(err)
		return
	}
	slot, err := limit.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer slot.Release() // once the answer's body is read
	fmt.Println(limit.Status())
	// Output: 1 2
}

func ExampleNewLimiter() {
	limiter, err := ratelimit.NewLimiter(ratelimit.LimitPolicy{PerSecond: 5, Burst: 10}, ratelimit.LimiterOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(limiter.Wait(context.Background())) // then send
	retryAt, err := limiter.Take()                  // instead of waiting
	fmt.Println(err, !retryAt.IsZero())
	// Output:
	// <nil>
	// ratelimit: limited: our own limit of calls a second is reached true
}

func ExampleNewConcurrency() {
	limit, err := ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{Max: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	slot, err := limit.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = limit.Take() // another call, that won't wait
	fmt.Println(err)
	slot.Release() // once the answer's body is read
	_, err = limit.Take()
	fmt.Println(err)
	// Output:
	// ratelimit: busy: as many calls are under way as our own limit allows
	// <nil>
}
