package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/internal/random"
)

// ErrLimited means that this client's own limit of calls a second is reached. No server said so.
var ErrLimited = errors.New("ratelimit: limited: our own limit of calls a second is reached")

const (
	leastPerSecond = 0.0001 // about a call in three hours: less is better said by a kill switch
	mostPerSecond  = 1_000_000
	mostBurst      = 1_000_000
)

// LimitPolicy says how many calls a [Limiter] lets through. It is plain data: the zero value sets no
// limit.
type LimitPolicy struct {
	// PerSecond is how many calls a second may leave in the long run. From 0.0001 to 1,000,000. Default
	// 0: any number.
	PerSecond float64
	// Burst is how many calls may leave at once after a time of fewer. From 1 to 1,000,000. Default 0:
	// the calls that PerSecond allows in a second, at least 1.
	Burst int
}

// WithDefaults returns the policy with every zero field replaced by its default.
func (p LimitPolicy) WithDefaults() LimitPolicy {
	if p.Burst == 0 {
		p.Burst = int(math.Ceil(min(max(p.PerSecond, 1), mostBurst)))
	}
	return p
}

// Validate lists every field that cannot mean anything.
func (p LimitPolicy) Validate() error {
	var problems []error
	if p.PerSecond != 0 && !(p.PerSecond >= leastPerSecond && p.PerSecond <= mostPerSecond) { // NaN too
		problems = append(problems, fmt.Errorf("ratelimit: PerSecond is %v, must be 0 or from %v to %d",
			p.PerSecond, leastPerSecond, mostPerSecond))
	}
	if p.Burst < 0 || p.Burst > mostBurst {
		problems = append(problems, fmt.Errorf("ratelimit: Burst is %d, must be from 0 to %d", p.Burst, mostBurst))
	}
	return errors.Join(problems...)
}

// LimiterOptions are the settings of a [Limiter] that only code can make.
type LimiterOptions struct {
	// Rand yields uniform numbers in [0, 1) and is safe for concurrent use. Default: a source of the
	// limiter's own, seeded by the operating system.
	Rand func() float64
}

// Limiter is a token bucket: a limit of calls a second that the client sets itself, whatever servers
// say. Use [NewLimiter].
//
// It starts with one call and no burst, and owes up to one more at random: clients that start together
// send one call each, not a burst each, and go on in random phase.
//
// It is safe for concurrent use. It starts no goroutine and needs no closing.
type Limiter struct {
	rand  func() float64
	on    atomic.Bool // there is a limit, for a look without the lock
	queue queue

	mu      sync.Mutex // guards all fields below
	policy  LimitPolicy
	tokens  float64 // calls that may leave now; under 0: owed
	at      time.Time
	phase   float64       // debt that the first call of a new limit leaves
	changed chan struct{} // closed when the policy changes
}

// NewLimiter returns a limiter. The error names every field of the policy that is impossible.
func NewLimiter(policy LimitPolicy, opts LimiterOptions) (*Limiter, error) {
	if opts.Rand == nil {
		opts.Rand = random.New(0).Float64
	}
	l := &Limiter{rand: opts.Rand, queue: newQueue(), changed: make(chan struct{})}
	if err := l.SetPolicy(policy); err != nil {
		return nil, err
	}
	return l, nil
}

// SetPolicy changes the policy. Saved calls keep their part of a smaller Burst and gain nothing by a
// larger one; a debt stays. A limit where there was none starts as a new one.
func (l *Limiter) SetPolicy(policy LimitPolicy) error {
	if err := policy.Validate(); err != nil {
		return err
	}
	policy = policy.WithDefaults()
	var phase float64
	if policy.PerSecond > 0 {
		phase = l.rand() // not under the lock: it is the caller's function
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if policy == l.policy {
		return nil
	}
	now := time.Now()
	switch {
	case l.policy.PerSecond == 0:
		l.tokens, l.phase, l.at = 1, phase, now
	default:
		l.earn(now)
		if part := float64(policy.Burst) / float64(l.policy.Burst); l.tokens > 0 && part < 1 {
			l.tokens *= part
		}
	}
	l.policy = policy
	l.on.Store(policy.PerSecond > 0)
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

// On tells whether there is a limit. Where there is none Take lets every call through.
func (l *Limiter) On() bool { return l.on.Load() }

// Take lets one call through, or returns [ErrLimited] and when the next may leave. It never waits, and
// overtakes callers that do.
func (l *Limiter) Take() (retryAt time.Time, err error) {
	if !l.on.Load() {
		return time.Time{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.policy.PerSecond == 0 {
		return time.Time{}, nil
	}
	now := time.Now()
	if l.earn(now); l.tokens < 1 {
		return l.ready(now, 1), ErrLimited
	}
	l.tokens -= 1 + l.phase
	l.phase = 0
	return time.Time{}, nil
}

// Untake gives back a call that [Limiter.Take] let through and that was never sent.
func (l *Limiter) Untake() {
	if !l.on.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = min(l.tokens+1, float64(l.policy.Burst))
}

// ReadyAt is when a call may leave that so many others are ahead of; zero: now.
func (l *Limiter) ReadyAt(ahead int) (t time.Time) {
	if !l.on.Load() {
		return t
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.policy.PerSecond == 0 {
		return t
	}
	if l.earn(now); l.tokens >= float64(ahead+1) {
		return t
	}
	return l.ready(now, ahead+1)
}

// Wait waits until a call may leave, in the order of arrival. It returns the context's error when that
// ends before, and ErrLimited at once where the context's deadline would come first or a thousand
// callers wait already.
func (l *Limiter) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil || !l.on.Load() {
		return err
	}
	ahead, ok := l.queue.enter()
	if !ok {
		return ErrLimited
	}
	defer l.queue.leave()
	if deadline, ok := ctx.Deadline(); ok && l.ReadyAt(ahead).After(deadline) {
		return ErrLimited
	}
	if err := l.queue.await(ctx); err != nil {
		return err
	}
	defer l.queue.done()
	for {
		changed := l.change()
		retryAt, err := l.Take()
		if err == nil {
			return nil
		}
		timer := time.NewTimer(time.Until(retryAt))
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

func (l *Limiter) change() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// earn brings tokens up to now.
func (l *Limiter) earn(now time.Time) {
	if elapsed := now.Sub(l.at).Seconds(); elapsed > 0 {
		l.tokens = min(l.tokens+elapsed*l.policy.PerSecond, float64(l.policy.Burst))
		l.at = now
	}
}

// ready is when there will be so many tokens. A nanosecond more, so that rounding can't wake anybody
// just too early.
func (l *Limiter) ready(now time.Time, tokens int) time.Time {
	return now.Add(time.Duration((float64(tokens)-l.tokens)/l.policy.PerSecond*1e9) + 1)
}
