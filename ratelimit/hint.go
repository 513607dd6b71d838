package ratelimit

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Hint is what a server's answer says about when to come back.
type Hint struct {
	// Wait is the explicit wait that the server asked for, counted from the moment the answer's
	// head arrived. It is meaningful only when Explicit is true, and zero otherwise; it is never
	// negative. No cap is applied: a wait too long to represent is the longest Duration, so add to
	// it with care.
	Wait time.Duration
	// Explicit tells that the server named a wait, be it zero.
	Explicit bool
	// Exact tells that Wait is the very delay and no minimum: gRPC's pushback.
	Exact bool
	// Verdict is what the server said about a repeat of this very call.
	Verdict Verdict
	// Quota is what the server counts.
	Quota Quota
	// Partition names what is counted or refused, where the server says so: a policy, a bucket, a
	// resource, a limit's name, a scope or a reason, in its own words; "global" is everything.
	Partition string
	// PartitionKey holds the bytes that name the partition within a policy (pk); "": not given.
	PartitionKey string
	// Scope tells which of a caller's requests Partition covers.
	Scope Scope

	bare time.Duration // what a 429 means that says nothing else
}

// Verdict is a server's word about a repeat.
type Verdict uint8

// The verdicts. The zero Verdict leaves it to the client.
const (
	Unsaid Verdict = iota
	Repeat
	DontRepeat
)

// Scope tells which of a caller's requests a partition covers, as far as its kind says.
type Scope uint8

// The scopes. The zero Scope is the cautious one.
const (
	AllRequests  Scope = iota // whatever the caller asks for
	OnePolicy                 // those that the only policy named applies to
	SomeRequests              // those of a bucket or a resource, which divide what can be asked for
)

// Quota is what a server counts, as the item that binds first says. The zero Quota says nothing.
type Quota struct {
	// Limit is how much there is in a window and Remaining how much is left, in Unit. Neither is
	// negative, and Remaining is no promise.
	Limit, Remaining int64
	// Reset is how long it takes, from when the answer's head arrived, until more becomes available:
	// not necessarily all. It is never negative.
	Reset time.Duration
	// LimitKnown, RemainingKnown and ResetKnown tell which of these the server said.
	LimitKnown, RemainingKnown, ResetKnown bool
	// Window is what Limit is counted over; 0: not known.
	Window time.Duration
	// Unit is what is counted; "" stands for requests.
	Unit string
	// ForAll tells that Reset is the time until all of Limit is back, and that some is sooner. Services
	// that count requests and tokens side by side say it so.
	ForAll bool
}

// Exhausted tells that nothing is left, and since when there is more is known.
func (q Quota) Exhausted() bool { return q.RemainingKnown && q.Remaining == 0 && q.ResetKnown }

// known tells that the server said anything about what is left or when there is more.
func (q Quota) known() bool { return q.LimitKnown || q.RemainingKnown || q.ResetKnown }

// MinWait is the least wait before a repeat of the call that was answered with that HTTP status; 0
// stands for a failure that has none. It is the explicit wait, or else, for a refusal with nothing
// left, the time until there is more; else 0, and the client's own backoff alone decides. A [Verdict]
// that forbids the repeat goes before it.
func (h Hint) MinWait(status int) time.Duration {
	switch {
	case (h.Explicit || h.Wait > 0) && (status == 0 || status >= 300):
		return max(h.Wait, 0)
	case status != 0 && status < 400:
		return 0
	case h.Quota.Exhausted():
		return h.Quota.Reset
	case status == http.StatusTooManyRequests:
		return h.bare
	}
	return 0
}

// Profile says how to read what some server sends where its values alone don't tell. The zero
// Profile reads every value by its size and form.
type Profile struct {
	// Reset is what a bare number in a field of the older forms says about the reset.
	Reset ResetForm
	// Bare429 is the wait that a 429 means which names none. Default 0: none. Sentry documents 60 s,
	// GitHub at least 60 s.
	Bare429 time.Duration
}

// ResetForm is what a bare number in a reset field means.
type ResetForm string

// The forms. The zero ResetForm tells epochs from deltas by size, and takes deltas for seconds.
const (
	ResetBySize       ResetForm = ""
	ResetDeltaSeconds ResetForm = "delta-s"
	ResetDeltaMillis  ResetForm = "delta-ms"
)

// Validate tells what cannot mean anything.
func (p Profile) Validate() error {
	switch p.Reset {
	case ResetBySize, ResetDeltaSeconds, ResetDeltaMillis:
	default:
		return fmt.Errorf("ratelimit: Reset is %q, not empty, delta-s or delta-ms", string(p.Reset))
	}
	if p.Bare429 < 0 {
		return fmt.Errorf("ratelimit: Bare429 is negative: %v", p.Bare429)
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
	// What a cache kept says nothing about now (draft-ietf-httpapi-ratelimit-headers-10, Client
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
