// Package queue orders the calls that wait at one place: the most critical first.
package queue

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/criticality"
)

// maxWaiting bounds the calls in one queue. A further call is refused, so that a fault costs memory in proportion to
// this figure and not to its length.
const maxWaiting = 2000

// Queue keeps waiting calls: the more critical first, and among equals in the order in which they were asked for.
// Only the call whose turn it is tries to go on; the others sleep until it has left. The zero value is ready. It is
// safe for concurrent use.
//
// Among the most critical the oldest has its turn as long as all of them can be served in time. If they can't, serving
// the oldest first would make every call late: then the newest has its turn, because it still has time.
type Queue struct {
	length  atomic.Int32 // calls that wait, for a look without the lock
	mu      sync.Mutex   // guards what follows
	waiting []*Waiter
	rate    float64 // calls a second that the place lets through; 0: unlimited
}

// Len is how many calls wait.
func (q *Queue) Len() int { return int(q.length.Load()) }

// Waiter is a call in a queue.
type Waiter struct {
	wake      chan struct{} // holds one wake-up
	level     criticality.Level
	order     uint64    // of the call: a repeated one keeps its place
	until     time.Time // when going on stops being of use
	displaced bool      // by a more critical call; guarded by the queue
}

// Woken receives when the call is to look again.
func (w *Waiter) Woken() <-chan struct{} { return w.wake }

// before tells whether w stands before a call of that level and order.
func (w *Waiter) before(level criticality.Level, order uint64) bool {
	return w.level > level || w.level == level && w.order <= order
}

// Enter takes a place in the queue, or reports that the queue is full. In a full queue the last call loses its place if
// it is less critical.
func (q *Queue) Enter(level criticality.Level, order uint64, until time.Time) (*Waiter, bool) {
	w := &Waiter{wake: make(chan struct{}, 1), level: level, order: order, until: until}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxWaiting {
		last := q.waiting[len(q.waiting)-1]
		if last.level >= level {
			return nil, false
		}
		last.displaced = true
		last.call()
		q.waiting = slices.Delete(q.waiting, len(q.waiting)-1, len(q.waiting))
	}
	at := len(q.waiting)
	for at > 0 && !q.waiting[at-1].before(level, order) {
		at--
	}
	q.waiting = slices.Insert(q.waiting, at, w)
	q.length.Store(int32(len(q.waiting)))
	return w, true
}

// Leave gives the place up and lets the next call try.
func (q *Queue) Leave(w *Waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at := slices.Index(q.waiting, w); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
	}
	q.length.Store(int32(len(q.waiting)))
	q.next().call()
}

// Turn tells whether it is w's turn at a place that lets rate calls a second through, and how many calls wait beside
// it; or that w has lost its place.
func (q *Queue) Turn(w *Waiter, rate float64) (turn bool, others int, displaced bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rate = rate
	if w.displaced {
		return false, 0, true
	}
	next := q.next()
	if next != w {
		next.call() // a change of the rate may have made it another call's turn
	}
	return next == w, len(q.waiting) - 1, false
}

// Ahead is how many calls wait that are at least that critical.
func (q *Queue) Ahead(level criticality.Level) int {
	if q.length.Load() == 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.upTo(level)
}

// upTo is how many calls wait that are at least that critical. The queue is locked.
func (q *Queue) upTo(level criticality.Level) int {
	return sort.Search(len(q.waiting), func(i int) bool { return q.waiting[i].level < level })
}

// next is the call whose turn it is, or nil. The queue is locked.
func (q *Queue) next() *Waiter {
	if len(q.waiting) == 0 {
		return nil
	}
	most := q.upTo(q.waiting[0].level)
	newest := q.waiting[most-1]
	if q.rate > 0 {
		all := time.Duration(float64(most) / q.rate * float64(time.Second))
		if all > time.Until(newest.until) {
			return newest
		}
	}
	return q.waiting[0]
}

// WakeNext lets the call whose turn it is try again. Call it when something has changed for the better.
func (q *Queue) WakeNext() {
	if q.length.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next().call()
}

// WakeAll lets every call look again. Call it when something has changed for the worse.
func (q *Queue) WakeAll() {
	if q.length.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.waiting {
		w.call()
	}
}

func (w *Waiter) call() {
	if w == nil {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is there already
	}
}
