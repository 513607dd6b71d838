package retry_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/retry"
)

// within returns budgets of these ratios that share one purse, all starting with the same.
func within(t *testing.T, initial int, ratios ...float64) (shared *retry.Budget, all []*retry.Budget) {
	t.Helper()
	shared = budget(t, 1, initial)
	for _, ratio := range ratios {
		b, err := retry.NewBudget(ratio, retry.BudgetOptions{Initial: initial, Within: shared})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return shared, all
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestBudgetsWithinOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, all := within(t, 1, 0.1, 0.1, 0.5, 0)
		if all[3].Take() {
			t.Error("a ratio of 0 allowed a re-attempt")
		}
		if !all[0].Take() || all[0].Take() || all[1].Take() || all[2].Take() {
			t.Error("not one re-attempt was allowed to all of them together")
		}
		all[0].Refund()
		if saved, _ := shared.Saved(); saved != 1 {
			t.Errorf("%v saved after the refund", saved)
		}
		if !all[1].Take() {
			t.Error("what one gave back the other can't take")
		}
		for range 21 {
			all[0].Success()
		}
		all[2].Success()
		if saved, _ := shared.Saved(); !near(saved, 2) { // 2.1 by the one, 0.5 by the other: an idle purse holds 2
			t.Errorf("%v saved together", saved)
		}
		if all[1].Take() {
			t.Error("one took what another saved")
		}
		if n := drain(all[0]); n != 2 {
			t.Errorf("who saved it took %d, want 2", n)
		}
		if saved, room := all[2].Saved(); saved != 0 || room != 2 {
			t.Errorf("%v of %v saved, where the purse is empty", saved, room)
		}
	})
}

// TestBudgetsWithinOneRoom: the purse grows with the calls of all, each by its own ratio.
func TestBudgetsWithinOneRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, all := within(t, 1, 0.1, 0.2)
		for range 100 {
			for _, b := range all {
				b.Call()
				b.Success()
			}
		}
		if saved, room := shared.Saved(); !near(room, 30) || saved < 29 {
			t.Errorf("%v of %v", saved, room)
		}
		time.Sleep(11 * time.Second)
		if saved, room := shared.Saved(); saved != 2 || room != 2 {
			t.Errorf("%v of %v, 11 s later", saved, room)
		}
	})
}

// TestLaw1BudgetsWithinOne: in any history all of them together take at most what each success saved at its
// own ratio of that time, and what the purse started with; and each takes at most what it would alone.
func TestLaw1BudgetsWithinOne(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			ratios := []float64{0.1, 0.1, 0.02, 1}
			_, all := within(t, 1, ratios...)
			together, taken := 1.0, 0.0
			alone, own := []float64{1, 1, 1, 1}, make([]float64, 4)
			for range 3000 {
				i := rng.IntN(len(all))
				b := all[i]
				switch rng.IntN(6) {
				case 0:
					b.Call()
				case 1:
					b.Call()
					b.Success()
					together += ratios[i]
					alone[i] += ratios[i]
				case 2:
					if b.Take() {
						taken++
						own[i]++
					}
				case 3:
					if b.Take() {
						b.Refund()
					}
				case 4:
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				case 5:
					ratios[i] = rng.Float64() * rng.Float64()
					if err := b.SetRatio(ratios[i]); err != nil {
						t.Fatal(err)
					}
				}
				if taken > together+1e-9 || own[i] > alone[i]+1e-9 {
					t.Fatalf("seed %d: %v re-attempts, %v earned; of one %v, %v earned", seed, taken, together, own[i], alone[i])
				}
			}
			if taken < 10 {
				t.Fatalf("seed %d took %v: it proves nothing", seed, taken)
			}
		})
	}
}

// What is counted at once leaves a budget, and the one that it is within, as what is counted one by one.
func TestBudgetCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var budgets, purses [2]*retry.Budget
		for i := range budgets {
			purse, in := within(t, 0, 0.125) // whose sums have no rounding
			purses[i], budgets[i] = purse, in[0]
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			time.Sleep(time.Duration(rng.ExpFloat64() * float64(time.Second)))
			calls := 1 + rng.IntN(30)
			good := 1 + rng.IntN(calls)
			for range calls {
				budgets[0].Call()
			}
			for range good {
				budgets[0].Success()
			}
			budgets[1].CountAt(time.Now(), calls, good)
			if rng.IntN(5) == 0 {
				drain(budgets[0])
				drain(budgets[1])
			}
			for _, pair := range [...][2]*retry.Budget{budgets, purses} {
				saved, room := pair[0].Saved()
				if atOnce, roomAtOnce := pair[1].Saved(); math.Abs(saved-atOnce) > 1e-6 || math.Abs(room-roomAtOnce) > 1e-6 {
					t.Fatalf("%v of %v are saved, counted at once %v of %v", saved, room, atOnce, roomAtOnce)
				}
			}
		}
	})
}

// A client that is idle tells late of what it called. Others of the same purse mustn't take it for calls of now.
func TestBudgetHearsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		purse, in := within(t, 0, 0.1)
		then := time.Now()
		time.Sleep(time.Minute)
		purse.Call()
		for _, late := range []time.Duration{0, -time.Hour, 52 * time.Second} {
			in[0].CountAt(then.Add(late), 10_000, 10_000)
			saved, room := purse.Saved()
			if late < 50*time.Second && (saved > 2 || room > 2) {
				t.Errorf("%v of %v are saved for calls of a minute ago", saved, room)
			}
			if late > 50*time.Second && room < 1000 {
				t.Errorf("%v may be saved for 10,000 calls of 8s ago", room)
			}
		}
		time.Sleep(3 * time.Second) // and then they are 11 s ago
		if saved, room := purse.Saved(); saved > 2 || room > 2 {
			t.Errorf("%v of %v are saved for calls of 11s ago", saved, room)
		}
	})
}
