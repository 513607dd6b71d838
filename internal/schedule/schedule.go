// Package schedule says when periodic work is due, in random phase, so that a fleet that starts together does not act
// together.
package schedule

import (
	"time"

	"github.com/tether-go/tether/policy"
)

// Day is a day of UTC, which is always that long.
const Day = 24 * time.Hour

// Timing says when periodic work is due: a period, and the window of each day in which runs may
// begin.
type Timing struct {
	Every time.Duration
	from  time.Duration // since midnight UTC
	Width time.Duration // 0: the whole day
}

// New returns the timing of work with a period and a window; the zero window is the whole day.
func New(every time.Duration, w policy.DailyWindow) Timing {
	from, width := w.Span()
	return Timing{every, from, width}
}

// opening returns when the window opened that now is in, else when the next one opens.
func (t Timing) opening(now time.Time) time.Time {
	// Truncate counts from year 1, in UTC; a day of UTC is always 24 h long.
	opens := now.Truncate(Day).Add(t.from - Day) // yesterday's may be open past midnight
	for !now.Before(opens.Add(t.Width)) {
		opens = opens.Add(Day)
	}
	return opens
}

// Open tells whether a run may begin now.
func (t Timing) Open(now time.Time) bool {
	return t.Width == 0 || !now.Before(t.opening(now))
}

// span is the time over which a fleet that begins together is spread.
func (t Timing) span() time.Duration {
	if t.Width == 0 {
		return t.Every
	}
	return min(t.Every, t.Width)
}

// First is when work is due that was not due before: anywhere in a whole period or window. Near the
// end of a window some of a fleet must wait for the next: to squeeze all of it in would be a burst.
func (t Timing) First(now time.Time, rand func() float64) time.Time {
	phase := part(t.span(), rand())
	if t.Width == 0 {
		return now.Add(phase)
	}
	opens := t.opening(now)
	if now.Before(opens) {
		return opens.Add(phase)
	}
	if due := now.Add(phase); due.Before(opens.Add(t.Width)) {
		return due
	}
	return opens.Add(Day + phase)
}

// Next is when work is due again that was due before. A period shorter than the window goes on
// within it and begins anew, in random phase, in the next. One as long or longer has at most one
// run in a window, anywhere in it: if the time of the last one counted, runs would drift out of it.
func (t Timing) Next(before time.Time, rand func() float64) time.Time {
	jittered := before.Add(part(t.Every, 0.9+0.2*rand()))
	if t.Width == 0 {
		return jittered
	}
	if t.Every < t.Width {
		opens := t.opening(before)
		if jittered.Before(opens.Add(t.Width)) {
			return jittered
		}
		return opens.Add(Day + part(t.Every, rand()))
	}
	return t.opening(before.Add(t.Every)).Add(part(t.Width, rand()))
}

// Longest is more than any wait for the next run in a window: what is due later was planned by a clock that
// has been set back since.
func (t Timing) Longest() time.Duration { return t.Every + 2*Day }

// After is the next time when work is due, later than now. What was missed is not made up for.
// Without a window the phase stays, so that a fleet that was held up together does not go on
// together.
func (t Timing) After(before, now time.Time, rand func() float64) time.Time {
	due := t.Next(before, rand)
	switch late := now.Sub(due); {
	case late < 0:
		return due
	case t.Width == 0:
		return now.Add(t.Every - late%t.Every)
	}
	return t.First(now, rand)
}

func part(d time.Duration, fraction float64) time.Duration {
	return time.Duration(float64(d) * fraction)
}
