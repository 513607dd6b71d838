package retry_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/retry"
)

func budget(t testing.TB, ratio float64, initial int) *retry.Budget {
	t.Helper()
	b, err := retry.NewBudget(ratio, retry.BudgetOptions{Initial: initial})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drain takes all that is saved.
func drain(b *retry.Budget) (taken int) {
	for b.Take() {
		taken++
	}
	return taken
}

func TestBudgetSavesBySuccessOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, 0.1, 1)
		if n := drain(b); n != 1 {
			t.Fatalf("a new budget allowed %d, want 1", n)
		}
		time.Sleep(1000 * time.Hour)
		for range 1000 {
			b.Call()
		}
		if n := drain(b); n != 0 {
			t.Errorf("time and calls without success allowed %d", n)
		}
		for range 11 { // eleven tenths: one whole, whatever the rounding
			b.Success()
		}
		if n := drain(b); n != 1 {
			t.Errorf("eleven successes at a tenth allowed %d, want 1", n)
		}
	})
}

func TestBudgetRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, 0.1, 1)
		for range 1000 { // in no time: the window holds them all
			b.Call()
			b.Success()
		}
		if saved, room := b.Saved(); room != 100 || saved < 99.9 {
			t.Errorf("after 1,000 calls saved %v of %v, want 100 of 100", saved, room)
		}
		time.Sleep(5 * time.Second)
		if _, room := b.Saved(); room != 100 {
			t.Errorf("5 s later the room is %v, want 100 still", room)
		}
		time.Sleep(6 * time.Second)
		if saved, room := b.Saved(); saved != 2 || room != 2 {
			t.Errorf("11 s later saved %v of %v, want 2 of 2", saved, room)
		}
		if n := drain(b); n != 2 {
			t.Errorf("an idle client's budget allowed %d, want 2", n)
		}
	})
}

// A change of the configuration scales, and never refills: not by way of a lower ratio and back, and
// not while calls that fail make room (law 8, W18).
func TestW18BudgetRatioChangeNeverRefills(t *testing.T) {
	for _, test := range []struct {
		name  string
		taken int
		ratio float64
		want  float64
	}{
		{"the same", 30, 0.1, 70},
		{"halved", 50, 0.05, 25},
		{"doubled", 50, 0.2, 50},
		{"doubled when spent", 100, 0.2, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := budget(t, 0.1, 0)
				for range 1000 {
					b.Call()
					b.Success()
				}
				b.Success() // the sum of a thousand tenths falls short of 100 by rounding
				for range test.taken {
					b.Take()
				}
				if err := b.SetRatio(test.ratio); err != nil {
					t.Fatal(err)
				}
				if saved, _ := b.Saved(); math.Abs(saved-test.want) > 1e-6 {
					t.Errorf("saved %v, want %v", saved, test.want)
				}
			})
		})
	}
}

func TestBudgetOfNothing(t *testing.T) {
	b := budget(t, 0, 2)
	if b.Take() {
		t.Error("a ratio of 0 allowed a re-attempt")
	}
	if err := b.SetRatio(0.1); err != nil {
		t.Fatal(err)
	}
	if n := drain(b); n != 2 {
		t.Errorf("what was saved before the ratio was 0 allows %d, want 2", n)
	}
}

func TestBudgetRefund(t *testing.T) {
	b := budget(t, 0.1, 1)
	b.Take()
	b.Refund()
	if n := drain(b); n != 1 {
		t.Errorf("a refund allowed %d, want 1", n)
	}
}

func TestNewBudgetRefusesTheImpossible(t *testing.T) {
	for _, ratio := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if _, err := retry.NewBudget(ratio, retry.BudgetOptions{}); err == nil {
			t.Errorf("ratio %v was accepted", ratio)
		}
		if err := budget(t, 0.1, 0).SetRatio(ratio); err == nil {
			t.Errorf("SetRatio(%v) was accepted", ratio)
		}
	}
	for _, initial := range []int{-1, 3} {
		if _, err := retry.NewBudget(0.1, retry.BudgetOptions{Initial: initial}); err == nil {
			t.Errorf("an initial saving of %d was accepted", initial)
		}
	}
}

func TestW18BudgetLowRatioAndBackDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, 0.1, 1)
		for _, ratio := range []float64{0.01, 0.1, 0, 1, 0.01, 0.1} {
			for range 1000 {
				b.Call()
			}
			if err := b.SetRatio(ratio); err != nil {
				t.Fatal(err)
			}
			if saved, _ := b.Saved(); saved > 1 {
				t.Errorf("saved %v without a success", saved)
			}
		}
	})
}

// TestW18BudgetFillsAgain: whatever was spent, successes fill it up again (W18).
func TestW18BudgetFillsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, 0.1, 1)
		for range 100 {
			drain(b)
			for range 21 { // one more than two whole ones take, for the rounding
				b.Success()
			}
			if saved, room := b.Saved(); saved != room {
				t.Fatalf("saved %v of %v", saved, room)
			}
		}
	})
}

// TestBudgetProperty: in any history, re-attempts are at most what each success saved at the ratio of
// its time plus what was there at the start, changes of the ratio included.
func TestBudgetProperty(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			b := budget(t, 0.1, 1)
			allowed, taken, ratio := 1.0, 0.0, 0.1
			for range 2000 {
				switch rng.IntN(6) {
				case 0:
					b.Call()
				case 1:
					b.Call()
					b.Success()
					allowed += ratio
				case 2:
					if b.Take() {
						taken++
					}
				case 3:
					if b.Take() {
						b.Refund()
					}
				case 4:
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				case 5:
					for range rng.IntN(100) {
						b.Call() // that fails, and makes room
					}
					ratio = rng.Float64() * rng.Float64()
					if err := b.SetRatio(ratio); err != nil {
						t.Fatal(err)
					}
				}
				if taken > allowed+1e-9 {
					t.Fatalf("seed %d: %v re-attempts, %v earned", seed, taken, allowed)
				}
			}
			if taken == 0 {
				t.Fatalf("seed %d took nothing: it proves nothing", seed)
			}
		})
	}
}
