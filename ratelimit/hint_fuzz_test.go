package ratelimit_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/ratelimit"
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
		hint := ratelimit.ParseHeader(h, now)
		if hint.Wait < 0 || !hint.Explicit && hint.Wait != 0 {
			t.Fatalf("%v: got %+v", h, hint)
		}
		// The first field with a wait decides alone, and one line more never shortens it.
		for _, field := range waitFields {
			alone := ratelimit.ParseHeader(http.Header{
				field: h[field], "Date": h["Date"], "Age": h["Age"],
			}, now)
			if !alone.Explicit {
				continue
			}
			if alone != hint {
				t.Fatalf("%v: got %+v, but %s alone gives %+v", h, hint, field, alone)
			}
			h[field] = append([]string{"86400"}, h[field]...)
			if more := ratelimit.ParseHeader(h, now); len(h[field]) <= 16 && more.Wait < hint.Wait {
				t.Fatalf("%v: a line more gives %v after %v", h, more.Wait, hint.Wait)
			}
			return
		}
		if hint.Explicit {
			t.Fatalf("%v: got %+v from no field", h, hint)
		}
	})
}
