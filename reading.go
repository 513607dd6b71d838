package tether

import "time"

// reading is the clock as it was read once. Later times are reckoned from it by time.Since, which costs half of
// what time.Now does, because that reads the wall clock too.
type reading struct {
	at    time.Time
	since time.Duration // the engine was made
}

// readAgain is the time within which a step of the wall clock is noticed.
const readAgain = time.Second

// clock returns a reading and how long ago the engine was made.
func (e *Engine) clock() (*reading, time.Duration) {
	r := e.reading.Load()
	if passed := time.Since(r.at); passed < readAgain {
		return r, r.since + passed
	}
	now := time.Now()
	next := &reading{now, now.Sub(e.born)}
	e.reading.Store(next)
	return next, next.since
}

// time is the time at which the engine had been made that long ago.
func (r *reading) time(since time.Duration) time.Time { return r.at.Add(since - r.since) }
