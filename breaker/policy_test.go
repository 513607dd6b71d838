package breaker

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWithDefaults(t *testing.T) {
	want := Policy{
		Mode: Auto, ConsecutiveFailures: 5, FailureRatio: 0.5, MinCalls: 20, Window: 30 * time.Second,
		OpenTime: time.Second, MaxOpenTime: 5 * time.Second, Probes: 1, ProbeLease: 10 * time.Second,
	}
	if got := (Policy{}).WithDefaults(); got != want {
		t.Errorf("defaults are %+v, want %+v", got, want)
	}
	if got := want.WithDefaults(); got != want {
		t.Errorf("not idempotent: %+v", got)
	}
	for open, want := range map[time.Duration]time.Duration{
		time.Second:      5 * time.Second,
		4 * time.Second:  5 * time.Second,
		8 * time.Second:  10 * time.Second,
		23 * time.Hour:   24 * time.Hour,
		math.MaxInt64:    24 * time.Hour,
		-1 * time.Second: 5 * time.Second,
	} {
		if got := (Policy{OpenTime: open}).WithDefaults().MaxOpenTime; got != want {
			t.Errorf("OpenTime %v: MaxOpenTime defaults to %v, want %v", open, got, want)
		}
	}
}

// TestValidate has impossible values for every field, so that a new field can't be forgotten.
func TestValidate(t *testing.T) {
	const tooLong, longest = 24*time.Hour + 1, time.Duration(math.MaxInt64)
	impossible := map[string][]any{
		"Mode":                {Mode("off"), Mode("AUTO")},
		"SlowCallRatio":       {-0.1, 1.01, math.NaN(), math.Inf(1)},
		"SlowCallDuration":    {time.Duration(-1), time.Millisecond - 1, tooLong},
		"ConsecutiveFailures": {-1, 1_000_001, math.MaxInt, math.MinInt},
		"FailureRatio":        {-0.1, 1.01, math.NaN(), math.Inf(1), math.Inf(-1)},
		"MinCalls":            {-1, 1_000_001},
		"Window":              {time.Duration(-1), 10*time.Millisecond - 1, tooLong},
		"OpenTime":            {time.Duration(-1), time.Millisecond - 1, tooLong, longest},
		"MaxOpenTime":         {time.Duration(-1), time.Second - 1, tooLong},
		"Probes":              {-1, 101},
		"ProbeLease":          {time.Duration(-1), time.Millisecond - 1, tooLong},
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Policy]()) {
		values, known := impossible[field.Name]
		if !known {
			t.Errorf("no impossible values for %s", field.Name)
		}
		for _, value := range values {
			var p Policy
			reflect.ValueOf(&p).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(value))
			err := p.Validate()
			if err == nil || !strings.Contains(err.Error(), "breaker: "+field.Name+" is ") {
				t.Errorf("%s %v: error is %v", field.Name, value, err)
			}
			if b, err := New(p, Options{}); b != nil || err == nil {
				t.Errorf("%s %v: New returned %v, %v", field.Name, value, b, err)
			}
		}
	}
	err := Policy{Probes: -1, MinCalls: -1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "Probes") ||
		!strings.Contains(err.Error(), "MinCalls") {
		t.Errorf("not every problem is listed: %v", err)
	}
}

func TestValidateAccepts(t *testing.T) {
	for _, p := range []Policy{
		{},
		{Mode: ForcedClosed},
		{OpenTime: time.Hour},
		{OpenTime: 23 * time.Hour},
		{OpenTime: 5 * time.Second, MaxOpenTime: 5 * time.Second},
		{ConsecutiveFailures: 1_000_000, MinCalls: 1_000_000, Probes: 100, FailureRatio: 1},
		{Window: 10 * time.Millisecond, OpenTime: time.Millisecond, ProbeLease: time.Millisecond},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestOpenTime holds random policies to: at most MaxOpenTime, at least 0.6 of what the doubling
// says, spread over at least 40 % of the longest, and growing with the phase.
func TestOpenTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		open := minTime + time.Duration(rng.Int64N(int64(maxTime-minTime)))
		p := Policy{OpenTime: open, MaxOpenTime: open + time.Duration(rng.Int64N(int64(maxTime-open)+1))}
		doublings := rng.IntN(40)
		if rng.IntN(10) == 0 {
			doublings = math.MaxInt
		}
		least, most := p.openTime(doublings, 0), p.openTime(doublings, math.Nextafter(1, 0))
		grown := float64(p.OpenTime) * math.Exp2(float64(doublings))
		wanted := min(grown, float64(p.MaxOpenTime))
		if most > p.MaxOpenTime || float64(least) < 0.599*wanted {
			t.Fatalf("%+v after %d doublings: %v to %v", p, doublings, least, most)
		}
		if float64(most-least) < 0.39*float64(most) {
			t.Fatalf("%+v after %d doublings: only %v to %v", p, doublings, least, most)
		}
		for _, phase := range []float64{math.NaN(), 1, -1, math.Inf(1)} {
			if got := p.openTime(doublings, phase); got <= least || got >= most {
				t.Fatalf("phase %v became %v", phase, got)
			}
		}
	}
}
