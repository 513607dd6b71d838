package flags

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// verdict is what a call says about its path.
type verdict uint8

const (
	ignored verdict = iota // nothing: the caller cancelled, or its goroutine ended
	good
	bad
)

// PanicError is the panic of a new path that the old path answered for.
type PanicError struct{ Value any }

// Error has the value that the new path panicked with.
func (e *PanicError) Error() string { return fmt.Sprintf("flags: the new path panicked: %v", e.Value) }

// measure runs one path and settles its ticket exactly once, however it ends. A panic is handed on unless
// the old path answers for it.
func (g *Guard) measure(ctx context.Context, t ticket,
	path func(context.Context) error) (failed bool, err error) {
	start := time.Now()
	result := ignored
	defer func() {
		value := recover()
		if value != nil {
			result, failed, err = bad, true, &PanicError{value}
		}
		g.settle(t, result, err, time.Since(start))
		if value != nil && !(t.fresh && g.options.FallBack) {
			panic(value)
		}
	}()
	within := ctx
	if t.fresh && g.options.Timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, g.options.Timeout)
		defer cancel()
	}
	err = path(within)
	result = g.judge(ctx, err)
	return result == bad, err
}

// judge: a caller who lost interest says nothing, but one whose deadline passed does.
func (g *Guard) judge(ctx context.Context, err error) verdict {
	switch {
	case err == nil:
		return good
	case errors.Is(ctx.Err(), context.Canceled):
		return ignored
	case g.options.Failed != nil && !g.options.Failed(err):
		return good
	}
	return bad
}

func (g *Guard) settle(t ticket, result verdict, err error, took time.Duration) {
	off := g.learn(t, result, err, took)
	g.store.Current().tally.settled(g.key, t.fresh, result)
	g.events.Deliver()
	if off != nil && g.store.off != nil {
		g.store.off(*off)
	}
}

// learn returns the event of a flag that is turned off.
func (g *Guard) learn(t ticket, result verdict, err error, took time.Duration) (off *GuardEvent) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status.count(t.fresh, result)
	if t.epoch != g.epoch {
		return nil
	}
	if t.probe {
		g.probed(result, err, now)
		return nil
	}
	if result == ignored {
		return nil
	}
	g.window.add(t, result, took, now)
	if !t.fresh || g.state != guardOn {
		return nil
	}
	fresh, old := g.window.sums()
	if !worse(t.policy, fresh, old) {
		return nil
	}
	g.enter(guardOff, now)
	off = &GuardEvent{Key: g.key, Kind: TurnedOff, New: fresh.counts, Old: old.counts}
	g.events.Push(*off)
	return off
}

// probed takes the result of a probe. It is called with the lock held.
func (g *Guard) probed(result verdict, err error, now time.Time) {
	g.probing = false
	switch result {
	case bad:
		g.enter(guardOff, now)
		g.events.Push(GuardEvent{Key: g.key, Kind: StaysOff, Err: err})
	case good:
		if g.succeeded++; g.succeeded >= reentry {
			g.enter(guardOn, now)
			g.events.Push(GuardEvent{Key: g.key, Kind: TurnedOn})
		}
	}
}

func (s *GuardStatus) count(fresh bool, result verdict) {
	counts := &s.Old
	if fresh {
		counts = &s.New
	}
	counts.add(result)
}

func (c *GuardCounts) add(result verdict) {
	if result != ignored {
		c.Calls++
	}
	if result == bad {
		c.Failures++
	}
}
