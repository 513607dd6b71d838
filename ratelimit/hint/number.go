package hint

import (
	"iter"
	"math"
	"strings"
	"time"
)

// longest is the wait that stands for every wait too long to represent, about 292 years.
const longest = time.Duration(math.MaxInt64)

// The most that is read of a response. No server needs more lines of one field, and no date and no number
// that a Duration can hold takes more bytes of one line.
const (
	maxLines     = 16
	maxLineBytes = 128
	// A list of limits is longer than one number, but none needs more than this.
	maxListBytes = 1024
)

// parseNumber reads 1*DIGIT [ "." 1*DIGIT ] as that many units, a whole power of ten of nanoseconds. It
// rounds up to a nanosecond, since a wait is a minimum, and stops at longest. The strconv parsers would take
// signs and exponents, and make a time.Duration that overflows.
func parseNumber(value string, unit time.Duration) (time.Duration, bool) {
	whole, fraction, endless, ok := splitNumber(value)
	switch {
	case !ok:
		return 0, false
	case endless:
		return longest, true
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

// parseCount reads a number as a count and drops its fraction. A count too large for 63 bits is the largest.
func parseCount(value string) (int64, bool) {
	whole, _, _, ok := splitNumber(value)
	if !ok {
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

// splitNumber returns the digits before and after a number's point. It reads the first maxLineBytes only: a
// fraction that goes on after them is cut, which changes the number by less than a nanosecond. A number that
// has no point there is endless.
func splitNumber(value string) (whole, fraction string, endless, ok bool) {
	cut := len(value) > maxLineBytes
	whole, fraction, hasPoint := strings.Cut(value[:min(len(value), maxLineBytes)], ".")
	if !isDigits(whole) || hasPoint && !isDigits(fraction) && !(cut && fraction == "") {
		return "", "", false, false
	}
	return whole, fraction, cut && !hasPoint, true
}

// first returns the readable part of a field's first line.
func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return readable(lines[0])
}

// readable returns a line without the space around it if it is short enough to be a date or a number. Of a
// longer number it returns the beginning, one byte longer than splitNumber reads: to ignore a number for its
// length would turn a wait into none. Of any other long line it returns nothing.
func readable(line string) string {
	if len(line) > maxLineBytes {
		for _, c := range []byte(line[:maxLineBytes]) {
			if c != '.' && (c < '0' || c > '9') {
				return ""
			}
		}
		line = line[:maxLineBytes+1]
	}
	return trimSpace(line)
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

// listed yields the members of comma lists, without the space around them. It cuts a long line behind the
// last word that is whole.
func listed(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines[:min(len(lines), maxLines)] {
			if len(line) > maxListBytes {
				line = line[:maxListBytes]
				if end := strings.LastIndexAny(line, ",;:"); end >= 0 {
					line = line[:end]
				}
			}
			for member := range strings.SplitSeq(line, ",") {
				if !yield(trimSpace(member)) {
					return
				}
			}
		}
	}
}
