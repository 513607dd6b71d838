package policy

import (
	"fmt"
	"time"
)

const (
	// minEvery is far above what a run costs, and maxEvery so short that a document cannot stop
	// work by making it rare.
	minEvery = time.Second
	maxEvery = 720 * time.Hour

	// minWindowWidth keeps a window from being an instant with another name.
	minWindowWidth = 15 * time.Minute
	wholeDay       = 24 * time.Hour
)

// parseTimeOfDay reads "01:00" as the time since midnight.
func parseTimeOfDay(text string) (time.Duration, bool) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") { // Parse takes "1:00" too
		return 0, false
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, true
}

// widthOf is the time from one time of day to the next that is the other.
func widthOf(from, to time.Duration) time.Duration { return (to - from + wholeDay) % wholeDay }

// widened returns w, or where that is too narrow the narrowest that is not. w can be read.
func (w DailyWindow) widened() DailyWindow {
	from, _ := parseTimeOfDay(w.From)
	if to, _ := parseTimeOfDay(w.To); widthOf(from, to) < minWindowWidth {
		minutes := int((from + minWindowWidth) % wholeDay / time.Minute) // an int of 32 bits holds no minute in nanoseconds
		w.To = fmt.Sprintf("%02d:%02d", minutes/60, minutes%60)
	}
	return w
}

// Span is when the window opens, since midnight, and how long it is open; 0, 0: the whole day. The window can be read.
func (w DailyWindow) Span() (from, width time.Duration) {
	if w == (DailyWindow{}) {
		return 0, 0
	}
	from, _ = parseTimeOfDay(w.From)
	to, _ := parseTimeOfDay(w.To)
	return from, widthOf(from, to)
}
