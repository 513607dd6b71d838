package pacing_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
)

func ExampleNewAllowance() {
	allowance := pacing.NewAllowance(pacing.Options{})
	for range 20 { // calls that were made before
		allowance.Ask()
	}
	quota := hint.Quota{Remaining: 12, RemainingKnown: true, Reset: 31 * time.Second, ResetKnown: true}
	if quota.Paces() {
		allowance.Tell(quota, time.Now())
	}
	_, ok := allowance.Take(0)
	fmt.Println(ok, allowance.Rate() < 0.4)
	// Output: false true
}

func options(seed uint64) pacing.Options {
	return pacing.Options{Rand: rand.New(rand.NewPCG(seed, 9)).Float64}
}

// window is a server that grants limit requests in each window, counted from its start.
type window struct {
	limit int64
	span  time.Duration
	began time.Time
	used  int64

	served, refused int
	others          func(now time.Time) int64 // what other clients have used in this window
}

func (w *window) ask() (q hint.Quota, served bool) {
	now := time.Now()
	if since := now.Sub(w.began); since >= w.span {
		w.began, w.used = w.began.Add(since/w.span*w.span), 0
	}
	used := w.used
	if w.others != nil {
		used += w.others(now)
	}
	if served = used < w.limit; served {
		w.used++
		used++
		w.served++
	} else {
		w.refused++
	}
	reset := (w.began.Add(w.span).Sub(now) + time.Second - 1).Truncate(time.Second) // whole seconds, as in the fields
	return hint.Quota{Limit: w.limit, LimitKnown: true, Remaining: max(0, w.limit-used), RemainingKnown: true,
		Reset: max(reset, time.Second), ResetKnown: true, Window: w.span}, served
}

// run makes calls at random times, each of which waits its turn for at most 10 s, and returns how long
// the longest waited and how many gave up.
func run(a *pacing.Allowance, w *window, perSecond float64, lasts time.Duration, seed uint64) (longest time.Duration, gaveUp int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	ends := time.Now().Add(lasts)
	var line []time.Time
	arrives := time.Now()
	for time.Now().Before(ends) {
		for now := time.Now(); !arrives.After(now); arrives = arrives.Add(time.Duration(rng.ExpFloat64() / perSecond * 1e9)) {
			a.Ask()
			line = append(line, arrives)
		}
		wake := arrives
		for len(line) > 0 {
			if time.Since(line[0]) > 10*time.Second {
				gaveUp, line = gaveUp+1, line[1:]
				continue
			}
			retryAt, ok := a.Take(len(line) - 1)
			if !ok {
				if retryAt.Before(wake) {
					wake = retryAt
				}
				break
			}
			longest = max(longest, time.Since(line[0]))
			sent := time.Now()
			if q, _ := w.ask(); q.Remaining > 0 {
				a.Tell(q, sent)
			}
			line = line[1:]
		}
		time.Sleep(max(time.Until(wake), time.Nanosecond))
	}
	return longest, gaveUp
}

// TestPlentyDelaysNobody: traffic within its quota isn't felt, steady or in bursts (law 10).
func TestPlentyDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(20) {
			for _, share := range []float64{0.02, 0.3, 0.8} {
				a := pacing.NewAllowance(options(seed))
				w := &window{limit: 600, span: time.Minute, began: time.Now()}
				if longest, gaveUp := run(a, w, share*10, 5*time.Minute, seed); longest > 10*time.Millisecond || gaveUp > 0 {
					t.Errorf("seed %d, %v of the quota: waits up to %v, %d gave up", seed, share, longest, gaveUp)
				}
			}
		}
	})
}

func TestBurstWithinTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := pacing.NewAllowance(options(1))
		w := &window{limit: 100, span: time.Minute, began: time.Now()}
		for range 3 {
			for i := range 74 {
				a.Ask()
				if at, ok := a.Take(0); !ok {
					t.Fatalf("call %d of a burst waits until %v", i, time.Until(at))
				}
				q, _ := w.ask()
				a.Tell(q, time.Now())
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(time.Minute - 74*50*time.Millisecond)
		}
	})
}

// TestSpreading: a client that wants twice its quota is served as much, refused far less, and never
// kept from all of it.
func TestSpreading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(5) {
			spread := &window{limit: 100, span: time.Minute, began: time.Now()}
			run(pacing.NewAllowance(options(seed)), spread, 200./60, 10*time.Minute, seed)
			plain := &window{limit: 100, span: time.Minute, began: time.Now()}
			run(nobody(seed), plain, 200./60, 10*time.Minute, seed)
			t.Logf("seed %d: spread %d served, %d refused; without %d, %d",
				seed, spread.served, spread.refused, plain.served, plain.refused)
			if spread.served < plain.served*9/10 || spread.refused > plain.refused/20 {
				t.Errorf("seed %d: spread %d served, %d refused; without %d, %d",
					seed, spread.served, spread.refused, plain.served, plain.refused)
			}
		}
	})
}

// nobody is an allowance that hears nothing: its answers are all out of date.
func nobody(seed uint64) *pacing.Allowance {
	a := pacing.NewAllowance(options(seed))
	a.Tell(hint.Quota{Remaining: 1 << 40}, time.Now().Add(24*time.Hour))
	return a
}

// TestQuotaIsShared: where others use the quota up too, what is left shrinks faster than by our own calls.
func TestQuotaIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &window{limit: 1000, span: time.Minute, began: time.Now()}
		w.others = func(now time.Time) int64 { return int64(now.Sub(w.began).Seconds() * 15) }
		run(pacing.NewAllowance(options(3)), w, 10, 10*time.Minute, 3)
		t.Logf("%d served, %d refused", w.served, w.refused)
		if w.refused > w.served/10 {
			t.Errorf("%d served, %d refused", w.served, w.refused)
		}
	})
}

// TestPolicyBoundsTheRate: 10,000 left for 10 s suggest a hundred times what the policy grants.
func TestPolicyBoundsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := pacing.NewAllowance(options(1))
		for range 20_000 {
			a.Ask()
		}
		told := quota(10_000, 10*time.Second)
		a.Tell(told, time.Now())
		if a.Take(0); a.Rate() < 999 || a.Rate() > 1001 {
			t.Errorf("without a policy %v a second, want 1000", a.Rate())
		}
		told.Limit, told.LimitKnown, told.Window = 30_000, true, 3000*time.Second
		a.Tell(told, time.Now())
		if a.Rate() > 10.01 {
			t.Errorf("%v a second, the policy grants 10", a.Rate())
		}
	})
}

func quota(left int64, reset time.Duration) hint.Quota {
	return hint.Quota{Remaining: left, RemainingKnown: true, Reset: reset, ResetKnown: true}
}

// TestTrickle: however little is left for however long, some call leaves every 9 s (nobody is locked
// out by a number), and when there is more again nobody waits.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, left := range []int64{0, 1, 5} {
			a := pacing.NewAllowance(options(1))
			for range 1000 {
				a.Ask()
			}
			a.Tell(quota(left, time.Hour), time.Now())
			last, sent := time.Now(), 0
			for range 300 {
				a.Ask()
				if at, ok := a.Take(5); !ok {
					time.Sleep(time.Until(at))
					continue
				}
				if since := time.Since(last); since > 9*time.Second+time.Millisecond {
					t.Fatalf("%d left: nothing for %v", left, since)
				}
				last, sent = time.Now(), sent+1
			}
			if sent < 100 {
				t.Errorf("%d left: %d sent", left, sent)
			}
			time.Sleep(2 * time.Hour)
			if _, ok := a.Take(0); !ok || a.Rate() != 0 {
				t.Errorf("%d left: still spread after the reset", left)
			}
		}
	})
}

// TestNobodyInStep: clients that are told the same at once spread their next call over the gap.
func TestNobodyInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 2000
		began := time.Now()
		var first [10]int
		for i := range clients {
			a := pacing.NewAllowance(options(uint64(i)))
			for range 1000 {
				a.Ask()
			}
			a.Tell(quota(10, 20*time.Second), began)
			at, _ := a.Take(9)
			first[int(at.Sub(began).Seconds()*5)]++ // of a gap of 2 s
		}
		for i, n := range first {
			if n > clients/10*13/10 || n < clients/10*7/10 {
				t.Errorf("%d of %d in the tenth %d of the gap", n, clients, i)
			}
		}
	})
}

// TestOutOfDateAnswers: the answer to an earlier request doesn't take back what a later one said.
func TestOutOfDateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := pacing.NewAllowance(options(1))
		for range 100 {
			a.Ask()
		}
		sent := time.Now()
		time.Sleep(time.Second)
		a.Tell(quota(1, time.Minute), time.Now())
		a.Tell(quota(1_000_000, time.Minute), sent)
		if _, ok := a.Take(0); ok {
			t.Error("an answer that was overtaken counts")
		}
		a.Tell(quota(1_000_000, time.Minute), time.Now())
		if _, ok := a.Take(0); !ok {
			t.Error("a newer answer that there is plenty doesn't count")
		}
	})
}

func TestPaces(t *testing.T) {
	told := quota(5, time.Second)
	with := func(change func(q *hint.Quota)) hint.Quota {
		q := told
		change(&q)
		return q
	}
	if !told.Paces() {
		t.Error("a plain quota doesn't pace")
	}
	for name, q := range map[string]hint.Quota{
		"bytes":     with(func(q *hint.Quota) { q.Unit = "content-bytes" }),
		"for all":   with(func(q *hint.Quota) { q.ForAll = true }),
		"no reset":  with(func(q *hint.Quota) { q.ResetKnown = false }),
		"reset now": with(func(q *hint.Quota) { q.Reset = 0 }),
		"no rest":   with(func(q *hint.Quota) { q.RemainingKnown = false }),
		"no limit":  with(func(q *hint.Quota) { q.LimitKnown, q.Limit = true, 0 }),
	} {
		if q.Paces() {
			t.Errorf("%s paces", name)
		}
	}
}
