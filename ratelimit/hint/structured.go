package hint

import (
	"net/http"
	"time"

	"github.com/dunglas/httpsfv"
)

// maxStructuredBytes bounds the bytes parsed of one structured field: RFC 9651 section 3.1 asks for at
// least 1024 members.
const maxStructuredBytes = 32 << 10

// structuredLines returns a field's lines, or none if there is too much of them: half of a structured
// field means nothing (RFC 9651 section 4.2).
func structuredLines(h http.Header, name string) []string {
	lines, size := h[name], 0
	for _, line := range lines {
		if size += len(line) + 2; size > maxStructuredBytes {
			return nil
		}
	}
	return lines
}

// policy is an item of RateLimit-Policy.
type policy struct {
	limit  int64
	window time.Duration // 0: not said
	unit   string
}

// readStructured reads RateLimit in the form of draft-ietf-httpapi-ratelimit-headers-08 and later, a
// list of named items, or that of -07, a dictionary: neither ever parses as the other.
func readStructured(hint *Hint, h http.Header) bool {
	lines := structuredLines(h, "Ratelimit")
	if len(lines) == 0 {
		return false
	}
	if list, err := httpsfv.UnmarshalList(lines); err == nil {
		if named := bindingItem(list); named.found {
			named.fill(hint, h)
			return true
		}
	}
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return false
	}
	return readDictionary(&hint.Quota, dict, h)
}

// binding is the item of a RateLimit list that leaves the least.
type binding struct {
	found, only bool
	name, key   string
	remaining   int64
	reset       time.Duration
	resetKnown  bool
}

// bindingItem picks the lowest r and on a tie the longest t. It drops invalid items.
func bindingItem(list httpsfv.List) (least binding) {
	items := 0
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			continue
		}
		name, ok := item.Value.(string)
		if !ok {
			continue
		}
		b := binding{found: true, name: name}
		if b.remaining, ok = count(item.Params, "r"); !ok {
			continue
		}
		if t, given := item.Params.Get("t"); given {
			seconds, ok := t.(int64)
			if !ok || seconds < 0 {
				continue
			}
			b.reset, b.resetKnown = inSeconds(seconds), true
		}
		if key, given := item.Params.Get("pk"); given {
			raw, _ := key.([]byte)
			b.key = string(raw)
		}
		items++
		if !least.found || b.remaining < least.remaining ||
			b.remaining == least.remaining && b.reset > least.reset {
			least = b
		}
	}
	least.only = items == 1
	return least
}

func (b binding) fill(hint *Hint, h http.Header) {
	hint.Partition, hint.PartitionKey = b.name, b.key
	if b.only {
		hint.Scope = OnePolicy
	}
	q := Quota{Remaining: b.remaining, RemainingKnown: true, Reset: b.reset, ResetKnown: b.resetKnown}
	list, err := httpsfv.UnmarshalList(structuredLines(h, "Ratelimit-Policy"))
	if err == nil {
		for _, member := range list {
			item, ok := member.(httpsfv.Item)
			if !ok || item.Value != b.name {
				continue
			}
			if p, ok := policyOf(item.Params, "q"); ok {
				q.Limit, q.LimitKnown, q.Window, q.Unit = p.limit, true, p.window, p.unit
				break
			}
		}
	}
	hint.Quota = q
}

// policyOf reads a policy's parameters; limit names the one that has the quota.
func policyOf(params *httpsfv.Params, limit string) (p policy, ok bool) {
	if p.limit, ok = count(params, limit); !ok {
		return p, false
	}
	if w, given := params.Get("w"); given {
		seconds, ok := w.(int64)
		if !ok || seconds <= 0 {
			return p, false
		}
		p.window = inSeconds(seconds)
	}
	if unit, given := params.Get("qu"); given {
		if p.unit, ok = unit.(string); !ok {
			return p, false
		}
		if p.unit == "requests" || p.unit == "request" { // the draft has both spellings
			p.unit = ""
		}
	}
	return p, true
}

func readDictionary(q *Quota, dict *httpsfv.Dictionary, h http.Header) bool {
	member := func(key string) (int64, bool) {
		m, _ := dict.Get(key)
		item, _ := m.(httpsfv.Item)
		n, ok := item.Value.(int64)
		return n, ok && n >= 0
	}
	remaining, ok := member("remaining")
	if !ok {
		return false
	}
	reset, resetKnown := member("reset")
	if _, given := dict.Get("reset"); given && !resetKnown {
		return false
	}
	q.Remaining, q.RemainingKnown = remaining, true
	q.Reset, q.ResetKnown = inSeconds(reset), resetKnown
	if q.Limit, q.LimitKnown = member("limit"); q.LimitKnown {
		q.Window = windowOf(h["Ratelimit-Policy"], q.Limit)
	} else {
		q.Limit = 0
	}
	return true
}

// count returns a parameter that is an integer and not negative.
func count(params *httpsfv.Params, key string) (int64, bool) {
	value, _ := params.Get(key)
	n, ok := value.(int64)
	return n, ok && n >= 0
}

// inSeconds saturates.
func inSeconds(n int64) time.Duration {
	if n > int64(longest/time.Second) {
		return longest
	}
	return time.Duration(n) * time.Second
}
