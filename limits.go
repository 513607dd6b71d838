package tether

import (
	"time"

	"github.com/tether-go/tether/ratelimit"
)

// lookAgain is how long the first in line for a slot sleeps at most: one that was forgotten is free
// without anybody saying so.
const lookAgain = time.Second

// limits are a target's limits that the configuration sets, whatever the server says.
type limits struct {
	rate        *ratelimit.Limiter
	concurrency *ratelimit.Concurrency
}

func newLimits(p targetPolicy, rand func() float64) (l limits) {
	opts := ratelimit.LimiterOptions{Rand: rand}
	var err error
	if l.rate, err = ratelimit.NewLimiter(p.rate, opts); err != nil { // a bug of ours, as in newTarget
		l.rate, _ = ratelimit.NewLimiter(ratelimit.LimitPolicy{}, opts)
	}
	if l.concurrency, err = ratelimit.NewConcurrency(p.concurrency); err != nil {
		l.concurrency, _ = ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{})
	}
	return l
}

func (l limits) set(p targetPolicy) {
	l.rate.SetPolicy(p.rate)
	l.concurrency.SetPolicy(p.concurrency)
}
