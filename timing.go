package tether

import (
	"time"

	"github.com/tether-go/tether/policy"
)

const day = 24 * time.Hour

// timing says when periodic work is due: a period, and the window of each day in which runs may
// begin.
type timing struct {
	every time.Duration
	from  time.Duration // since midnight UTC
	width time.Duration // 0: the whole day
}

func newTiming(every time.Duration, w policy.DailyWindow) timing {
	from, width := w.Span()
	return timing{every, from, width}
}

// opening returns when the window opened that now is in, else when the next one opens.
func (t timing) opening(now time.Time) time.Time {
	// Truncate counts from year 1, in UTC; a day of UTC is always 24 h long.
	opens := now.Truncate(day).Add(t.from - day) // yesterday's may be open past midnight
	for !now.Before(opens.Add(t.width)) {
		opens = opens.Add(day)
	}
	return opens
}

// open tells whether a run may begin now.
func (t timing) open(now time.Time) bool {
	return t.width == 0 || !now.Before(t.opening(now))
}

// span is the time over which a fleet that begins together is spread.
func (t timing) span() time.Duration {
	if t.width == 0 {
		return t.every
	}
	return min(t.every, t.width)
}

// first is when work is due that was not due before: anywhere in a whole period or window. Near the
// end of a window some of a fleet must wait for the next: to squeeze all of it in would be a burst.
func (t timing) first(now time.Time, rand func() float64) time.Time {
	phase := part(t.span(), rand())
	if t.width == 0 {
		return now.Add(phase)
	}
	opens := t.opening(now)
	if now.Before(opens) {
		return opens.Add(phase)
	}
	if due := now.Add(phase); due.Before(opens.Add(t.width)) {
		return due
	}
	return opens.Add(day + phase)
}

// next is when work is due again that was due before. A period shorter than the window goes on
// within it and begins anew, in random phase, in the next. One as long or longer has at most one
// run in a window, anywhere in it: if the time of the last one counted, runs would drift out of it.
func (t timing) next(before time.Time, rand func() float64) time.Time {
	jittered := before.Add(part(t.every, 0.9+0.2*rand()))
	if t.width == 0 {
		return jittered
	}
	if t.every < t.width {
		opens := t.opening(before)
		if jittered.Before(opens.Add(t.width)) {
			return jittered
		}
		return opens.Add(day + part(t.every, rand()))
	}
	return t.opening(before.Add(t.every)).Add(part(t.width, rand()))
}

// longest is more than any wait for the next run in a window: what is due later was planned by a clock that
// has been set back since.
func (t timing) longest() time.Duration { return t.every + 2*day }

// after is the next time when work is due, later than now. What was missed is not made up for.
// Without a window the phase stays, so that a fleet that was held up together does not go on
// together.
func (t timing) after(before, now time.Time, rand func() float64) time.Time {
	due := t.next(before, rand)
	switch late := now.Sub(due); {
	case late < 0:
		return due
	case t.width == 0:
		return now.Add(t.every - late%t.every)
	}
	return t.first(now, rand)
}

func part(d time.Duration, fraction float64) time.Duration {
	return time.Duration(float64(d) * fraction)
}
