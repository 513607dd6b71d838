package remoteconfig

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// hintSpread is how far the fetches of clients that were told in the same moment are apart. A
	// million of them are then 100,000 a second for ten seconds, and a push is still there at once
	// by a person's measure.
	hintSpread = 10 * time.Second
	// watchGap is the shortest time between two watches. The usual one is an interval's draw.
	watchGap = time.Second
)

var errWatchEnded = errors.New("remoteconfig: the watch ended")

// Notifier is a [Source] that can tell when its document may have changed. What it tells is a hint,
// never the document: that is fetched as usual, and polls go on at the interval.
type Notifier interface {
	Source
	// Watch calls changed once its watch stands, since what came before was not watched, and then
	// after each change, deletion and doubt; too often is harmless. It returns an error when the
	// watch breaks, and soon after ctx ends; it need not try again by itself. changed never blocks
	// and is safe for concurrent use. A [Watcher] calls Watch and Fetch at the same time, neither
	// twice at once.
	Watch(ctx context.Context, changed func()) error
}

// watch keeps a watch up until ctx ends. One that breaks is set up again at a random moment of the
// interval, however often it breaks: a store that restarts sees its clients come back at the rate of
// their polls. More often than that would be an attack by a million, and polls cover the gap.
func (w *Watcher) watch(ctx context.Context, source Notifier) {
	for ctx.Err() == nil {
		err := watchOnce(ctx, source, w.hint)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		w.watchFared(err)
		wait := max(between(0, w.intervalNow(), w.draw()), watchGap)
		w.mu.Unlock()
		w.events.Deliver()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func watchOnce(ctx context.Context, source Notifier, changed func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("remoteconfig: the source panicked: %v", v)
		}
	}()
	if err := source.Watch(ctx, changed); err != nil {
		return err
	}
	return errWatchEnded
}

// watchFared tells when the watch breaks, for each reason once, and when it stands again. It is
// called with the lock held.
func (w *Watcher) watchFared(err error) {
	old := w.watchErr
	w.watchErr = err
	if (old == nil) != (err == nil) || err != nil && old.Error() != err.Error() {
		w.push(Event{Kind: EventWatch, Err: err})
	}
}

// hint is told that the document may have changed: Run fetches once for all hints until then. Not
// before the first attempt, which is at random, nor within a silence that a server asked for. Hints
// that bring nothing new count for less each time, down to one fetch an interval: a store that
// flaps must not turn its clients into a flood.
func (w *Watcher) hint() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watchFared(nil)
	if !w.told.IsZero() || w.plan.Attempt.IsZero() {
		return
	}
	interval := w.intervalNow()
	spread := min(hintSpread, interval)
	gap := min(spread<<min(max(w.idle-1, 0), 16), interval) // 16: 10 s doubled is over 24 h by then
	w.told = later(time.Now(), w.hinted.Add(gap), w.plan.Hold).Add(between(0, spread, w.draw()))
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// due returns when the next poll is. It is called with the lock held.
func (w *Watcher) due() time.Time {
	next := w.plan.Next
	for _, early := range [...]time.Time{w.told, w.nudge} {
		if !early.IsZero() && early.Before(next) {
			next = early
		}
	}
	return next
}

// schedule plans the next poll. One that a hint or a nudge brought forward leaves the plan as it was, unless the
// interval is shorter now: everybody is told in the same moment, and must not poll in step from then
// on. It is called with the lock held.
func (w *Watcher) schedule(next time.Time) {
	if !w.early {
		w.plan.Next = next
		return
	}
	now, interval := time.Now(), w.intervalNow()
	if w.plan.Next.After(now.Add(interval * 11 / 10)) {
		w.plan.Next = now.Add(phase(interval, w.draw(), w.draw()))
	}
}
