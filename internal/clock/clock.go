// Package clock tells the time to an engine's calls at half of what time.Now costs.
package clock

import (
	"sync/atomic"
	"time"
)

// Moment is a time since the engine was made.
type Moment time.Duration

// Since is the time from an earlier moment to m.
func (m Moment) Since(earlier Moment) time.Duration { return time.Duration(m - earlier) }

// Add is the moment d after m.
func (m Moment) Add(d time.Duration) Moment { return m + Moment(d) }

// Clock is an engine's clock. It is safe for concurrent use.
type Clock struct {
	born   time.Time
	sample atomic.Pointer[Sample]
}

// New returns a clock whose Moment is 0 now.
func New() *Clock {
	c := &Clock{born: time.Now()}
	c.sample.Store(&Sample{at: c.born})
	return c
}

// Sample is the clock as it was read once. Later times are reckoned from it by time.Since, which costs half of what
// time.Now does, because time.Now reads the wall clock too.
type Sample struct {
	at     time.Time
	moment Moment
}

// readAgain is the time within which a step of the wall clock is noticed.
const readAgain = time.Second

// Now returns a sample and the present moment.
func (c *Clock) Now() (*Sample, Moment) {
	s := c.sample.Load()
	if passed := time.Since(s.at); passed < readAgain {
		return s, s.moment.Add(passed)
	}
	now := time.Now()
	next := &Sample{now, c.MomentOf(now)}
	c.sample.Store(next)
	return next, next.moment
}

// Born is the time of Moment 0.
func (c *Clock) Born() time.Time { return c.born }

// MomentOf is the moment of a time that was read by time.Now.
func (c *Clock) MomentOf(t time.Time) Moment { return Moment(t.Sub(c.born)) }

// Time is the time of a moment.
func (s *Sample) Time(m Moment) time.Time { return s.at.Add(m.Since(s.moment)) }

// Now is the present moment.
func (s *Sample) Now() Moment { return s.moment.Add(time.Since(s.at)) }
