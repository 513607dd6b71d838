// Package eventqueue hands events to one listener in order, outside every lock, without a goroutine
// of its own.
//
// Events are pushed while the pusher holds whatever lock orders them; later, with no lock held, the
// pusher calls Deliver. Whoever finds nobody delivering delivers all there is; the others go on at
// once. So a listener may call back into the code that pushed, and a slow one holds up one call:
// for as long as events come faster than it takes them.
package eventqueue

import "sync"

// Queue is a bounded queue of events for one listener. The zero value drops everything; use New.
// It is safe for concurrent use.
type Queue[T any] struct {
	listen func(T)
	limit  int

	mu         sync.Mutex // guards what follows
	pending    []T
	delivering bool
	dropped    uint64
}

// New returns a queue of at most limit undelivered events; a limit below 1 means 1. A nil listener
// makes every method a no-op.
func New[T any](limit int, listen func(T)) *Queue[T] {
	return &Queue[T]{listen: listen, limit: max(limit, 1)}
}

// Enabled tells whether anybody listens, so that events nobody wants need not be built.
func (q *Queue[T]) Enabled() bool { return q != nil && q.listen != nil }

// Push appends an event. When the queue is full, the oldest makes room and is counted as dropped:
// a listener that fell behind still learns how things stand now. Push never blocks on the listener.
func (q *Queue[T]) Push(event T) {
	if !q.Enabled() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) >= q.limit {
		q.dropped++
		q.shift()
	}
	q.pending = append(q.pending, event)
}

// Dropped returns how many events found the queue full.
func (q *Queue[T]) Dropped() uint64 {
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Deliver hands pending events to the listener unless another call is doing so. Call it with no
// lock held. A listener that panics loses that event and no other.
func (q *Queue[T]) Deliver() {
	if !q.Enabled() {
		return
	}
	for {
		event, ok := q.next()
		if !ok {
			return
		}
		q.hand(event)
	}
}

// next takes the delivering role and the oldest event, or gives the role back when nothing is left.
func (q *Queue[T]) next() (event T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.delivering || len(q.pending) == 0 {
		return event, false
	}
	q.delivering = true
	return q.shift(), true
}

// shift takes the oldest event off the queue. It is called with the lock held.
func (q *Queue[T]) shift() T {
	event := q.pending[0]
	var none T
	q.pending[0] = none // let go of what the event points to
	q.pending = q.pending[1:]
	return event
}

// hand calls the listener. However that ends, runtime.Goexit included, the role is given back.
func (q *Queue[T]) hand(event T) {
	defer func() {
		_ = recover()
		q.mu.Lock()
		q.delivering = false
		q.mu.Unlock()
	}()
	q.listen(event)
}
