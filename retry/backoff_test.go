package retry_test

import (
	"math"
	"math/rand/v2"
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

func TestBackoffIsSpreadAndNeverOverTheCap(t *testing.T) {
	const draws = 10_000
	rng := rand.New(rand.NewPCG(1, 2))
	backoff := retry.Policy{}.Backoff(rng.Float64)
	for range 10 {
		backoff.Next() // to the cap
	}
	var tenths [10]int
	for range draws {
		d := backoff.Next()
		if d < 0 || d > 5*time.Second {
			t.Fatalf("delay %v is outside of [0, 5s]", d)
		}
		tenths[d*10/(5*time.Second+1)]++
	}
	for i, n := range tenths { // 1,000 expected, the deviation of a fair draw is 30
		if n < 850 || n > 1150 {
			t.Errorf("tenth %d of the interval got %d of %d draws", i, n, draws)
		}
	}
}

// FuzzBackoff: whatever a valid policy says, delays are from 0 to the cap and ceilings never fall.
func FuzzBackoff(f *testing.F) {
	f.Add(int64(time.Second), int64(time.Minute), 2.0)
	f.Add(int64(1), int64(math.MaxInt64), 100.0)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), 1.5)
	f.Fuzz(func(t *testing.T, initial, most int64, multiplier float64) {
		policy := retry.Policy{
			InitialBackoff: time.Duration(initial), MaxBackoff: time.Duration(most), Multiplier: multiplier}
		if policy.Validate() != nil {
			t.Skip("not a policy")
		}
		backoff := policy.Backoff(highest)
		var before time.Duration
		for i := range 10_000 {
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
		{Multiplier: math.NaN()}, {Multiplier: math.Inf(1)},
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
