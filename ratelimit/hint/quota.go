package hint

import (
	"net/http"
	"strings"
	"time"
)

// family names the fields of one older form of quota.
type family struct {
	limit, remaining, reset string
	after                   string // delta seconds whatever reset is; it goes before
	moment                  string // a date that stands in for reset
	policy                  string // where windows are, beside limit
}

// readQuota reads the first family of fields that says how much is left, or else the first that says
// anything: limit, rest and reset of different families may count different things.
func (p Profile) readQuota(hint *Hint, h http.Header, now time.Time) {
	structured := readStructured(hint, h)
	if !structured {
		hint.Quota, hint.Partition = p.olderQuota(h, now)
	}
	if !structured || hint.Partition == "" { // a dictionary has no name
		if name, scope := partition(h); name != "" {
			hint.Partition, hint.Scope = name, scope
		}
	}
	if first(h["X-Ratelimit-Global"]) == "true" {
		hint.Partition, hint.Scope = "global", AllRequests
	}
}

// partition finds the name of the limit, in the words of the services that send one.
func partition(h http.Header) (name string, scope Scope) {
	for _, field := range [...]struct {
		name  string
		scope Scope
	}{
		{"X-Ratelimit-Bucket", SomeRequests},
		{"X-Ratelimit-Resource", SomeRequests},
		{"Ratelimit-Name", OnePolicy},
		{"X-Ratelimit-Scope", AllRequests},
		{"Stripe-Rate-Limited-Reason", AllRequests},
	} {
		if name := first(h[field.name]); name != "" {
			return name, field.scope
		}
	}
	for limit := range listed(h["X-Sentry-Rate-Limits"]) {
		if parts := strings.SplitN(limit, ":", 4); len(parts) > 2 {
			return parts[2], AllRequests
		}
	}
	return "", AllRequests
}

// olderQuota reads the forms that are no structured field. The name is that of a dimension.
func (p Profile) olderQuota(h http.Header, now time.Time) (Quota, string) {
	var second Quota
	for _, f := range [...]family{
		{"Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", "", "Ratelimit-Resettime", "Ratelimit-Policy"},
		{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "X-Ratelimit-Reset-After", "", ""},
		{"X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset", "", "", ""},
		{limit: "X-Sentry-Rate-Limit-Limit", remaining: "X-Sentry-Rate-Limit-Remaining",
			reset: "X-Sentry-Rate-Limit-Reset"},
	} {
		q := p.readFamily(f, h, now)
		if q.RemainingKnown {
			return q, ""
		}
		if q.known() && !second.known() {
			second = q
		}
	}
	if q, name := p.dimension(h, now); q.known() {
		return q, name
	}
	if q := p.windowed(h, now); q.known() {
		return q, ""
	}
	if used, limit, ok := strings.Cut(first(h["X-Shopify-Shop-Api-Call-Limit"]), "/"); ok {
		u, ok1 := parseCount(used)
		l, ok2 := parseCount(limit)
		if ok1 && ok2 {
			return Quota{Limit: l, Remaining: max(0, l-u), LimitKnown: true, RemainingKnown: true}, ""
		}
	}
	return second, ""
}

// dimension reads quotas of requests and of tokens side by side: the exhausted one with the longest
// reset binds, else requests stand for all.
func (p Profile) dimension(h http.Header, now time.Time) (best Quota, name string) {
	for _, d := range [...]string{"Requests", "Tokens", "Input-Tokens", "Output-Tokens"} {
		for _, f := range [...]family{
			{limit: "X-Ratelimit-Limit-" + d, remaining: "X-Ratelimit-Remaining-" + d,
				reset: "X-Ratelimit-Reset-" + d},
			{limit: "X-Ratelimit-" + d + "-Limit", remaining: "X-Ratelimit-" + d + "-Remaining",
				reset: "X-Ratelimit-" + d + "-Reset"},
			{limit: "Anthropic-Ratelimit-" + d + "-Limit", remaining: "Anthropic-Ratelimit-" + d + "-Remaining",
				reset: "Anthropic-Ratelimit-" + d + "-Reset"},
		} {
			q := p.readFamily(f, h, now)
			switch {
			case !q.known():
				continue
			case name == "", q.empty() && (!best.empty() || q.Reset > best.Reset):
				best, name = q, strings.ToLower(d)
				best.ForAll = true
			}
		}
	}
	return best, name
}

func (q Quota) empty() bool { return q.RemainingKnown && q.Remaining == 0 }

// windowed reads fields with the window in their name: the one that leaves the least binds,
// on a tie the longest.
func (p Profile) windowed(h http.Header, now time.Time) (least Quota) {
	for _, w := range [...]struct {
		name string
		span time.Duration
	}{
		{"Month", 0}, {"Day", 24 * time.Hour}, {"Hour", time.Hour}, {"Minute", time.Minute}, {"Second", time.Second},
	} {
		for _, prefix := range [...]string{"X-Ratelimit-", "Ratelimit-"} {
			q := p.readFamily(family{limit: prefix + "Limit-" + w.name, remaining: prefix + "Remaining-" + w.name,
				reset: prefix + "Reset-" + w.name}, h, now)
			if q.RemainingKnown && (!least.RemainingKnown || q.Remaining < least.Remaining) {
				least = q
				least.Window = w.span
			}
		}
	}
	return least
}

// readFamily reads the fields of one family. A value that is none is as good as absent.
func (p Profile) readFamily(f family, h http.Header, now time.Time) (q Quota) {
	if lines := h[f.limit]; len(lines) > 0 {
		for member := range listed(lines) { // the limit that binds comes first, then all there are
			q.Limit, q.LimitKnown = parseCount(withoutParameters(member))
			break
		}
		if q.LimitKnown {
			if q.Window = windowOf(lines, q.Limit); q.Window == 0 && f.policy != "" {
				q.Window = windowOf(h[f.policy], q.Limit)
			}
		}
	}
	q.Remaining, q.RemainingKnown = parseCount(withoutParameters(first(h[f.remaining])))
	if f.after != "" {
		if after, ok := parseNumber(first(h[f.after]), time.Second); ok {
			q.Reset, q.ResetKnown = roundUp(after), true
			return q
		}
	}
	if q.Reset, q.ResetKnown = p.parseReset(first(h[f.reset]), h, now); !q.ResetKnown && f.moment != "" {
		q.Reset, q.ResetKnown = p.parseReset(first(h[f.moment]), h, now)
	}
	if !q.ResetKnown {
		q.Reset = 0
	}
	return q
}

func withoutParameters(value string) string {
	value, _, _ = strings.Cut(value, ";")
	return trimSpace(value)
}

// windowOf finds the window of the limit in a list such as "100;w=60, 1000;window=3600"; 0: none.
func windowOf(lines []string, limit int64) time.Duration {
	for member := range listed(lines) {
		value, parameters, _ := strings.Cut(member, ";")
		if n, ok := parseCount(trimSpace(value)); !ok || n != limit {
			continue
		}
		for parameter := range strings.SplitSeq(parameters, ";") {
			name, span, _ := strings.Cut(trimSpace(parameter), "=")
			if name != "w" && name != "window" {
				continue
			}
			if w, ok := parseNumber(span, time.Second); ok && w > 0 {
				return w
			}
		}
	}
	return 0
}
