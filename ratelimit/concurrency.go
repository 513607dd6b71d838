package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// ErrBusy means that as many calls are under way as this client's own limit allows. No server said so.
var ErrBusy = errors.New("ratelimit: busy: as many calls are under way as our own limit allows")

const (
	mostConcurrent = 10_000
	// forgottenEvery is how often the first caller in line looks for forgotten slots.
	forgottenEvery = time.Second
)

// ConcurrencyPolicy says how many calls a [Concurrency] has under way at most. It is plain data: the
// zero value sets no limit.
type ConcurrencyPolicy struct {
	// Max is the most calls under way at once. From 1 to 10,000. Default 0: any number.
	Max int
	// Adaptive lets the limit fall below Max while calls are lost for overload, as far as the answers say,
	// for clients of at least a call a second; see [Concurrency.Answered]. With Max 0 it then starts at 10,000.
	// Default false: the limit is Max.
	Adaptive bool
}

// most is the highest limit; 0: none.
func (p ConcurrencyPolicy) most() int {
	if p.Adaptive && p.Max == 0 {
		return mostConcurrent
	}
	return p.Max
}

// Validate returns an error for a field whose value is impossible.
func (p ConcurrencyPolicy) Validate() error {
	if p.Max < 0 || p.Max > mostConcurrent {
		return fmt.Errorf("ratelimit: Max is %d, must be from 0 to %d", p.Max, mostConcurrent)
	}
	return nil
}

// Concurrency is a limit of calls under way at once, which the client sets itself. A call has a [Slot]
// until it ends, its body included. Calls that began while there was no limit aren't counted.
//
// If a caller forgets its slot, so that it can't be released any more, the slot is free again when the
// garbage collector has found that out; a stream that is still held keeps its slot however quiet it is.
//
// It is safe for concurrent use. It starts no goroutine and needs no closing.
type Concurrency struct {
	on     atomic.Bool // there is a limit, for a look without the lock
	adapts atomic.Bool // and it learns
	queue  queue
	freed  chan struct{} // holds one wake-up, for whose turn it is

	mu       sync.Mutex // guards all fields below
	policy   ConcurrencyPolicy
	adaptive adaptive
	taken    []weak.Pointer[Slot] // weak: a forgotten slot lapses
}

// Slot is the place of one call under way. The nil Slot is that of a call that isn't counted. It is
// safe for concurrent use.
type Slot struct {
	of    *Concurrency
	index int // in of.taken, guarded by of.mu; -1: released
}

// NewConcurrency returns a limit with no call under way, or an error for an impossible policy.
func NewConcurrency(policy ConcurrencyPolicy) (*Concurrency, error) {
	c := &Concurrency{queue: newQueue(), freed: make(chan struct{}, 1)}
	if err := c.SetPolicy(policy); err != nil {
		return nil, err
	}
	return c, nil
}

// SetPolicy changes the policy. Calls under way stay so: below a smaller Max none begins until enough
// have ended. The learnt value of an adaptive limit stays, below the new Max, while another mode is set too.
func (c *Concurrency) SetPolicy(policy ConcurrencyPolicy) error {
	if err := policy.Validate(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policy = policy
	if policy.Adaptive {
		a, most := &c.adaptive, float64(policy.most())
		if a.trouble.IsZero() || a.limit > most {
			a.limit = most
		}
	}
	c.on.Store(policy.most() > 0)
	c.adapts.Store(policy.Adaptive)
	c.wake()
	return nil
}

// On tells whether there is a limit. Where there is none Take lets every call through.
func (c *Concurrency) On() bool { return c.on.Load() }

// Take gives a call its slot, or returns [ErrBusy]. It never waits, and overtakes callers that do.
func (c *Concurrency) Take() (*Slot, error) {
	if !c.on.Load() {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	most := c.limit()
	if most == 0 {
		return nil, nil
	}
	if len(c.taken) >= most {
		c.dropForgotten()
		if c.policy.Adaptive {
			c.adaptive.outlived(time.Now(), c.policy.most(), len(c.taken))
			most = c.limit()
		}
	}
	if len(c.taken) >= most {
		return nil, ErrBusy
	}
	c.adaptive.peak = max(c.adaptive.peak, len(c.taken)+1)
	s := &Slot{of: c, index: len(c.taken)}
	c.taken = append(c.taken, weak.Make(s))
	return s, nil
}

// Acquire waits for a slot, in the order of arrival. It returns the context's error when that ends
// before, and ErrBusy at once where a thousand callers wait already.
func (c *Concurrency) Acquire(ctx context.Context) (*Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, ok := c.queue.enter(); !ok {
		return nil, ErrBusy
	}
	defer c.queue.leave()
	if err := c.queue.await(ctx); err != nil {
		return nil, err
	}
	defer c.queue.done()
	for {
		s, err := c.Take()
		if err == nil {
			return s, nil
		}
		timer := time.NewTimer(forgottenEvery)
		select {
		case <-timer.C:
		case <-c.freed:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		timer.Stop()
	}
}

// Release says that the call has ended. The first time counts.
func (s *Slot) Release() {
	if s == nil {
		return
	}
	c := s.of
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.index < 0 {
		return
	}
	last := len(c.taken) - 1
	c.move(last, s.index)
	c.taken = c.taken[:last]
	s.index = -1
	c.wake()
}

// Status tells how many calls are under way, and how many may be; 0: any number, and none is counted
// that begins then.
func (c *Concurrency) Status() (taken, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.taken), c.limit()
}

// limit is the limit now; 0: none.
func (c *Concurrency) limit() int {
	if c.policy.Adaptive {
		return int(c.adaptive.limit)
	}
	return c.policy.Max
}

// move puts the slot at one index to another.
func (c *Concurrency) move(from, to int) {
	c.taken[to] = c.taken[from]
	if moved := c.taken[to].Value(); moved != nil {
		moved.index = to
	}
}

// dropForgotten frees the slots that no caller holds any more.
func (c *Concurrency) dropForgotten() {
	kept := 0
	for i := range c.taken {
		if c.taken[i].Value() != nil {
			c.move(i, kept)
			kept++
		}
	}
	c.taken = slices.Delete(c.taken, kept, len(c.taken))
}

func (c *Concurrency) wake() {
	select {
	case c.freed <- struct{}{}:
	default: // a wake-up is there already
	}
}
