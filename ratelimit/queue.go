package ratelimit

import (
	"context"
	"sync/atomic"
)

// maxWaiting bounds the calls that wait for one limit: a fault costs memory in proportion to this
// figure and not to its length.
const maxWaiting = 1000

// queue lets one caller at a time try, in the order of arrival. It is safe for concurrent use.
type queue struct {
	turn    chan struct{} // filled by whose turn it is; Go serves senders in their order
	waiting atomic.Int32
}

func newQueue() queue { return queue{turn: make(chan struct{}, 1)} }

// enter returns how many callers are ahead, or reports that the queue is full. A caller that has entered
// must leave.
func (q *queue) enter() (ahead int, ok bool) {
	n := q.waiting.Add(1)
	if n > maxWaiting {
		q.waiting.Add(-1)
		return 0, false
	}
	return int(n) - 1, true
}

func (q *queue) leave() { q.waiting.Add(-1) }

// await waits for the caller's turn, which ends with done.
func (q *queue) await(ctx context.Context) error {
	select {
	case q.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *queue) done() { <-q.turn }
