package hint

import (
	"net/http"
	"strings"
	"time"
)

const (
	// aboutNow is how far an epoch may be from the answer's own time, and longestDelta how long a
	// delta may be. Today's epoch is 700 times the longest delta: no number can be both.
	aboutNow     = 366 * 24 * time.Hour
	longestDelta = 31 * 24 * time.Hour
)

// parseReset reads a reset field of the older forms, whose names don't tell their form: a number
// by its size, else a duration, or a date in one of several forms. The result is rounded up to a
// millisecond; a time that has passed is zero.
func (p Profile) parseReset(value string, h http.Header, now time.Time) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	ref := now
	if date, ok := parseDate(first(h["Date"]), now); ok {
		ref = date
	}
	if _, ok := parseNumber(value, time.Second); ok {
		reset, ok := p.numericReset(value, ref)
		return roundUp(reset), ok
	}
	if reset, ok := parseSpan(value); ok {
		return roundUp(reset), true
	}
	if at, ok := parseMoment(value, ref); ok {
		return roundUp(max(at.Sub(ref), 0)), true // Sub saturates
	}
	return 0, false
}

func (p Profile) numericReset(value string, ref time.Time) (time.Duration, bool) {
	seconds, _ := parseNumber(value, time.Second)
	millis, _ := parseNumber(value, time.Millisecond)
	switch p.Reset {
	case ResetDeltaSeconds:
		return seconds, true
	case ResetDeltaMillis:
		return millis, true
	}
	epoch := ref.Sub(time.Unix(0, 0)) // saturates
	for _, v := range [...]time.Duration{seconds, millis} {
		if v-epoch >= -aboutNow && v-epoch <= aboutNow && v != longest {
			return max(v-epoch, 0), true
		}
	}
	return seconds, seconds <= longestDelta
}

// parseSpan reads a duration as Go writes it; a bare number is seconds. Signs are no part of it.
func parseSpan(value string) (time.Duration, bool) {
	if wait, ok := parseNumber(value, time.Second); ok {
		return wait, true
	}
	if value == "" || value[0] < '0' || value[0] > '9' {
		return 0, false
	}
	d, err := time.ParseDuration(value)
	return d, err == nil
}

// parseMoment reads RFC 3339 with or without seconds, an HTTP-date, or JavaScript's string form of a
// Date. ref decides the century of a year with two digits.
func parseMoment(value string, ref time.Time) (time.Time, bool) {
	if at, ok := parseDate(value, ref); ok {
		return at, true
	}
	value, _, _ = strings.Cut(value, " (") // JavaScript appends the zone's name
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04Z07:00", "Mon Jan 02 2006 15:04:05 GMT-0700"} {
		if at, err := time.Parse(layout, value); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

func roundUp(d time.Duration) time.Duration {
	rest := d % time.Millisecond
	if rest == 0 || d > longest-time.Millisecond {
		return d
	}
	return d + time.Millisecond - rest
}
