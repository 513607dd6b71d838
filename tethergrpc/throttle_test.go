package tethergrpc

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/tether-go/tether/retry"
)

// bucket is gRFC A6's retryThrottling. A failure takes its token before it is asked for.
type bucket struct{ tokens, most, ratio float64 }

func newBucket(most, ratio float64) *bucket { return &bucket{most, most, ratio} }

func (b *bucket) success() { b.tokens = min(b.tokens+b.ratio, b.most) }

func (b *bucket) failure() (again bool) {
	b.tokens = max(b.tokens-1, 0)
	return b.tokens > b.most/2+1e-9
}

// The arithmetic that A6 gives for 10 and 0.1, so that what is compared below is the real thing.
func TestBucketIsA6s(t *testing.T) {
	b := newBucket(10, 0.1)
	for n := 1; n <= 5; n++ {
		if again := b.failure(); again != (n < 5) {
			t.Errorf("failure %d: %v", n, again)
		}
	}
	for range 10 {
		b.success()
	}
	if b.failure() {
		t.Error("ten successes are not enough")
	}
	for range 11 {
		b.success()
	}
	if !b.failure() {
		t.Error("eleven successes are enough")
	}
}

// budgetOf is the budget that a retryThrottling becomes, as an engine starts it.
func budgetOf(t *testing.T, most, ratio float64) *retry.Budget {
	t.Helper()
	sc, err := ParseServiceConfig(throttleOf(fmt.Sprint(most), fmt.Sprint(ratio)), host)
	if err != nil {
		t.Fatal(err)
	}
	b, err := retry.NewBudget(*sc.Rules[0].Target.RetryBudget.Ratio, retry.BudgetOptions{Initial: 1})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a retryThrottling becomes, in figures: repeats that a sudden outage gets from a full purse, and how
// many successes after an outage allow one. (Ten times 0.1 is a little less than 1.)
func TestThrottlingVectors(t *testing.T) {
	for _, test := range []struct {
		most, ratio        float64
		a6Burst, burst     int
		a6Return, returned int // successes; -1: never
	}{
		{10, 0.1, 4, 1, 61, 11},
		{100, 0.1, 49, 1, 511, 11},
		{1000, 1, 499, 1, 502, 11},
		{10, 0.5, 4, 1, 13, 11},
		{10, 0.02, 4, 1, 301, 50},
		{3, 0.1, 1, 1, 26, 11},
		{2, 0.1, 0, 0, -1, -1},
		{1, 1, 0, 0, -1, -1},
	} {
		synctest.Test(t, func(t *testing.T) {
			a6, own := newBucket(test.most, test.ratio), budgetOf(t, test.most, test.ratio)
			burst, a6Burst := 0, 0
			for range 2000 {
				own.Call()
				if a6.failure() {
					a6Burst++
				}
				if own.Take() {
					burst++
				}
			}
			a6Return, returned := -1, -1
			for n := 1; n <= 2000; n++ {
				own.Call()
				own.Success()
				a6.success()
				if tried := *a6; a6Return < 0 && tried.failure() {
					a6Return = n
				}
				if returned < 0 && own.Take() {
					returned = n
				}
			}
			if own, a6 := [2]int{burst, returned}, [2]int{a6Burst, a6Return}; own != [2]int{test.burst, test.returned} ||
				a6 != [2]int{test.a6Burst, test.a6Return} {
				t.Errorf("%v, %v: ours %v, A6's %v", test.most, test.ratio, own, a6)
			}
		})
	}
}

// Whatever the traffic, the budget is within what A6 allows in the long run, and within law 1: a tenth of the
// successes, and what was saved at the start.
func TestThrottlingIsNeverLooser(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			most, ratio := float64(1+rng.IntN(1000)), float64(1+rng.IntN(1000))/1000
			own, bad := budgetOf(t, most, ratio), rng.Float64()
			repeats, successes := 0, 0
			for range 1000 {
				own.Call()
				if rng.Float64() > bad {
					own.Success()
					successes++
				} else if own.Take() {
					repeats++
				}
				if limit := 1 + min(ratio, 0.1)*float64(successes); float64(repeats) > limit+1e-6 {
					t.Fatalf("%v, %v: %d repeats for %d successes", most, ratio, repeats, successes)
				}
			}
		})
	}
}
