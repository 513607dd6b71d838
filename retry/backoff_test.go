package retry_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tether-go/tether/retry"
)

// highest draws the top of every interval, so that ceilings become visible.
func highest() float64 { return math.Nextafter(1, 0) }

func TestBackoffCeilings(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy retry.Policy
		want   []time.Duration
	}{
		{"defaults", retry.Policy{}, []time.Duration{
			250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second,
			5 * time.Second, 5 * time.Second}},
		{"initial above the default cap", retry.Policy{InitialBackoff: 9 * time.Second}, []time.Duration{
			9 * time.Second, 9 * time.Second}},
		{"no growth", retry.Policy{InitialBackoff: time.Second, Multiplier: 1}, []time.Duration{
			time.Second, time.Second, time.Second}},
		{"equal", retry.Policy{Jitter: retry.JitterEqual}, []time.Duration{
			250 * time.Millisecond, 500 * time.Millisecond, time.Second}},
		{"decorrelated", retry.Policy{Jitter: retry.JitterDecorrelated}, []time.Duration{
			750 * time.Millisecond, 2250 * time.Millisecond, 5 * time.Second, 5 * time.Second}},
		{"decorrelated, slower", retry.Policy{Jitter: retry.JitterDecorrelated, Multiplier: 1},
			[]time.Duration{375 * time.Millisecond, 562500 * time.Microsecond}},
	} {
		t.Run(test.name, func(t *testing.T) {
			backoff := test.policy.Backoff(highest)
			for i, want := range test.want {
				if got := backoff.Next(); want-got > time.Microsecond || got > want {
					t.Errorf("delay %d is %v, want just under %v", i+1, got, want)
				}
			}
		})
	}
}

// lowest draws the bottom of every interval.
func lowest() float64 { return 0 }

func TestBackoffFloors(t *testing.T) {
	for _, test := range []struct {
		policy retry.Policy
		want   []time.Duration
	}{
		{retry.Policy{}, []time.Duration{0, 0, 0}},
		{retry.Policy{Jitter: retry.JitterEqual}, []time.Duration{
			125 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond}},
		{retry.Policy{Jitter: retry.JitterDecorrelated}, []time.Duration{
			250 * time.Millisecond, 250 * time.Millisecond, 250 * time.Millisecond}},
		{retry.Policy{Jitter: retry.JitterDecorrelated, InitialBackoff: time.Second,
			MaxBackoff: time.Second}, []time.Duration{500 * time.Millisecond, 500 * time.Millisecond}},
	} {
		backoff := test.policy.Backoff(lowest)
		for i, want := range test.want {
			if got := backoff.Next(); got != want {
				t.Errorf("%q: delay %d is at least %v, want %v", test.policy.Jitter, i+1, got, want)
			}
		}
	}
}

// Law 3: of calls that failed together, no tenth of the time until the last one's repeat sees many
// more than a fair share of them: for their first repeats, and at the cap, where they gather.
func TestLaw3EveryJitterIsSpread(t *testing.T) {
	for jitter, most := range map[retry.Jitter]int{"": 1100, retry.JitterFull: 1100,
		retry.JitterEqual:        2200, // half of the time
		retry.JitterDecorrelated: 2200, // no less than half of it, wherever the cap is
	} {
		for _, initial := range []time.Duration{250 * time.Millisecond, 5 * time.Second} {
			for _, n := range []int{1, 2, 9} {
				policy := retry.Policy{Jitter: jitter, InitialBackoff: initial}
				rng := rand.New(rand.NewPCG(1, 2))
				delays := make([]time.Duration, 10_000)
				for i := range delays {
					backoff := policy.Backoff(rng.Float64)
					for range n {
						delays[i] = backoff.Next()
					}
				}
				slices.Sort(delays)
				tenth := delays[len(delays)-1] / 10
				first := 0
				for i, d := range delays {
					for d-delays[first] > tenth {
						first++
					}
					if i-first >= most*105/100 { // the deviation of a fair draw is 30 of 1,000
						t.Fatalf("%q from %v: delay no. %d: %d of 10,000 calls within %v from %v",
							jitter, initial, n, i-first+1, tenth, delays[first])
					}
				}
			}
		}
	}
}

// nth returns the n-th delay of a call that has drawn its longest delays so far.
func nth(policy retry.Policy, n int, last func() float64) time.Duration {
	draw := highest
	backoff := policy.Backoff(func() float64 { return draw() })
	for range n - 1 {
		backoff.Next()
	}
	draw = last
	return backoff.Next()
}

// FuzzBackoff: whatever a valid policy says, delays are from 0 to the cap and ceilings never fall, and
// every interval is at least half as wide as its end is far.
func FuzzBackoff(f *testing.F) {
	for _, jitter := range []string{"", "full", "equal", "decorrelated"} {
		f.Add(int64(time.Second), int64(time.Minute), 2.0, jitter)
		f.Add(int64(1), int64(math.MaxInt64), 100.0, jitter)
		f.Add(int64(math.MaxInt64), int64(math.MaxInt64), 1.5, jitter)
	}
	f.Fuzz(func(t *testing.T, initial, most int64, multiplier float64, jitter string) {
		policy := retry.Policy{InitialBackoff: time.Duration(initial), MaxBackoff: time.Duration(most),
			Multiplier: multiplier, Jitter: retry.Jitter(jitter)}
		if policy.Validate() != nil {
			t.Skip("not a policy")
		}
		for _, n := range []int{1, 2, 10, 10_000} {
			low, high := nth(policy, n, lowest), nth(policy, n, highest)
			if high-low < high/2-high/1e6-1 {
				t.Fatalf("delay %d is drawn from %v to %v", n, low, high)
			}
		}
		backoff := policy.Backoff(highest)
		var at float64 // where in its interval the last delay of spread is
		spread := policy.Backoff(func() float64 { return at })
		var before time.Duration
		for i := range 10_000 {
			at = float64(i%7) / 7
			if d := spread.Next(); d < 0 || d > policy.WithDefaults().MaxBackoff {
				t.Fatalf("delay %d is %v, cap %v", i+1, d, policy.WithDefaults().MaxBackoff)
			}
			d := backoff.Next()
			if d < before-before/1e6-1 || d < 0 || d > policy.WithDefaults().MaxBackoff {
				t.Fatalf("delay %d is %v after %v, cap %v", i+1, d, before, policy.WithDefaults().MaxBackoff)
			}
			before = d
		}
	})
}

func TestPolicyValidate(t *testing.T) {
	for _, bad := range []retry.Policy{
		{MaxAttempts: -1}, {MaxAttempts: 11}, {InitialBackoff: -1}, {MaxBackoff: -1},
		{InitialBackoff: time.Second, MaxBackoff: time.Millisecond}, {Multiplier: 0.5},
		{Multiplier: math.NaN()}, {Multiplier: math.Inf(1)}, {Jitter: "none"}, {Jitter: "Full"},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	for _, good := range []retry.Policy{{}, {Disabled: true}, {MaxAttempts: 1}, {Multiplier: 1}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}
