package hint_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
)

func FuzzParseHeader(f *testing.F) {
	f.Add("", "", "", "120", "", int64(0))
	f.Add("", "", "", "5\n60\nsoon", "Thu, 15 Jan 2026 12:00:00 GMT", int64(1_800_000_000))
	f.Add("1500", "250", "0.5", "2", "", int64(-1))
	f.Add("-1", "+5", "²", "Thu, 15 Jan 2026 12:00:60 GMT", "Age 5", int64(1_768_478_400))
	f.Add("", "", "", "Thursday, 15-Jan-26 12:00:30 GMT", "Sun Nov  6 08:49:37 1994", int64(1<<40))
	f.Add("99999999999999999999", "", "", ":60", ":60", int64(-1<<40))
	f.Fuzz(func(t *testing.T, ms, azure, aws, after, date string, clock int64) {
		h := http.Header{
			"Retry-After-Ms":      strings.Split(ms, "\n"),
			"X-Ms-Retry-After-Ms": strings.Split(azure, "\n"),
			"X-Amz-Retry-After":   strings.Split(aws, "\n"),
			"Retry-After":         strings.Split(after, "\n"),
			"Date":                {date},
			"Age":                 {aws},
		}
		now := time.Unix(clock%(1<<40), 0)
		said := hint.ParseHeader(h, now)
		if said.Wait < 0 || !said.Explicit && said.Wait != 0 {
			t.Fatalf("%v: got %+v", h, said)
		}
		// The first field with a wait decides alone, and one line more never shortens it.
		for _, field := range waitFields {
			alone := hint.ParseHeader(http.Header{
				field: h[field], "Date": h["Date"], "Age": h["Age"],
			}, now)
			if !alone.Explicit {
				continue
			}
			if alone != said {
				t.Fatalf("%v: got %+v, but %s alone gives %+v", h, said, field, alone)
			}
			h[field] = append([]string{"86400"}, h[field]...)
			if more := hint.ParseHeader(h, now); len(h[field]) <= 16 && more.Wait < said.Wait {
				t.Fatalf("%v: a line more gives %v after %v", h, more.Wait, said.Wait)
			}
			return
		}
		if said.Explicit {
			t.Fatalf("%v: got %+v from no field", h, said)
		}
	})
}

// FuzzQuota: whatever the fields hold, nothing is negative or said without being known, a wait is never
// under an explicit one, and what a cache kept counts for nothing.
func FuzzQuota(f *testing.F) {
	f.Add(`"a";r=0;t=5, "b";r=9`, `"a";q=10;w=60;qu="bytes"`, "0", "60", "1.5", int64(0), 429)
	f.Add(`limit=10, remaining=0, reset=5`, "10;w=1, 50;w=60", "5;w=2", "1768479300", "6m0s", int64(1_768_478_400), 200)
	f.Add(`"a";r=999999999999999;t=999999999999999;pk=:YQ==:`, `("x" "y");q=1`, "99999999999999999999",
		"2026-01-15T12:01Z", "Tue Feb 16 2021 09:02:42 GMT+0100 (CET)", int64(-1<<40), 503)
	f.Add(`@1;r=1, %"a";r=1, ?1`, `a;q`, "1/2", "Thursday, 15-Jan-26 12:00:30 GMT", "-5s", int64(1<<40), 403)
	f.Fuzz(func(t *testing.T, list, policy, remaining, reset, after string, clock int64, status int) {
		h := http.Header{
			"Ratelimit":                     strings.Split(list, "\n"),
			"Ratelimit-Policy":              strings.Split(policy, "\n"),
			"Ratelimit-Limit":               {policy},
			"Ratelimit-Remaining":           {remaining},
			"Ratelimit-Reset":               {reset},
			"X-Ratelimit-Remaining":         {remaining},
			"X-Ratelimit-Reset":             {after},
			"X-Ratelimit-Reset-After":       {after},
			"X-Ratelimit-Requests-Reset":    {reset},
			"X-Shopify-Shop-Api-Call-Limit": {remaining},
			"X-Sentry-Rate-Limits":          {policy},
			"X-Retry-In":                    {after},
		}
		now := time.Unix(clock%(1<<40), 0)
		for _, reset := range []hint.ResetForm{hint.ResetBySize, hint.ResetDeltaMillis} {
			said := hint.Profile{Reset: reset}.ParseHeader(h, now)
			q, wait := said.Quota, said.MinWait(status)
			switch {
			case q.Limit < 0 || q.Remaining < 0 || q.Reset < 0 || q.Window < 0 || said.Wait < 0 || wait < 0:
				t.Fatalf("%v: negative: %+v, %v", h, said, wait)
			case !q.LimitKnown && q.Limit != 0 || !q.RemainingKnown && q.Remaining != 0 || !q.ResetKnown && q.Reset != 0:
				t.Fatalf("%v: said without being known: %+v", h, said)
			case status >= 300 && wait < said.Wait:
				t.Fatalf("%v: waits %v of %+v", h, wait, said)
			}
		}
		h.Set("Age", "1")
		if said := hint.ParseHeader(h, now); said.Quota != (hint.Quota{}) || said.Partition != "" {
			t.Fatalf("%v: from a cache: %+v", h, said)
		}
	})
}

// FuzzReset: a larger number in one form is never a shorter time, until the form changes.
func FuzzReset(f *testing.F) {
	f.Add(uint64(5), uint64(9))
	f.Add(uint64(9_223_372_036), uint64(999_999_999_999_999))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		const most = 999_999_999_999_999
		a, b = min(a%(most+1), b%(most+1)), max(a%(most+1), b%(most+1))
		read := func(format string, n uint64) time.Duration {
			h := http.Header{"Ratelimit": {fmt.Sprintf(format, n)}}
			said := hint.ParseHeader(h, noon)
			if !said.Quota.Exhausted() {
				t.Fatalf("%v: got %+v", h, said)
			}
			return said.Quota.Reset
		}
		for _, format := range []string{`"a";r=0;t=%d`, "remaining=0, reset=%d"} {
			if short, long := read(format, a), read(format, b); short > long {
				t.Fatalf("%s: %d gives %v, %d gives %v", format, a, short, b, long)
			}
		}
	})
}
