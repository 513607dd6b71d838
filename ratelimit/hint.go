package ratelimit

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// longest is the wait that stands for every wait too long to represent, about 292 years.
const longest = time.Duration(math.MaxInt64)

// What a response may cost: no server needs more lines of one field, and no date and no number that
// a Duration can hold takes more bytes of one line.
const (
	maxLines     = 16
	maxLineBytes = 128
)

// rfc850 is time.RFC850 with the only zone that RFC 9110 section 5.6.7 allows. time.RFC850 itself
// takes any zone and reads one it does not know as UTC, hours early for some.
const rfc850 = "Monday, 02-Jan-06 15:04:05 GMT"

// Hint is what a server's answer says about when to come back.
type Hint struct {
	// Wait is the explicit wait that the server asked for, counted from the moment the answer's
	// head arrived. It is meaningful only when Explicit is true, and zero otherwise; it is never
	// negative. No cap is applied: a wait too long to represent is the longest Duration, so add to
	// it with care.
	Wait time.Duration
	// Explicit tells that the server named a wait, be it zero.
	Explicit bool
}

// ParseHeader reads a response's hints. now is the local clock when the response's head arrived; it
// matters only for a date in a response that has no valid Date field.
//
// The explicit wait is that of the first field with a valid value, in this order: Retry-After-Ms,
// X-Ms-Retry-After-Ms and X-Amz-Retry-After, in milliseconds, then Retry-After, in seconds or as an
// HTTP-date. A number is decimal digits, with or without a fraction, of any size. Of several lines
// of one field the longest wait counts. A date is taken against the response's own Date, later by
// Age where a cache says so, so that the local clock's error does not matter; a date in the past is
// a wait of zero. A value that is none of these is no hint.
//
// The names in h are in canonical form, as net/http leaves them. ParseHeader keeps no reference to
// h and is safe for concurrent use. It allocates nothing when h has none of these fields.
func ParseHeader(h http.Header, now time.Time) Hint {
	wait, ok := explicitWait(h, now)
	return Hint{Wait: wait, Explicit: ok}
}

// explicitWait puts the fields in milliseconds first because they are the more exact: servers send
// Retry-After beside them, rounded up, for clients that know no better.
func explicitWait(h http.Header, now time.Time) (time.Duration, bool) {
	for _, name := range [...]string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Amz-Retry-After"} {
		if wait, ok := longestOf(h[name], parseMillis); ok {
			return wait, true
		}
	}
	lines := h["Retry-After"]
	if len(lines) == 0 {
		return 0, false
	}
	return longestOf(lines, func(value string) (time.Duration, bool) {
		if wait, ok := parseNumber(value, time.Second); ok {
			return wait, true
		}
		return parseWaitUntil(value, h, now)
	})
}

// longestOf returns the longest of the valid waits in a field's lines: each of them is a server's
// or a proxy's word that it is too early before, and RFC 9110 section 5.3 lets nobody send two.
func longestOf(lines []string, parse func(string) (time.Duration, bool)) (time.Duration, bool) {
	var wait time.Duration
	found := false
	for _, line := range lines[:min(len(lines), maxLines)] {
		if len(line) > maxLineBytes {
			if isDigits(line[:maxLineBytes]) {
				return longest, true
			}
			continue
		}
		if w, ok := parse(trimSpace(line)); ok {
			wait, found = max(wait, w), true
		}
	}
	return wait, found
}

func parseMillis(value string) (time.Duration, bool) {
	return parseNumber(value, time.Millisecond)
}

// parseNumber reads 1*DIGIT [ "." 1*DIGIT ] as that many units, a whole power of ten of
// nanoseconds. It rounds up to a nanosecond, since a wait is a minimum, and stops at longest. The
// strconv parsers would take signs and exponents, and make a time.Duration that overflows.
func parseNumber(value string, unit time.Duration) (time.Duration, bool) {
	whole, fraction, hasPoint := strings.Cut(value, ".")
	if !isDigits(whole) || hasPoint && !isDigits(fraction) {
		return 0, false
	}
	var wait time.Duration
	for _, c := range []byte(whole) {
		digit := time.Duration(c-'0') * unit
		if wait > (longest-digit)/10 {
			return longest, true
		}
		wait = wait*10 + digit
	}
	for _, c := range []byte(fraction) {
		unit /= 10
		if unit == 0 && c != '0' {
			return addSaturating(wait, 1), true
		}
		wait = addSaturating(wait, time.Duration(c-'0')*unit)
	}
	return wait, true
}

// parseWaitUntil reads an HTTP-date as the wait from the moment that the response was made or last
// taken out of a cache, by the sender's clock. What error is left is the time on the way, which
// makes the wait too long and never too short.
func parseWaitUntil(value string, h http.Header, now time.Time) (time.Duration, bool) {
	from := now
	if date, ok := parseDate(first(h["Date"]), now); ok {
		from = date.Add(parseAge(first(h["Age"])))
	}
	until, ok := parseDate(value, from)
	if !ok {
		return 0, false
	}
	return max(until.Sub(from), 0), true // Sub saturates
}

// parseAge reads an Age field (RFC 9111 section 5.1); what is not valid counts as zero. So does an
// age of 2^31 s or more, where section 1.2.2 lets a recipient stop counting: Age shortens the wait,
// and a number that nobody means must not turn it into none.
func parseAge(value string) time.Duration {
	if !isDigits(value) {
		return 0
	}
	age, _ := parseNumber(value, time.Second)
	if age >= (1<<31)*time.Second {
		return 0
	}
	return age
}

// parseDate reads the three forms of an HTTP-date that a recipient must accept, RFC 9110 section
// 5.6.7. now decides the century of a year with two digits.
func parseDate(value string, now time.Time) (time.Time, bool) {
	value, leap := withoutLeapSecond(value)
	for _, layout := range [...]string{http.TimeFormat, rfc850, time.ANSIC} {
		t, err := time.Parse(layout, value)
		if err != nil {
			continue
		}
		if layout == rfc850 {
			t = inCentury(t, now)
		}
		return t.Add(leap), true
	}
	return time.Time{}, false
}

// withoutLeapSecond replaces second 60, which the grammar allows and package time refuses, by
// second 59 and the second that is missing.
func withoutLeapSecond(value string) (string, time.Duration) {
	i := strings.LastIndexByte(value, ':') + 1
	if i == 0 || !strings.HasPrefix(value[i:], "60") {
		return value, 0
	}
	return value[:i] + "59" + value[i+2:], time.Second
}

// inCentury gives t, of which only the last two digits of the year are known, the latest year that
// is not more than 50 years ahead of now. Package time has a fixed rule instead, 1969 to 2068.
func inCentury(t, now time.Time) time.Time {
	now = now.UTC()
	limit := now.AddDate(50, 0, 0)
	years := limit.Year() - limit.Year()%100 - (t.Year() - t.Year()%100)
	t = t.AddDate(years, 0, 0)
	if t.After(limit) {
		t = t.AddDate(-100, 0, 0)
	}
	return t
}

// first returns a field's first line without the space around it, or nothing for a line that is
// absent or too long to be a date or a number.
func first(lines []string) string {
	if len(lines) == 0 || len(lines[0]) > maxLineBytes {
		return ""
	}
	return trimSpace(lines[0])
}

// trimSpace removes the white space that RFC 9110 section 5.5 keeps out of a field's value.
func trimSpace(value string) string { return strings.Trim(value, " \t") }

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func addSaturating(a, b time.Duration) time.Duration {
	if a > longest-b {
		return longest
	}
	return a + b
}
