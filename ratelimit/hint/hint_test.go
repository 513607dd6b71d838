package hint_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
)

func ExampleProfile_ParseHeader() {
	h := http.Header{}
	h.Set("X-Rate-Limit-Remaining", "0")
	h.Set("X-Rate-Limit-Reset", "600000") // milliseconds, which no value of it tells

	profile := hint.Profile{Reset: hint.ResetDeltaMillis}
	said := profile.ParseHeader(h, time.Now())
	fmt.Println(said.MinWait(http.StatusTooManyRequests))
	// Output: 10m0s
}

func TestProfile(t *testing.T) {
	for _, bad := range []hint.Profile{{Reset: "ms"}, {Bare429: -1}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	h := http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1768478430"}, "Date": {noonDate}}
	for form, want := range map[hint.ResetForm]time.Duration{
		hint.ResetBySize:       30 * time.Second,
		hint.ResetDeltaSeconds: 1768478430 * time.Second,
		hint.ResetDeltaMillis:  1768478430 * time.Millisecond,
	} {
		profile := hint.Profile{Reset: form}
		if got := profile.ParseHeader(h, noon).Quota.Reset; got != want || profile.Validate() != nil {
			t.Errorf("%q: got %v, want %v", form, got, want)
		}
	}
	bare := hint.Profile{Bare429: time.Minute}.ParseHeader(nil, noon)
	if bare.MinWait(429) != time.Minute || bare.MinWait(503) != 0 || bare.MinWait(200) != 0 {
		t.Errorf("a bare 429 is %v, a 503 %v, a 200 %v", bare.MinWait(429), bare.MinWait(503), bare.MinWait(200))
	}
}

func TestScopes(t *testing.T) {
	tests := []struct {
		h         http.Header
		partition string
		scope     hint.Scope
	}{
		{http.Header{"X-Ratelimit-Bucket": {"b"}, "X-Ratelimit-Scope": {"user"}}, "b", hint.SomeRequests},
		{http.Header{"X-Ratelimit-Resource": {"search"}}, "search", hint.SomeRequests},
		{http.Header{"X-Ratelimit-Bucket": {"b"}, "X-Ratelimit-Global": {"true"}}, "global", hint.AllRequests},
		{http.Header{"X-Ratelimit-Scope": {"shared"}}, "shared", hint.AllRequests},
		{http.Header{"Ratelimit": {`"a";r=1`}}, "a", hint.OnePolicy},
		{http.Header{"Ratelimit": {`"a";r=1, "b";r=2`}}, "a", hint.AllRequests},
		{http.Header{"Ratelimit": {"remaining=1, reset=2"}, "X-Ratelimit-Bucket": {"b"}}, "b", hint.SomeRequests},
		{http.Header{"X-Ratelimit-Requests-Remaining": {"1"}}, "requests", hint.AllRequests},
		{http.Header{"X-Ratelimit-Bucket": {strings.Repeat("b", 1000)}}, "", hint.AllRequests},
	}
	for _, test := range tests {
		got := hint.ParseHeader(test.h, noon)
		if got.Partition != test.partition || got.Scope != test.scope {
			t.Errorf("%v: got %q, %d, want %q, %d", test.h, got.Partition, got.Scope, test.partition, test.scope)
		}
	}
}

// TestStructuredWorkIsBounded: a list as long as RFC 9651 section 3.1 asks for is read, one without
// end is not.
func TestStructuredWorkIsBounded(t *testing.T) {
	h := http.Header{"Ratelimit": slicesOf(`"a";r=1`, 1024)}
	if got := hint.ParseHeader(h, noon); got.Quota.Remaining != 1 {
		t.Errorf("1024 members: got %+v", got)
	}
	h = http.Header{"Ratelimit": {`"a";r=1;t=1` + strings.Repeat(" ", 1<<20)}}
	if got := hint.ParseHeader(h, noon); got.Quota.RemainingKnown {
		t.Errorf("a megabyte: got %+v", got)
	}
}

func TestMinWait(t *testing.T) {
	exhausted := hint.Quota{RemainingKnown: true, Reset: 9 * time.Second, ResetKnown: true}
	tests := []struct {
		hint   hint.Hint
		status int
		want   time.Duration
	}{
		{hint.Hint{Wait: 5 * time.Second, Explicit: true}, 200, 0},
		{hint.Hint{Wait: 5 * time.Second, Explicit: true}, 301, 5 * time.Second},
		{hint.Hint{Wait: 5 * time.Second, Explicit: true, Quota: exhausted}, 429, 5 * time.Second},
		{hint.Hint{Explicit: true, Quota: exhausted}, 429, 0},
		{hint.Hint{Wait: 5 * time.Second}, 0, 5 * time.Second},
		{hint.Hint{Wait: -5}, 0, 0},
		{hint.Hint{Quota: exhausted}, 200, 0},
		{hint.Hint{Quota: exhausted}, 301, 0},
		{hint.Hint{Quota: exhausted}, 404, 9 * time.Second},
		{hint.Hint{Quota: exhausted}, 0, 9 * time.Second},
		{hint.Hint{Quota: hint.Quota{RemainingKnown: true, Remaining: 1, Reset: 9, ResetKnown: true}}, 429, 0},
	}
	for _, test := range tests {
		if got := test.hint.MinWait(test.status); got != test.want {
			t.Errorf("%+v, %d: got %v, want %v", test.hint, test.status, got, test.want)
		}
	}
}
