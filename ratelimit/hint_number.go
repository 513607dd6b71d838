package ratelimit

import (
	"iter"
	"math"
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
	// A list of limits is longer than one number, but none needs more than this.
	maxListBytes = 1024
)

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

// listed yields the members of comma lists, without the space around them.
func listed(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines[:min(len(lines), maxLines)] {
			if len(line) > maxListBytes {
				continue
			}
			for member := range strings.SplitSeq(line, ",") {
				if !yield(trimSpace(member)) {
					return
				}
			}
		}
	}
}

// parseCount reads a count as parseNumber reads a wait; what is after the point is dropped.
func parseCount(value string) (int64, bool) {
	whole, fraction, hasPoint := strings.Cut(value, ".")
	if !isDigits(whole) || hasPoint && !isDigits(fraction) {
		return 0, false
	}
	var n int64
	for _, c := range []byte(whole) {
		digit := int64(c - '0')
		if n > (math.MaxInt64-digit)/10 {
			return math.MaxInt64, true
		}
		n = n*10 + digit
	}
	return n, true
}
