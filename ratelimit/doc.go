// Package ratelimit holds the limits that a client sets itself: of calls a second, and of calls under way at
// once.
//
//	limiter, err := ratelimit.NewLimiter(ratelimit.LimitPolicy{PerSecond: 5}, ratelimit.LimiterOptions{})
//	if err != nil {
//		return err
//	}
//	limit, err := ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{Max: 2})
//	if err != nil {
//		return err
//	}
//	if err := limiter.Wait(ctx); err != nil {
//		return err
//	}
//	slot, err := limit.Acquire(ctx)
//	if err != nil {
//		return err
//	}
//	defer slot.Release() // once the answer's body is read
//
// [Limiter] and [Concurrency] are independent; each is useful without the other. A [Concurrency] whose policy
// is adaptive falls below its maximum while calls are lost for overload.
//
// Package hint, in this folder, reads a server's word about its own limits. Package pacing obeys it.
package ratelimit
