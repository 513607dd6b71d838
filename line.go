package tether

import (
	"github.com/tether-go/tether/criticality"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// maxWaiting bounds the calls that wait in one line: beyond it a call is refused, so that a fault
// costs memory in proportion to this figure and not to its length.
const maxWaiting = 2000

// line keeps calls that wait at one place: the more critical first, and among equals in the order in
// which they were asked for. Only one of them, whose turn it is, tries to go on; the others sleep until
// it has left. It is safe for concurrent use.
//
// Among the most critical it is the oldest's turn as long as all of them can be served in time. When they
// can't, serving the oldest first would make everybody late: then it is the newest's, who still has time.
type line struct {
	length  atomic.Int32 // of waiting, for a look without the lock
	mu      sync.Mutex   // guards what follows
	waiting []*waiter
	rate    float64 // calls a second that the place lets through; 0: as many as want
}

// waiter is a call in a line.
type waiter struct {
	wake      chan struct{} // holds one wake-up
	class     criticality.Level
	order     uint64    // of the call: a repeated one keeps its place
	until     time.Time // when going on is of no use any more
	displaced bool      // by a more critical one; guarded by the line
}

// before tells whether w stands before a call of that class and order.
func (w *waiter) before(class criticality.Level, order uint64) bool {
	return w.class > class || w.class == class && w.order <= order
}

// enter takes a place among the waiting, or reports that the line is full. In a full line the last gives
// way if it is less critical.
func (l *line) enter(class criticality.Level, order uint64, until time.Time) (*waiter, bool) {
	w := &waiter{wake: make(chan struct{}, 1), class: class, order: order, until: until}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		last := l.waiting[len(l.waiting)-1]
		if last.class >= class {
			return nil, false
		}
		last.displaced = true
		last.call()
		l.waiting = slices.Delete(l.waiting, len(l.waiting)-1, len(l.waiting))
	}
	at := len(l.waiting)
	for at > 0 && !l.waiting[at-1].before(class, order) {
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
// wait beside it; or that w has lost its place.
func (l *line) turn(w *waiter, rate float64) (turn bool, others int, displaced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
	if w.displaced {
		return false, 0, true
	}
	next := l.next()
	if next != w {
		next.call() // a change of the rate may have made it another's turn
	}
	return next == w, len(l.waiting) - 1, false
}

// ahead is how many wait that are at least that critical.
func (l *line) ahead(class criticality.Level) int {
	if l.length.Load() == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.upTo(class)
}

// upTo is how many wait that are at least that critical. The line is locked.
func (l *line) upTo(class criticality.Level) int {
	return sort.Search(len(l.waiting), func(i int) bool { return l.waiting[i].class < class })
}

// next is the one whose turn it is, or nil. The line is locked.
func (l *line) next() *waiter {
	if len(l.waiting) == 0 {
		return nil
	}
	most := l.upTo(l.waiting[0].class)
	newest := l.waiting[most-1]
	if l.rate > 0 {
		all := time.Duration(float64(most) / l.rate * float64(time.Second))
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
