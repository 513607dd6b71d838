package remoteconfig

import (
	"math"
	"testing"
	"time"
)

func TestWaits(t *testing.T) {
	const five, day = 300 * time.Second, 24 * time.Hour
	tests := []struct {
		name      string
		wait      func(r float64) time.Duration
		low, high time.Duration
	}{
		{"usual", func(r float64) time.Duration { return usual(five, r) },
			270 * time.Second, 330 * time.Second},
		{"first, with a document", func(r float64) time.Duration { return firstWait(five, true, r, r) },
			0, 330 * time.Second},
		{"first, without", func(r float64) time.Duration { return firstWait(five, false, r, r) },
			0, time.Minute},
		{"first, without, short", func(r float64) time.Duration {
			return firstWait(30*time.Second, false, r, r)
		}, 0, 30 * time.Second},
		{"held shortly", func(r float64) time.Duration { return held(five, time.Second, r, r) },
			270 * time.Second, 330 * time.Second},
		{"held for less than a day", func(r float64) time.Duration { return held(day, time.Hour, r, r) },
			day * 9 / 10, day * 11 / 10},
		{"held", func(r float64) time.Duration { return held(five, 20*time.Minute, r, r) },
			20 * time.Minute, 25*time.Minute + 30*time.Second},
		{"held for ever", func(r float64) time.Duration { return held(five, math.MaxInt64, r, r) },
			time.Hour, time.Hour + five*11/10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if low, high := test.wait(0), test.wait(1); low != test.low || high != test.high {
				t.Errorf("from %v to %v, want %v to %v", low, high, test.low, test.high)
			}
		})
	}
}

// TestNoWaitIsTooShort looks at all intervals and phases: none asks more often than a
// good poll might, nor later than longestWait, and none is without jitter.
func TestNoWaitIsTooShort(t *testing.T) {
	for interval := minInterval; interval <= maxInterval; interval = interval*3/2 + 1 {
		for _, after := range []time.Duration{0, 1, time.Minute, time.Hour, math.MaxInt64} {
			low, high := held(interval, after, 0, 0), held(interval, after, 1, 1)
			if low < interval*9/10 || high > longestWait(interval) || high-low < interval/10-1 {
				t.Fatalf("interval %v, Retry-After %v: %v to %v", interval, after, low, high)
			}
		}
	}
}

func TestPeek(t *testing.T) {
	when := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	tests := []struct {
		document string
		want     facts
	}{
		{`{"document": "a", "version": 42, "expires": "2026-11-22T10:00:00Z", "pollInterval": "60s"}`,
			facts{"a", 42, when, time.Minute}},
		{`{"pollInterval": "1s"}`, facts{interval: time.Second}},
		{`{"pollInterval": "0.1s"}`, facts{interval: leastInterval}},
		{`{"pollInterval": "99999h"}`, facts{interval: maxInterval}},
		{`{"pollInterval": "0s"}`, facts{}},
		{`{"pollInterval": "-5s"}`, facts{}},
		{`{"pollInterval": 60, "version": -1, "document": [], "expires": "soon"}`, facts{}},
		{`{"PollInterval": "60s", "Version": 3}`, facts{}},
		{`{"rules": {"version": 3}}`, facts{}},
		{`{"version": 3`, facts{}},
		{`[]`, facts{}},
		{``, facts{}},
		{`null`, facts{}},
	}
	for _, test := range tests {
		if got := peek([]byte(test.document)); got != test.want {
			t.Errorf("peek(%s) = %+v, want %+v", test.document, got, test.want)
		}
	}
}

func TestSanePlan(t *testing.T) {
	now := time.Now()
	good := plan{Failures: 3, Attempt: now.Add(-time.Minute), Success: now.Add(-time.Hour),
		Next: now.Add(time.Minute), Hold: now.Add(time.Second)}
	if got := good.sane(now, time.Hour); got != good {
		t.Errorf("a good plan became %+v", got)
	}
	for name, spoil := range map[string]func(*plan){
		"failures":      func(p *plan) { p.Failures = -1 },
		"many failures": func(p *plan) { p.Failures = math.MaxInt },
		"attempt":       func(p *plan) { p.Attempt = now.Add(1) },
		"success":       func(p *plan) { p.Success = now.Add(1) },
		"next":          func(p *plan) { p.Next = now.Add(time.Hour + 1) },
		"hold":          func(p *plan) { p.Hold = now.Add(time.Hour + 1) },
	} {
		bad := good
		spoil(&bad)
		if got := bad.sane(now, time.Hour); got != (plan{}) {
			t.Errorf("%s: kept %+v", name, got)
		}
	}
}
