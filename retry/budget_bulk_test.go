package retry_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/retry"
)

// TestBudgetCountAtEqualsSingleCalls: in any history, alone and within another, whatever the ratios, 0 included.
// Of a time that is earlier than another call's both think alike.
func TestBudgetCountAtEqualsSingleCalls(t *testing.T) {
	for seed := range uint64(80) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			ratios := []float64{0, 0.02, 0.1, 1}
			w := &budgetTwins{t: t, seed: seed}
			for i := range w.all {
				initial, purse := rng.IntN(3), budget(t, 1, 2)
				if seed%4 == 3 {
					purse = budget(t, ratios[rng.IntN(4)], 2)
				}
				w.all[i] = append(w.all[i], purse)
				for _, ratio := range ratios {
					b, err := retry.NewBudget(ratio, retry.BudgetOptions{Initial: initial, Within: purse})
					if err != nil {
						t.Fatal(err)
					}
					w.all[i] = append(w.all[i], b, budget(t, ratio, initial))
				}
				rng = rand.New(rand.NewPCG(seed, 2)) // the other's twin
			}
			for range 500 {
				w.step(rng)
				w.compare()
			}
			if w.counted < 10_000 {
				t.Errorf("seed %d: %.0f calls prove little", seed, w.counted)
			}
		})
	}
}

// budgetTwins are told the same, the former call by call.
type budgetTwins struct {
	t       *testing.T
	seed    uint64
	all     [2][]*retry.Budget
	counted float64
}

func (w *budgetTwins) step(rng *rand.Rand) {
	i := rng.IntN(len(w.all[0]))
	one, many := w.all[0][i], w.all[1][i]
	switch rng.IntN(8) {
	case 0:
		time.Sleep(time.Duration(rng.ExpFloat64() * rng.ExpFloat64() * 3e9))
	case 1:
		ratio := rng.Float64() * rng.Float64() * float64(rng.IntN(4)) / 3
		if one.SetRatio(ratio) != nil || many.SetRatio(ratio) != nil {
			w.t.Fatal(ratio)
		}
	case 2:
		w.spend(one, many, rng.IntN(8))
	default:
		time.Sleep(time.Duration(rng.Int64N(300e6)))
		at := time.Now().Add(-time.Duration(rng.Int64N(10e6)))
		calls, successes := rng.IntN(200)*rng.IntN(2), rng.IntN(200)*rng.IntN(2)
		if rng.IntN(4) > 0 {
			successes = calls
		}
		paired := calls == successes && rng.IntN(2) == 0 // where each call succeeds the order is the same
		for range calls {
			if one.CallAt(at); paired {
				one.SuccessAt(at)
			}
		}
		for range successes {
			if !paired {
				one.SuccessAt(at)
			}
		}
		many.CountAt(at, calls, successes)
		w.counted += float64(calls + successes)
	}
}

// spend leaves out what rounding may decide.
func (w *budgetTwins) spend(one, many *retry.Budget, times int) {
	for range times {
		if saved, _ := one.Saved(); saved > 0.999 && saved < 1.001 {
			return
		}
		taken := one.Take()
		if taken != many.Take() {
			w.t.Fatalf("seed %d: taken from the one: %v", w.seed, taken)
		}
		if taken && times%4 == 0 {
			one.Refund()
			many.Refund()
		}
	}
}

func (w *budgetTwins) compare() {
	for i, one := range w.all[0] {
		saved, room := one.Saved()
		gotSaved, gotRoom := w.all[1][i].Saved()
		most := 1e-9 * (1 + w.counted)
		if diff := max(saved-gotSaved, gotSaved-saved, room-gotRoom, gotRoom-room); diff > most {
			w.t.Fatalf("seed %d: budget %d has %v of %v, and %v of %v", w.seed, i, saved, room, gotSaved, gotRoom)
		}
	}
}

func TestBudgetCountAtSteps(t *testing.T) {
	type count struct{ calls, successes int }
	for _, test := range []struct {
		name        string
		ratio       float64
		counts      []count // a second apart
		saved, room float64
		purse       float64
	}{
		{"calls alone save nothing", 0.1, []count{{1000, 0}, {1000, 0}}, 1, 200, 1},
		{"successes alone save no more than an idle client may", 0.1, []count{{0, 1000}}, 2, 2, 2},
		{"what calls make room for", 0.1, []count{{1000, 50}}, 6, 100, 6},
		{"as much as there is room for", 0.1, []count{{10, 1000}, {100, 1000}}, 11, 11, 11},
		{"nothing", 0.1, []count{{0, 0}, {0, 0}}, 1, 2, 1},
		{"a ratio of 0", 0, []count{{1000, 1000}}, 1, 2, 1},
		{"a ratio of 1", 1, []count{{1000, 1000}}, 1000, 1000, 1000},
	} {
		synctest.Test(t, func(t *testing.T) {
			purse, all := within(t, 1, test.ratio)
			for _, c := range test.counts {
				all[0].CountAt(time.Now(), c.calls, c.successes)
				time.Sleep(time.Second)
			}
			saved, room := all[0].Saved()
			if shared, _ := purse.Saved(); !near(saved, test.saved) || !near(room, test.room) || !near(shared, test.purse) {
				t.Errorf("%s: %v of %v saved, %v in the purse", test.name, saved, room, shared)
			}
		})
	}
}

// Law 1: what an idle client could no longer save doesn't come back when calls do, however they are counted. Only
// successes save.
func TestLaw1BudgetOfAnIdleClient(t *testing.T) {
	for how, calls := range map[string]func(*retry.Budget){
		"one by one": func(b *retry.Budget) {
			for range 1000 {
				b.Call()
			}
		},
		"at once": func(b *retry.Budget) { b.CountAt(time.Now(), 1000, 0) },
	} {
		synctest.Test(t, func(t *testing.T) {
			purse, all := within(t, 1, 0.1)
			all[0].CountAt(time.Now(), 1000, 1000)
			time.Sleep(time.Minute)
			if saved, room := all[0].Saved(); saved != 2 || room != 2 {
				t.Errorf("%v of %v saved after a minute", saved, room)
			}
			calls(all[0])
			if saved, room := all[0].Saved(); saved != 2 || !near(room, 100) {
				t.Errorf("%s: %v of %v saved when calls return", how, saved, room)
			}
			if saved, room := purse.Saved(); saved != 2 || !near(room, 100) {
				t.Errorf("%s: %v of %v saved in the purse", how, saved, room)
			}
		})
	}
}
