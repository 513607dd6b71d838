package target

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
	Concurrency *ratelimit.Concurrency
}

func newLimits(p Settings, rand func() float64) (l limits) {
	opts := ratelimit.LimiterOptions{Rand: rand}
	var err error
	if l.rate, err = ratelimit.NewLimiter(p.rate, opts); err != nil { // a bug of ours, as in newTarget
		l.rate, _ = ratelimit.NewLimiter(ratelimit.LimitPolicy{}, opts)
	}
	if l.Concurrency, err = ratelimit.NewConcurrency(p.concurrency); err != nil {
		l.Concurrency, _ = ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{})
	}
	return l
}

func (l limits) set(p Settings) {
	l.rate.SetPolicy(p.rate)
	l.Concurrency.SetPolicy(p.concurrency)
}
