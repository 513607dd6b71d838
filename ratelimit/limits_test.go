package ratelimit

import "testing"

// TestLimitsRefuseNothingWhileOff turns both limits on and off: while a limit is off it refuses no call.
func TestLimitsRefuseNothingWhileOff(t *testing.T) {
	limiter, err := NewLimiter(LimitPolicy{}, LimiterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	concurrency, err := NewConcurrency(ConcurrencyPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		perSecond float64
		most      int
		adaptive  bool
		on        [2]bool
	}{
		{0, 0, false, [2]bool{false, false}},
		{1, 1, false, [2]bool{true, true}},
		{0, 0, false, [2]bool{false, false}},
		{0.001, 0, true, [2]bool{true, true}},
		{0.001, 5, true, [2]bool{true, true}},
		{-1, -1, false, [2]bool{true, true}}, // refused
		{0, 0, false, [2]bool{false, false}},
	} {
		if err := limiter.SetPolicy(LimitPolicy{PerSecond: step.perSecond}); (err != nil) != (step.perSecond < 0) {
			t.Fatal(err)
		}
		policy := ConcurrencyPolicy{Max: step.most, Adaptive: step.adaptive}
		if err := concurrency.SetPolicy(policy); (err != nil) != (step.most < 0) {
			t.Fatal(err)
		}
		if got := [2]bool{limiter.On(), concurrency.On()}; got != step.on {
			t.Errorf("%+v: on is %v", step, got)
		}
		for range 1000 {
			if _, err := limiter.Take(); err != nil && !step.on[0] {
				t.Fatalf("%+v: %v", step, err)
			}
			if slot, err := concurrency.Take(); (err != nil || slot != nil) && !step.on[1] {
				t.Fatalf("%+v: %v, %v", step, slot, err)
			}
		}
	}
}
