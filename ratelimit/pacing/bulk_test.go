package pacing

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// twins are two gates that go through the same, but that the calls of calm times are told to one by one and
// to the other at once.
type twins struct {
	t         *testing.T
	rng       *rand.Rand
	one, many *Gate
	seed      uint64
	batches   int
}

func newTwins(t *testing.T, seed uint64) *twins {
	w := &twins{t: t, rng: rand.New(rand.NewPCG(seed, 3)), seed: seed}
	for _, g := range []**Gate{&w.one, &w.many} {
		made, err := NewGate(Policy{}, Options{Rand: rand.New(rand.NewPCG(seed, 4)).Float64})
		if err != nil {
			t.Fatal(err)
		}
		*g = made
	}
	return w
}

// TestCountAtEqualsSingleCalls: in any history. What a gate knows, and how it paces later, is the same.
func TestCountAtEqualsSingleCalls(t *testing.T) {
	batches := 0
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			w := newTwins(t, seed)
			for range 600 {
				w.step()
				w.compare()
			}
			batches += w.batches
		})
	}
	if batches < 4_000 {
		t.Errorf("%d batches prove little", batches)
	}
}

func (w *twins) step() {
	switch w.rng.IntN(16) {
	case 0:
		time.Sleep(time.Duration(w.rng.ExpFloat64() * w.rng.ExpFloat64() * 6e9))
	case 1:
		w.trouble()
	case 2, 3, 4:
		time.Sleep(time.Duration(w.rng.Int64N(1e9)))
		w.call()
	default:
		time.Sleep(time.Duration(w.rng.Int64N(20e6)))
		if w.one.Calm() != w.many.Calm() {
			w.t.Fatalf("seed %d: calm %v and %v", w.seed, w.one.Calm(), w.many.Calm())
		}
		if w.one.Calm() {
			w.batch()
		} else {
			w.call()
		}
	}
}

// batch counts calls until a time that may be earlier than another call's.
func (w *twins) batch() {
	w.batches++
	at := later(time.Now().Add(-time.Duration(w.rng.Int64N(10e6))), w.one.until)
	asked, good := w.rng.IntN(100), w.rng.IntN(100)
	took := time.Duration(1 + w.rng.Int64N(1e9))
	gapless := w.seed%2 == 0 // all are asked for before the first answer
	means := [2]time.Duration{w.many.mean, w.many.recent}
	before := w.many.demand
	slowest := shareOf(before.rate(at))
	for i := range max(asked, good) {
		if i < asked {
			w.one.AskAt(at)
		}
		if gapless {
			continue
		}
		w.takeAndAnswer(at, i < asked, i < good, took)
	}
	for i := range max(asked, good) {
		if gapless {
			w.takeAndAnswer(at, i < asked, i < good, took)
		}
	}
	w.many.CountAt(at, asked, good, took)
	if good > 0 {
		after := w.many.demand
		if gapless {
			slowest = shareOf(after.rate(at))
		}
		w.compareMeans(means, good, took, slowest, shareOf(after.rate(at)))
	}
	// An answer that finds others under way may call on none later; counted at once each does.
	if w.many.called > w.one.called || w.many.called < 0 {
		w.t.Fatalf("seed %d: fast answers may call on %d, want at most %d", w.seed, w.many.called, w.one.called)
	}
	w.one.called = w.many.called
}

func (w *twins) takeAndAnswer(at time.Time, take, answer bool, took time.Duration) {
	if take {
		if _, err := w.one.TakeAt(at, 0); err != nil {
			w.t.Fatalf("seed %d: kept back in a calm time: %v", w.seed, err)
		}
	}
	if answer {
		w.one.GoodAt(at, took, 2*took)
	}
}

// compareMeans allows for a nanosecond that each single answer loses to rounding, and, where calls come one
// after the other, for the rate that grows meanwhile: an answer weighs from the one share down to the other. It
// makes the means equal for the batches that follow.
func (w *twins) compareMeans(before [2]time.Duration, good int, took time.Duration, most, least float64) {
	for i, mean := range [][2]*time.Duration{{&w.one.mean, &w.many.mean}, {&w.one.recent, &w.many.recent}} {
		from := float64(before[i])
		if from == 0 {
			from = float64(took)
		}
		near, far := from, from
		for range good {
			near += (float64(took) - near) * least
			far += (float64(took) - far) * most
		}
		one, many := float64(*mean[0]), float64(*mean[1])
		rounding := float64(good) + 1
		if one < min(near, far)-rounding || one > max(near, far)+rounding || math.Abs(many-near) > rounding {
			w.t.Fatalf("seed %d: %d answers of %v moved the mean from %v to %v, and %v",
				w.seed, good, took, before[i], *mean[0], *mean[1])
		}
		*mean[0] = *mean[1]
	}
}

// call makes one call of both.
func (w *twins) call() {
	waiting, end, took := w.rng.IntN(4), w.rng.IntN(12), time.Duration(w.rng.Int64N(1e9))
	var retryAt [2]time.Time
	var refused [2]error
	for i, g := range []*Gate{w.one, w.many} {
		g.Ask()
		if retryAt[i], refused[i] = g.Take(waiting); refused[i] != nil {
			g.TurnedAway()
			continue
		}
		switch end {
		case 0:
			g.Failed(TimedOut)
		case 1:
			g.Ignored()
		case 2:
			g.Untake()
		case 3:
			g.Good(took, took/2)
		case 4: // forgotten
		default:
			g.Good(took, 3*took)
		}
	}
	if refused[0] != refused[1] || retryAt[0].Sub(retryAt[1]).Abs() > time.Microsecond {
		w.t.Fatalf("seed %d: %v until %v, and %v until %v", w.seed, refused[0], retryAt[0], refused[1], retryAt[1])
	}
}

func (w *twins) trouble() {
	what, n, wait := w.rng.IntN(8), w.rng.IntN(4), time.Duration(w.rng.Int64N(5e9))
	for _, g := range []*Gate{w.one, w.many} {
		switch what {
		case 0, 1, 2:
			for range n {
				g.Failed(Failure(what))
			}
		case 3:
			g.Hold(wait)
		case 4:
			g.Resume()
		case 5:
			g.Recovered()
		case 6:
			g.Remember()
		case 7:
			if err := g.SetPolicy(Policy{PacingOff: n == 0}); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// compare leaves out what begins anew with each trouble: whether an answer proved anything, and the credit of
// a gate that paces nobody.
func (w *twins) compare() {
	near := func(what string, one, many float64) {
		if math.Abs(one-many) > 1e-9*(1+math.Abs(one)) {
			w.t.Fatalf("seed %d: %s %v and %v", w.seed, what, one, many)
		}
	}
	near("usual", w.one.Usual(), w.many.Usual())
	oneUntil, oneRate := w.one.Status()
	manyUntil, manyRate := w.many.Status()
	near("rate", oneRate, manyRate)
	a, b := w.one, w.many
	near("calls", a.demand.calls, b.demand.calls)
	near("weight", a.demand.weight, b.demand.weight)
	near("usual, remembered", a.usual, b.usual)
	near("outcomes", a.pacer.outcomes, b.pacer.outcomes)
	if a.pacer.paced {
		near("credit", a.credit, b.credit)
	}
	type state struct {
		paced, failing, kept, young     bool
		strikes, running, waiting       int
		called                          int
		until, sent, goodAt, from       time.Time
		outcomeAt, paceAt, askedAt, age time.Time
	}
	of := func(g *Gate) state {
		p := &g.pacer
		return state{p.paced, p.failing, g.kept, g.young, p.strikes, g.running, g.waiting, g.called,
			g.until, g.sent, g.goodAt, g.from, p.outcomeAt, p.at, g.demand.at, g.demand.born}
	}
	if !oneUntil.Equal(manyUntil) || of(a) != of(b) {
		w.t.Fatalf("seed %d:\n%+v\n%+v", w.seed, of(a), of(b))
	}
}

// Calls of different times, told of at the last one's, are measured as what they are.
func TestCountAtOfSpreadCalls(t *testing.T) {
	for _, perSecond := range []int{20, 300, 20_000} {
		synctest.Test(t, func(t *testing.T) {
			w := newTwins(t, 0)
			gap, took := time.Second/time.Duration(perSecond), time.Duration(0)
			passed := 0
			for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(gap) {
				one := 20*time.Millisecond + time.Duration(w.rng.Int64N(20e6))
				w.one.Ask()
				w.one.Take(0)
				w.one.Good(one, time.Second)
				took += one
				if passed++; passed > perSecond/100 { // about ten milliseconds
					w.many.CountAt(time.Now(), passed, passed, took/time.Duration(passed))
					passed, took = 0, 0
				}
			}
			if one, many := w.one.Usual(), w.many.Usual(); math.Abs(one-many) > 0.01*one {
				t.Errorf("%d calls a second: usual are %v and %v", perSecond, one, many)
			}
			for _, mean := range [][2]time.Duration{{w.one.mean, w.many.mean}, {w.one.recent, w.many.recent}} {
				if off := (mean[0] - mean[1]).Abs(); off > mean[0]/50 {
					t.Errorf("%d calls a second: the means are %v", perSecond, mean)
				}
			}
		})
	}
}

// A time that isn't known is no time: it moves no mean.
func TestCountAtOfUnknownTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, 0)
		w.many.CountAt(time.Now(), 10, 10, 0)
		if w.many.mean != 0 || w.many.recent != 0 {
			t.Errorf("means %v, %v of nothing", w.many.mean, w.many.recent)
		}
		w.many.CountAt(time.Now(), 10, 10, time.Second)
		w.many.CountAt(time.Now(), 1000, 1000, 0)
		if w.many.mean != time.Second || w.many.recent != time.Second {
			t.Errorf("means %v, %v, want a second", w.many.mean, w.many.recent)
		}
	})
}

// While calls are paced or the last one failed, slow answers say nothing about what is usual.
func TestCountAtInTrouble(t *testing.T) {
	for what, begin := range map[string]func(*Gate){
		"paced":   func(g *Gate) { g.Resume() },
		"failing": func(g *Gate) { g.Failed(TimedOut) },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newTwins(t, 0)
			w.many.CountAt(time.Now(), 100, 100, time.Second)
			begin(w.many)
			w.many.CountAt(time.Now(), 100, 100, time.Minute)
			if w.many.mean != time.Second || w.many.recent < 10*time.Second {
				t.Errorf("%s: means %v, %v", what, w.many.mean, w.many.recent)
			}
		})
	}
}
