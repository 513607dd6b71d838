package hint_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
)

const longest = time.Duration(math.MaxInt64)

// noon is the moment of most answers here; noonDate is its date form.
var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

const noonDate = "Thu, 15 Jan 2026 12:00:00 GMT"

var waitFields = []string{
	"Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Amz-Retry-After", "Retry-After",
}

func ExampleParseHeader() {
	h := http.Header{}
	h.Set("Date", "Thu, 15 Jan 2026 12:00:00 GMT")
	h.Set("Retry-After", "Thu, 15 Jan 2026 12:02:00 GMT")

	said := hint.ParseHeader(h, time.Now())
	fmt.Println(said.Explicit, said.Wait)
	// Output: true 2m0s
}

func TestParseHeaderVectors(t *testing.T) {
	var file struct {
		Vectors []struct {
			Name    string
			Headers map[string][]string
			Now     time.Time
			Expect  struct {
				RetryAfterMS *int64 `json:"retry_after_ms"`
			}
		}
	}
	data, err := os.ReadFile("testdata/retry_after.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range file.Vectors {
		h := http.Header{}
		for name, lines := range v.Headers {
			for _, line := range lines {
				h.Add(name, line)
			}
		}
		got := hint.ParseHeader(h, v.Now)
		want := v.Expect.RetryAfterMS
		if got.Explicit != (want != nil) || want != nil && milliseconds(got.Wait) != *want {
			t.Errorf("%s: got %+v, want %s ms", v.Name, got, show(want))
		}
	}
}

// milliseconds rounds up, but not the longest wait, which is no whole number of them.
func milliseconds(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d%time.Millisecond != 0 && d != longest {
		ms++
	}
	return ms
}

func show(ms *int64) string {
	if ms == nil {
		return "no"
	}
	return fmt.Sprint(*ms)
}

func TestNumbers(t *testing.T) {
	const none = time.Duration(-1)
	tests := []struct {
		value string
		units time.Duration // whole units; longest for a saturated wait in seconds
	}{
		{"0", 0},
		{"-1", none},
		{"1000000000", 1e9},
		{"2147483648", 1 << 31},
		{"9223372036", 9223372036},
		{"9223372037", longest},
		{"9223372036854775807", longest},
		{"9223372036854775808", longest},
		{"18446744073709551616", longest}, // 2^64, zero in 64 bits
		{strings.Repeat("9", 30), longest},
		{strings.Repeat("9", 129), longest},
		{strings.Repeat("9", 100_000), longest},
		{strings.Repeat("x", 100_000), none},
		{"+5", none},
		{" 5 ", 5},
		{"\t5", 5},
		{"5, 7", none},
		{"5;7", none},
		{"5 7", none},
		{"²", none},
		{"٣", none},
		{"0x10", none},
		{"1_000", none},
		{"1e3", none},
		{"NaN", none},
		{"Inf", none},
		{"", none},
		{".", none},
		{"1.2.3", none},
		{"-0", none},
		{"5s", none},
	}
	for _, test := range tests {
		for _, field := range waitFields {
			unit := time.Millisecond
			if field == "Retry-After" {
				unit = time.Second
			}
			want := hint.Hint{}
			if test.units != none {
				want = hint.Hint{Wait: longest, Explicit: true}
				if test.units != longest {
					want.Wait = test.units * unit
				}
			}
			// In milliseconds this one still fits.
			if unit == time.Millisecond && test.value == "9223372037" {
				want.Wait = 9223372037 * unit
			}
			got := hint.ParseHeader(http.Header{field: {test.value}}, noon)
			if got != want {
				t.Errorf("%s: %.40q: got %+v, want %+v", field, test.value, got, want)
			}
		}
	}
}

// TestNumbersAreExact holds every number against arithmetic that can't overflow: the wait is the
// number rounded up to a nanosecond, or the longest. From that it follows that a larger hint never
// gives a shorter wait; the test shows that too, for pairs next to each other.
func TestNumbersAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type parsed struct {
		value *big.Rat
		wait  time.Duration
	}
	for _, field := range waitFields {
		unit := int64(time.Millisecond)
		if field == "Retry-After" {
			unit = int64(time.Second)
		}
		var all []parsed
		for range 4000 {
			text := randomNumber(rng)
			got := hint.ParseHeader(http.Header{field: {text}}, noon)
			value, ok := new(big.Rat).SetString(text)
			if !ok || !got.Explicit {
				t.Fatalf("%s: %q: got %+v, want a wait", field, text, got)
			}
			if want := exactWait(value, unit); got.Wait != want {
				t.Fatalf("%s: %q: got %d, want %d", field, text, got.Wait, want)
			}
			all = append(all, parsed{value, got.Wait})
		}
		for range 10_000 {
			a, b := all[rng.IntN(len(all))], all[rng.IntN(len(all))]
			if byValue := a.value.Cmp(b.value); byValue*cmp.Compare(a.wait, b.wait) < 0 {
				t.Fatalf("%s: %v waits %v but %v waits %v", field, a.value, a.wait, b.value, b.wait)
			}
		}
	}
}

// randomNumber favours the numbers round the largest that fits.
func randomNumber(rng *rand.Rand) string {
	digits := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte('0' + byte(rng.IntN(10)))
		}
		return b.String()
	}
	whole := digits(1 + rng.IntN(24))
	switch rng.IntN(4) {
	case 0:
		whole = "922337203" + digits(1)
	case 1:
		whole = "922337203685" + digits(1)
	}
	if rng.IntN(2) == 0 {
		return whole
	}
	return whole + "." + digits(1+rng.IntN(14))
}

func exactWait(value *big.Rat, unit int64) time.Duration {
	ns := new(big.Rat).Mul(value, new(big.Rat).SetInt64(unit))
	up, rest := new(big.Int).QuoRem(ns.Num(), ns.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		up.Add(up, big.NewInt(1))
	}
	if !up.IsInt64() {
		return longest
	}
	return time.Duration(up.Int64())
}

// TestDateFormsAgreeWithSeconds: n seconds and the date n seconds later are one hint, in all three
// forms, whatever the local clock says.
func TestDateFormsAgreeWithSeconds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	layouts := []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC}
	offsets := []time.Duration{0, -24 * time.Hour, 24 * time.Hour, -50 * 365 * 24 * time.Hour}
	for range 2000 {
		date := time.Unix(rng.Int64N(4e9), 0).UTC()
		seconds := rng.Int64N(49 * 365 * 24 * 3600)
		until := date.Add(time.Duration(seconds) * time.Second)
		want := hint.ParseHeader(http.Header{"Retry-After": {fmt.Sprint(seconds)}}, date)
		for _, layout := range layouts {
			h := http.Header{
				"Date":        {date.Format(http.TimeFormat)},
				"Retry-After": {until.Format(layout)},
			}
			now := date.Add(offsets[rng.IntN(len(offsets))])
			if got := hint.ParseHeader(h, now); got != want || !got.Explicit {
				t.Fatalf("%v, clock at %v: got %+v, want %+v", h, now, got, want)
			}
		}
	}
}

func TestDates(t *testing.T) {
	tests := []struct {
		name             string
		date, age, value string
		want             time.Duration // -1: no hint
	}{
		{"local clock, to its fraction", "", "", "Thu, 15 Jan 2026 12:00:30 GMT",
			29*time.Second + 600*time.Millisecond},
		{"past on the local clock", "", "", "Thu, 15 Jan 2026 11:00:00 GMT", 0},
		{"empty Date", " ", "", "Thu, 15 Jan 2026 12:00:01 GMT", 600 * time.Millisecond},
		{"Date after the local clock", "Thu, 15 Jan 2026 13:00:00 GMT", "",
			"Thu, 15 Jan 2026 13:00:05 GMT", 5 * time.Second},
		{"Age as large as it counts", noonDate, "2147483647", "Fri, 01 Jan 2100 00:00:00 GMT",
			time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Sub(noon) - (1<<31-1)*time.Second},
		{"Age with a fraction is invalid", noonDate, "1.5", "Thu, 15 Jan 2026 12:00:05 GMT",
			5 * time.Second},
		{"fifty years ahead to the second", noonDate, "", "Wednesday, 15-Jan-76 12:00:00 GMT",
			time.Date(2076, 1, 15, 12, 0, 0, 0, time.UTC).Sub(noon)},
		{"a second more is 1976", noonDate, "", "Wednesday, 15-Jan-76 12:00:01 GMT", 0},
		{"over the turn of a century", "Fri, 31 Dec 2099 23:59:50 GMT", "",
			"Friday, 01-Jan-00 00:00:10 GMT", 20 * time.Second},
		{"first to last year", "Mon, 01 Jan 0001 00:00:00 GMT", "",
			"Fri, 31 Dec 9999 23:59:59 GMT", longest},
		{"last to first year", "Fri, 31 Dec 9999 23:59:59 GMT", "",
			"Mon, 01 Jan 0001 00:00:00 GMT", 0},
		{"weekday that does not match", noonDate, "", "Mon, 15 Jan 2026 12:00:05 GMT",
			5 * time.Second},
		{"no such day", noonDate, "", "Thu, 31 Feb 2026 12:00:05 GMT", -1},
		{"other zone", noonDate, "", "Thu, 15 Jan 2026 12:00:05 UTC", -1},
		{"numeric zone", noonDate, "", "Thu, 15 Jan 2026 12:00:05 +0000", -1},
		{"RFC 3339", noonDate, "", "2026-01-15T12:00:05Z", -1},
		{"sixty and nothing", noonDate, "", ":60", -1},
	}
	now := noon.Add(400 * time.Millisecond)
	for _, test := range tests {
		h := http.Header{"Retry-After": {test.value}}
		if test.date != "" {
			h.Set("Date", test.date)
		}
		if test.age != "" {
			h.Set("Age", test.age)
		}
		want := hint.Hint{Wait: test.want, Explicit: true}
		if test.want < 0 {
			want = hint.Hint{}
		}
		if got := hint.ParseHeader(h, now); got != want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, want)
		}
	}
}

// TestWorkIsBounded: a hostile answer costs no more than 16 lines of a field, and 128 bytes of
// each. What lies beyond is never looked at, so it can't shorten a wait either.
func TestWorkIsBounded(t *testing.T) {
	lines := make([]string, 17)
	for i := range lines {
		lines[i] = fmt.Sprint(i + 1)
	}
	pad := strings.Repeat(" ", 128)
	tests := []struct {
		name string
		h    http.Header
		want hint.Hint
	}{
		{"lines", http.Header{"Retry-After": lines},
			hint.Hint{Wait: 16 * time.Second, Explicit: true}},
		{"digits", http.Header{"Retry-After": {strings.Repeat("0", 128) + "x"}},
			hint.Hint{Wait: longest, Explicit: true}},
		{"space", http.Header{"Retry-After": {pad + "5"}}, hint.Hint{}},
		{"date", http.Header{"Retry-After": {pad + "Thu, 15 Jan 2026 12:00:05 GMT"}}, hint.Hint{}},
		{"Date", http.Header{
			"Retry-After": {"Thu, 15 Jan 2026 12:00:05 GMT"},
			"Date":        {pad + "Thu, 15 Jan 2026 11:00:00 GMT"},
		}, hint.Hint{Wait: 5 * time.Second, Explicit: true}},
	}
	for _, test := range tests {
		if got := hint.ParseHeader(test.h, noon); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestParseHeaderAllocatesNothing(t *testing.T) {
	h := http.Header{
		"Date":                {noonDate},
		"Content-Type":        {"application/json"},
		"Age":                 {"20"},
		"X-Ratelimit-Reset":   {"60"},
		"Retry-After-Seconds": {"60"},
	}
	seconds := http.Header{"Retry-After": {"120"}, "Date": {noonDate}}
	for name, h := range map[string]http.Header{"no hint": h, "nil": nil, "seconds": seconds} {
		allocs := testing.AllocsPerRun(100, func() { hint.ParseHeader(h, noon) })
		if allocs != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, allocs)
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	headers := map[string]http.Header{
		"none": {
			"Date": {noonDate}, "Content-Type": {"application/json"}, "Vary": {"Accept"},
			"Content-Length": {"512"}, "Cache-Control": {"no-store"}, "Etag": {`"a"`},
			"Server": {"x"}, "X-Request-Id": {"y"}, "Connection": {"keep-alive"},
		},
		"seconds": {"Date": {noonDate}, "Retry-After": {"120"}},
		"date":    {"Date": {noonDate}, "Retry-After": {"Thu, 15 Jan 2026 12:02:00 GMT"}},
		"ietf":    {"Date": {noonDate}, "Ratelimit": {`"a";r=12;t=31`}, "Ratelimit-Policy": {`"a";q=60;w=60`}},
		"github": {"Date": {noonDate}, "X-Ratelimit-Limit": {"60"}, "X-Ratelimit-Remaining": {"12"},
			"X-Ratelimit-Reset": {"1768479300"}, "X-Ratelimit-Resource": {"core"}},
		"asctime":      {"Date": {noonDate}, "Retry-After": {"Thu Jan 15 12:02:00 2026"}},
		"hostile":      {"Retry-After": slicesOf(strings.Repeat("9", 1<<20), 1000)},
		"hostile list": {"Ratelimit": slicesOf(`"a";r=1;t=1`, 5000)},
		"many names":   manyNames(10_000),
	}
	for name, h := range headers {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hint.ParseHeader(h, noon)
			}
		})
	}
}

func slicesOf(s string, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = s
	}
	return lines
}

func manyNames(n int) http.Header {
	h := make(http.Header, n)
	for i := range n {
		h[fmt.Sprint("X-Ratelimit-Reset-", i)] = []string{"1"}
	}
	return h
}
