package tether

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxWaiting bounds the calls that wait in one line: beyond it a call is refused, so that a fault
// costs memory in proportion to this figure and not to its length.
const maxWaiting = 2000

// line keeps calls that wait at one place, in the order in which they were asked for. Only one of them,
// whose turn it is, tries to go on; the others sleep until it has left. It is safe for concurrent use.
//
// It is the oldest's turn as long as all who wait can be served in time. When they can't, serving the
// oldest first would make everybody late: then it is the newest's, who still has time.
type line struct {
	length  atomic.Int32 // of waiting, for a look without the lock
	mu      sync.Mutex   // guards what follows
	waiting []*waiter
	rate    float64 // calls a second that the place lets through; 0: as many as want
}

// waiter is a call in a line.
type waiter struct {
	wake  chan struct{} // holds one wake-up
	order uint64        // of the call: a repeated one keeps its place
	until time.Time     // when going on is of no use any more
}

// enter takes a place in the order of arrival, or reports that the line is full.
func (l *line) enter(order uint64, until time.Time) (*waiter, bool) {
	w := &waiter{wake: make(chan struct{}, 1), order: order, until: until}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		return nil, false
	}
	at := len(l.waiting)
	for at > 0 && l.waiting[at-1].order > order {
		at--
	}
	l.waiting = slices.Insert(l.waiting, at, w)
	l.length.Store(int32(len(l.waiting)))
	return w, true
}

// leave gives the place up and lets the next one try.
func (l *line) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.waiting, w); at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	}
	l.length.Store(int32(len(l.waiting)))
	l.next().call()
}

// turn tells whether it is w's turn at a place that lets rate calls a second through, and how many
// wait beside it.
func (l *line) turn(w *waiter, rate float64) (turn bool, others int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
	next := l.next()
	if next != w {
		next.call() // a change of the rate may have made it another's turn
	}
	return next == w, len(l.waiting) - 1
}

// next is the one whose turn it is, or nil. The line is locked.
func (l *line) next() *waiter {
	if len(l.waiting) == 0 {
		return nil
	}
	newest := l.waiting[len(l.waiting)-1]
	if l.rate > 0 {
		all := time.Duration(float64(len(l.waiting)) / l.rate * float64(time.Second))
		if all > time.Until(newest.until) {
			return newest
		}
	}
	return l.waiting[0]
}

// wakeNext lets the one whose turn it is try again: something has changed for the better.
func (l *line) wakeNext() {
	if l.length.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next().call()
}

// wakeAll lets everybody think again: something has changed for the worse.
func (l *line) wakeAll() {
	if l.length.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.waiting {
		w.call()
	}
}

func (w *waiter) call() {
	if w == nil {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is there already
	}
}
