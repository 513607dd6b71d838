package hint

import (
	"net/http"
	"strings"
	"time"
)

// rfc850 is time.RFC850 with the only zone that RFC 9110 section 5.6.7 allows. time.RFC850 itself
// takes any zone and reads one it does not know as UTC, hours early for some.
const rfc850 = "Monday, 02-Jan-06 15:04:05 GMT"

// explicitWait puts the fields in milliseconds first because they are the more exact: servers send
// Retry-After beside them, rounded up, for clients that know no better.
func explicitWait(h http.Header, now time.Time) (time.Duration, bool) {
	for _, name := range [...]string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Amz-Retry-After"} {
		if wait, ok := longestOf(h[name], parseMillis); ok {
			return wait, true
		}
	}
	if lines := h["Retry-After"]; len(lines) > 0 {
		wait, ok := longestOf(lines, func(value string) (time.Duration, bool) {
			if wait, ok := parseNumber(value, time.Second); ok {
				return wait, true
			}
			return parseWaitUntil(value, h, now)
		})
		if ok {
			return wait, true
		}
	}
	if wait, ok := longestOf(h["X-Retry-In"], parseSpan); ok {
		return wait, true
	}
	return sentryWait(h)
}

// sentryWait is the longest wait among "retry_after:categories:scope:reason" limits. Which categories
// a request carries is in its body.
func sentryWait(h http.Header) (wait time.Duration, found bool) {
	for limit := range listed(h["X-Sentry-Rate-Limits"]) {
		seconds, _, _ := strings.Cut(limit, ":")
		if w, ok := longestOf([]string{seconds}, parseSeconds); ok {
			wait, found = max(wait, w), true
		}
	}
	return wait, found
}

// longestOf returns the longest of the valid waits in a field's lines: each of them is a server's
// or a proxy's word that it is too early before, and RFC 9110 section 5.3 lets no sender send two.
func longestOf(lines []string, parse func(string) (time.Duration, bool)) (time.Duration, bool) {
	var wait time.Duration
	found := false
	for _, line := range lines[:min(len(lines), maxLines)] {
		if w, ok := parse(readable(line)); ok {
			wait, found = max(wait, w), true
		}
	}
	return wait, found
}

func parseSeconds(value string) (time.Duration, bool) { return parseNumber(value, time.Second) }

func parseMillis(value string) (time.Duration, bool) {
	return parseNumber(value, time.Millisecond)
}

// parseWaitUntil reads an HTTP-date as the wait from the moment that the response was made or last
// taken out of a cache, by the sender's clock. The error left is the time on the way, which
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

// parseAge reads an Age field (RFC 9111 section 5.1); an invalid one counts as zero. So does an
// age of 2^31 s or more, where section 1.2.2 lets a recipient stop counting: Age shortens the wait,
// and an absurd number must not turn it into none.
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
