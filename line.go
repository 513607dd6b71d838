package tether

import (
	"slices"
	"sync"
	"sync/atomic"
)

// maxWaiting bounds the calls that wait in one line: beyond it a call is refused, so that a fault
// costs memory in proportion to this figure and not to its length.
const maxWaiting = 1000

// line keeps calls that wait at one place in the order in which they were asked for. Only the first
// tries to go on; the others sleep until it has left. It is safe for concurrent use.
type line struct {
	length  atomic.Int32 // of waiting, for a look without the lock
	mu      sync.Mutex   // guards waiting
	waiting []*waiter
}

// waiter is a call in a line.
type waiter struct {
	wake  chan struct{} // holds one wake-up
	order uint64        // of the call: a repeated one keeps its place
}

// enter takes a place in the order of arrival, or reports that the line is full.
func (l *line) enter(order uint64) (*waiter, bool) {
	w := &waiter{wake: make(chan struct{}, 1), order: order}
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

// leave gives the place up and lets the first of those who remain try.
func (l *line) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.waiting, w); at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	}
	l.length.Store(int32(len(l.waiting)))
	if len(l.waiting) > 0 {
		l.waiting[0].call()
	}
}

// first tells whether it is w's turn, and how many wait behind it.
func (l *line) first(w *waiter) (turn bool, behind int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) > 0 && l.waiting[0] == w, len(l.waiting) - 1
}

// wakeFirst lets the first try again: something has changed for the better.
func (l *line) wakeFirst() {
	if l.length.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) > 0 {
		l.waiting[0].call()
	}
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
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is there already
	}
}
