package pacing

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/ratelimit/hint"
)

// ErrQuota means that calls are spread over the time until the server has more to give.
var ErrQuota = errors.New("pacing: quota: what is left is spread over the time until there is more")

const (
	// A client is slowed when its own calls, going on as they do, would need this many times the rest:
	// less may be chance, and to be refused once is no worse than to be slowed for nothing.
	needed = 1.25
	// Its calls are counted over the quota's own window, within these bounds: over less, each short burst
	// would look as if it went on for ever.
	leastCounted = 10 * time.Second
	mostCounted  = 300 * time.Second
	// longestGap keeps a trickle going where much time is left and little else, or where the answers
	// that would have told of more were lost. With half as much again at random it is below the 10 s
	// that a call without a deadline may wait.
	longestGap = 6 * time.Second
)

// Allowance spreads the rest of a server's quota over the time until there is more. It does so only if the
// client would run out: being slowed a little is better than being refused for long. While there is plenty
// it delays no call. The rest is no promise, and other clients may use the same quota; so each answer counts
// only until the next. It is safe for concurrent use.
type Allowance struct {
	rand func() float64

	mu      sync.Mutex // guards all fields below
	asked   float64    // calls, over about counted
	counted time.Duration
	at      time.Time // when asked was last brought up to date

	left   float64   // sends until resets
	resets time.Time // zero: nothing was told
	limit  float64   // 0: not known
	heard  time.Time // when the request left whose answer was the last to count

	spread bool
	gap    time.Duration // between two sends, on average
	least  time.Duration // that the policy itself allows on average; 0: not known
	next   time.Time     // nothing leaves before
}

// NewAllowance returns an allowance that nothing was told to. Of opts only Rand counts.
func NewAllowance(opts Options) *Allowance {
	if opts.Rand == nil {
		opts.Rand = random.New(0).Float64
	}
	return &Allowance{rand: opts.Rand, counted: leastCounted}
}

// Ask counts a call that is asked for, once a call.
func (a *Allowance) Ask() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.decay(time.Now())
	a.asked++
}

// Tell takes over the quota in the answer to a request that left at sent. An answer to an earlier request
// than the last one's is out of date. Only a quota that [hint.Quota.Paces] should be told.
func (a *Allowance) Tell(q hint.Quota, sent time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if sent.Before(a.heard) {
		return
	}
	now := time.Now()
	a.heard = sent
	a.left, a.resets = float64(q.Remaining), now.Add(min(q.Reset, 24*time.Hour))
	a.limit, a.least = 0, 0
	over := q.Reset
	if q.LimitKnown {
		a.limit = float64(q.Limit)
	}
	if q.Window > 0 {
		over = q.Window
		if q.LimitKnown {
			a.least = q.Window / time.Duration(max(1, min(q.Limit, int64(q.Window))))
		}
	}
	a.decay(now)
	over = min(max(over, leastCounted), mostCounted)
	a.asked *= over.Seconds() / a.counted.Seconds() // the rate is the same
	a.counted = over
	if a.spread { // at another rate from now on, in a new phase if that is sooner
		a.gap = a.fairGap(now)
		if sooner := now.Add(a.draw()); sooner.Before(a.next) {
			a.next = sooner
		}
	}
}

// Take lets one call through, or says when to try again. Waiting is how many calls wait beside the one
// that asks: calls that were spread leave at the same pace when there is more again, without a
// burst.
func (a *Allowance) Take(waiting int) (retryAt time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	short := a.short(now)
	switch {
	case !a.spread && short:
		a.spread, a.gap = true, a.fairGap(now)
		a.next = now.Add(time.Duration(a.rand() * float64(a.gap)))
	case a.spread && !short && (waiting == 0 || now.Sub(a.resets) > idleTime):
		a.spread = false
	}
	if a.spread {
		if now.Before(a.next) {
			return a.next, false
		}
		if now.Before(a.resets) {
			a.gap = a.fairGap(now)
		}
		a.next = now.Add(a.draw())
	}
	a.left = max(0, a.left-1)
	return time.Time{}, true
}

// Untake gives back a call that [Allowance.Take] let through and that was never sent.
func (a *Allowance) Untake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left++
	if a.spread {
		a.next = time.Now()
	}
}

// Rate is how many calls a second leave; 0: as many as want.
func (a *Allowance) Rate() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.spread {
		return 0
	}
	return 1 / a.gap.Seconds()
}

// short reports whether the client is about to run out. While more than a quarter of the limit is left it
// isn't: such fast use may have been a burst.
func (a *Allowance) short(now time.Time) bool {
	if !now.Before(a.resets) || a.left > a.limit/4 && a.limit > 0 {
		return false
	}
	a.decay(now)
	perSecond := a.asked / a.counted.Seconds()
	return perSecond*a.resets.Sub(now).Seconds() > needed*a.left
}

// fairGap spreads the rest. That may suggest a rate far above the policy's average
// (draft-ietf-httpapi-ratelimit-headers-10, Security Considerations), which is then the bound.
func (a *Allowance) fairGap(now time.Time) time.Duration {
	gap := time.Duration(float64(a.resets.Sub(now)) / max(1, a.left))
	return min(max(gap, a.least, time.Microsecond), longestGap)
}

// draw is a gap at random, so that no two clients are in step.
func (a *Allowance) draw() time.Duration {
	return time.Duration((0.5 + a.rand()) * float64(a.gap))
}

func (a *Allowance) decay(now time.Time) {
	if elapsed := now.Sub(a.at); elapsed > 0 {
		a.asked *= math.Exp(-elapsed.Seconds() / a.counted.Seconds())
		a.at = now
	}
}
