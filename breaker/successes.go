package breaker

import "time"

// successes are the good calls of a closed machine. gobreaker doesn't hear of them: it would take its
// lock twice and ask the clock twice for each, and nothing depends on them until a call fails. They are
// forgotten in the steps in which gobreaker forgets failures.
type successes struct {
	start   time.Time // when the machine's closed state began: steps are counted from there
	period  time.Duration
	steps   int64 // in the window
	newest  int64 // the step that the newest count belongs to
	all     uint32
	buckets [buckets]uint32
}

// add counts n successes. A time earlier than another call's is taken for that.
func (s *successes) add(n uint32, now time.Time) {
	s.roll(now)
	s.all += n
	s.buckets[s.newest%s.steps] += n
}

// roll forgets the steps that have left the window.
func (s *successes) roll(now time.Time) {
	step := int64(now.Sub(s.start) / s.period)
	for n := max(s.newest+1, step-s.steps+1); n <= step; n++ {
		s.all -= s.buckets[n%s.steps]
		s.buckets[n%s.steps] = 0
	}
	s.newest = max(s.newest, step)
}

func (s *successes) restart(now time.Time) {
	*s = successes{start: now, period: s.period, steps: s.steps}
}
