package hint

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Profile tells how to read the values of a server that are ambiguous by themselves. The zero Profile
// reads every value by its size and form.
type Profile struct {
	// Reset is the meaning of a bare number in a reset field of the older forms. Default: by size.
	Reset ResetForm
	// Bare429 is the wait that a 429 means which names none. Default 0: none. Sentry documents 60 s,
	// GitHub at least 60 s.
	Bare429 time.Duration
}

// ResetForm is the meaning of a bare number in a reset field.
type ResetForm string

// The forms. The zero ResetForm tells epochs from deltas by size, and takes deltas for seconds.
const (
	ResetBySize       ResetForm = ""
	ResetDeltaSeconds ResetForm = "delta-s"
	ResetDeltaMillis  ResetForm = "delta-ms"
)

// Validate returns an error for a field whose value is impossible.
func (p Profile) Validate() error {
	switch p.Reset {
	case ResetBySize, ResetDeltaSeconds, ResetDeltaMillis:
	default:
		return fmt.Errorf("hint: Reset is %q, not empty, delta-s or delta-ms", string(p.Reset))
	}
	if p.Bare429 < 0 {
		return fmt.Errorf("hint: Bare429 is negative: %v", p.Bare429)
	}
	return nil
}

// ParseHeader reads a response's hints. now is the local clock when the response's head arrived; it
// matters only for a date or an epoch in a response that has no valid Date field.
//
// The explicit wait is that of the first field with a valid value, in this order: Retry-After-Ms,
// X-Ms-Retry-After-Ms and X-Amz-Retry-After, in milliseconds, Retry-After, in seconds or as an
// HTTP-date, X-Retry-In and X-Sentry-Rate-Limits. A number is decimal digits, with or without a
// fraction, of any size. Of several lines of one field the longest wait counts. A date is taken
// against the response's own Date, later by Age where a cache says so, so that the local clock's
// error does not matter; a date in the past is a wait of zero. A value that is none of these is no
// hint.
//
// The quota is that of the first family that says how much is left: RateLimit with RateLimit-Policy in
// the forms of draft-ietf-httpapi-ratelimit-headers 08 and later and 07, RateLimit-Limit and its like
// (drafts 00 to 06), X-RateLimit-Limit, X-Rate-Limit-Limit, fields for each dimension or window. They
// are never mixed. Answers out of a cache (Age over 0) have none.
//
// The names in h are in canonical form, as net/http leaves them. ParseHeader keeps no reference to
// h and is safe for concurrent use. It allocates nothing when h has none of these fields.
func ParseHeader(h http.Header, now time.Time) Hint { return Profile{}.ParseHeader(h, now) }

// ParseHeader is [ParseHeader] for a server with that profile.
func (p Profile) ParseHeader(h http.Header, now time.Time) Hint {
	hint := Hint{bare: p.Bare429}
	found := scan(h)
	if found == 0 {
		return hint
	}
	if found&waitFields != 0 {
		hint.Wait, hint.Explicit = explicitWait(h, now)
	}
	if found&verdictFields != 0 {
		hint.Verdict = verdict(h)
	}
	// A quota out of a cache is out of date (draft-ietf-httpapi-ratelimit-headers-10, Client
	// Behavior).
	if found&quotaFields != 0 && parseAge(first(h["Age"])) == 0 {
		p.readQuota(&hint, h, now)
	}
	return hint
}

// fields are the kinds of fields that a response has.
type fields uint8

const (
	waitFields fields = 1 << iota
	verdictFields
	quotaFields
)

// scan looks once at every name: most responses have a dozen fields and none of ours, and to look
// each of ours up would take five times as long.
func scan(h http.Header) (found fields) {
	for name := range h {
		if len(name) < 9 {
			continue
		}
		switch name[0] {
		case 'R':
			switch {
			case strings.HasPrefix(name, "Retry-After"):
				found |= waitFields
			case strings.HasPrefix(name, "Ratelimit"):
				found |= quotaFields
			}
		case 'X':
			found |= scanX(name)
		case 'S':
			switch name {
			case "Stripe-Should-Retry":
				found |= verdictFields
			case "Stripe-Rate-Limited-Reason":
				found |= quotaFields
			}
		case 'A':
			if strings.HasPrefix(name, "Anthropic-Ratelimit-") {
				found |= quotaFields
			}
		}
	}
	return found
}

func scanX(name string) fields {
	switch name {
	case "X-Should-Retry":
		return verdictFields
	case "X-Ms-Retry-After-Ms", "X-Amz-Retry-After", "X-Retry-In":
		return waitFields
	case "X-Shopify-Shop-Api-Call-Limit":
		return quotaFields
	}
	switch {
	case strings.HasPrefix(name, "X-Sentry-Rate-Limit"):
		return waitFields | quotaFields
	case strings.HasPrefix(name, "X-Rate"):
		return quotaFields
	}
	return 0
}

// verdict reads the fields that say whether to repeat. Where they contradict each other, the call is
// not repeated.
func verdict(h http.Header) (v Verdict) {
	for _, name := range [...]string{"X-Should-Retry", "Stripe-Should-Retry"} {
		switch first(h[name]) {
		case "false":
			return DontRepeat
		case "true":
			v = Repeat
		}
	}
	return v
}
