package hint_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
)

// zeros is longer than any part of an answer that is read.
var zeros = strings.Repeat("0", 200_000)

// TestLongNumbersAreRead reads numbers of any length by their first bytes. Law 2: no number, however large
// or malformed, turns into "now".
func TestLongNumbersAreRead(t *testing.T) {
	at := func(field, value string) http.Header { return http.Header{field: {value}, "Date": {noonDate}} }
	for name, test := range map[string]struct {
		h    http.Header
		want time.Duration
	}{
		"seconds":              {at("Retry-After", "60."+zeros), time.Minute},
		"milliseconds":         {at("Retry-After-Ms", "60000."+zeros), time.Minute},
		"the point comes last": {at("Retry-After", zeros[:125]+"60."+zeros), time.Minute},
		"a fraction counts":    {at("Retry-After", "60.5"+zeros), time.Minute + 500*time.Millisecond},
		"no point in sight":    {at("Retry-After", zeros+"60"), longest},
		"duration":             {at("X-Retry-In", "60."+zeros), time.Minute},
		"limit of Sentry":      {at("X-Sentry-Rate-Limits", "60."+zeros), time.Minute},
		"the list goes on":     {at("X-Sentry-Rate-Limits", strings.Repeat("60:a:b, ", 1000)), time.Minute},
		"number cut in two":    {at("X-Sentry-Rate-Limits", "60:"+zeros[:1018]+", 99"), time.Minute},
	} {
		if got := hint.ParseHeader(test.h, noon); !got.Explicit || got.Wait != test.want {
			t.Errorf("%s: got %v, %v, want %v", name, got.Explicit, got.Wait, test.want)
		}
	}
}

// TestLongQuotaNumbersAreRead is the same for the fields of a quota. law 2
func TestLongQuotaNumbersAreRead(t *testing.T) {
	want := hint.Quota{Limit: 10, LimitKnown: true, RemainingKnown: true, Reset: time.Minute, ResetKnown: true}
	for _, h := range []http.Header{
		{"X-Ratelimit-Limit": {"10"}, "X-Ratelimit-Remaining": {"0." + zeros}, "X-Ratelimit-Reset": {"60." + zeros}},
		{"X-Ratelimit-Limit": {"10." + zeros}, "X-Ratelimit-Remaining": {zeros}, "X-Ratelimit-Reset-After": {"60." + zeros}},
		{"Ratelimit-Limit": {"10" + strings.Repeat(", 20", 1000)}, "Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"60"}},
	} {
		if got := hint.ParseHeader(h, noon).Quota; got != want {
			t.Errorf("%.80v: got %+v, want %+v", h, got, want)
		}
	}
}

// TestLongWordsAreIgnored ignores a value that is too long and no number.
func TestLongWordsAreIgnored(t *testing.T) {
	long := strings.Repeat(" ", 128)
	for _, h := range []http.Header{
		{"Retry-After": {"60.5." + zeros}},
		{"Retry-After": {"-" + zeros}},
		{"X-Retry-In": {"60" + long + "s"}},
		{"X-Should-Retry": {long + "false"}},
		{"X-Ratelimit-Bucket": {strings.Repeat("b", 129)}},
		{"X-Ratelimit-Remaining": {"0" + long}},
		{"X-Shopify-Shop-Api-Call-Limit": {zeros + "/40"}},
		{"Ratelimit": {`"a";r=0;t=` + zeros}},
		{"Ratelimit": {`"a";r=0.` + zeros}},
	} {
		if got := hint.ParseHeader(h, noon); got != (hint.Hint{}) {
			t.Errorf("%.80v: got %.200v, want nothing", h, got)
		}
	}
}

// TestGRPCWorkIsBounded reads no pushback that is longer than a number can be, and no quota behind sixteen
// others.
func TestGRPCWorkIsBounded(t *testing.T) {
	if got := (hint.GRPC{Pushback: []string{zeros + "5"}}).Hint(); got.Verdict != hint.DontRepeat {
		t.Errorf("a long pushback: got %+v, want that it forbids the repeat", got)
	}
	long := hint.Violation{ID: strings.Repeat("q", 1<<20), Metric: "reads"}
	if got := (hint.GRPC{Violations: []hint.Violation{long}}).Hint(); got.Partition != "reads" {
		t.Errorf("a long ID: got %d bytes, want the metric", len(got.Partition))
	}
	many := append(make([]hint.Violation, 16), hint.Violation{ID: "last"})
	if got := (hint.GRPC{Violations: many}).Hint(); got.Partition != "" {
		t.Errorf("the seventeenth quota: got %q, want none", got.Partition)
	}
}

// FuzzLongNumbers pads a number with zeros behind its point: in every field it stays the same number. law 2
func FuzzLongNumbers(f *testing.F) {
	f.Add("60", uint16(200))
	f.Add("60.000000001", uint16(120))
	f.Add("1768479300", uint16(113))
	f.Add("1.2.3", uint16(500))
	f.Add("6m0s", uint16(500))
	f.Fuzz(func(t *testing.T, number string, n uint16) {
		if len(number) > 100 || strings.Trim(number, "0123456789.") != "" {
			return
		}
		padded := number + strings.Repeat("0", int(n))
		if !strings.Contains(number, ".") {
			padded = number + "." + strings.Repeat("0", int(n)+1)
		}
		for _, field := range []string{"Retry-After", "Retry-After-Ms", "X-Retry-In", "X-Sentry-Rate-Limits",
			"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "X-Ratelimit-Reset-After"} {
			short, long := hint.ParseHeader(http.Header{field: {number}}, noon), hint.Hint{}
			if long = hint.ParseHeader(http.Header{field: {padded}}, noon); long != short && number != "" &&
				!strings.HasSuffix(number, ".") {
				t.Fatalf("%s: %q gives %+v, %d bytes of it %+v", field, number, short, len(padded), long)
			}
		}
	})
}

// FuzzGRPC reads a pushback as gRFC A6 does: no number of 32 bits, no repeat. Nothing is ever negative.
func FuzzGRPC(f *testing.F) {
	f.Add("100", "reads", int64(5), int64(time.Second))
	f.Add("-1", "", int64(-5), int64(-1))
	f.Add("99999999999", strings.Repeat("q", 2000), int64(0), int64(longest))
	f.Fuzz(func(t *testing.T, pushback, id string, limit, delay int64) {
		said := hint.GRPC{Pushback: []string{pushback}, RetryDelay: time.Duration(delay), HasRetryDelay: true,
			Violations: []hint.Violation{{ID: id, Limit: limit}}}.Hint()
		if said.Wait < 0 || said.Quota.Limit < 0 || len(said.Partition) > 1024 {
			t.Fatalf("got %.200v", said)
		}
		if forbidden := said.Verdict == hint.DontRepeat; forbidden == said.Explicit {
			t.Fatalf("%.40q: a repeat is forbidden: %v, waits: %v", pushback, forbidden, said.Explicit)
		}
	})
}
