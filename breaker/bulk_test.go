package breaker

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// twins are two breakers that go through the same, but that the successes of calm times are reported to one by
// its tickets and to the other at once.
type twins struct {
	*walk     // random policies; its breaker is the one
	seed      uint64
	many      *Breaker
	happened  [2][]Event
	quiet     []Ticket // of the one: admitted in era
	era       uint64
	batches   int
	afterCalm int // batches that the breaker wasn't calm any more for
}

func newTwins(t *testing.T, seed uint64) *twins {
	w := &twins{walk: &walk{t: t, rng: rand.New(rand.NewPCG(seed, 8))}, seed: seed}
	w.policy = w.randomPolicy()
	for i, b := range []**Breaker{&w.b, &w.many} {
		*b = mustNew(t, w.policy, Options{Rand: rand.New(rand.NewPCG(seed, 9)).Float64,
			Observe: func(e Event) { w.happened[i] = append(w.happened[i], e) }})
	}
	return w
}

// TestCountAtEqualsSingleSuccesses: in any history. The breakers open and close at the same moments.
func TestCountAtEqualsSingleSuccesses(t *testing.T) {
	batches, afterCalm, changes := 0, 0, 0
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			w := newTwins(t, seed)
			for range 400 {
				w.step()
				w.compare()
			}
			batches, afterCalm, changes = batches+w.batches, afterCalm+w.afterCalm, changes+len(w.happened[0])
		})
	}
	if batches < 5_000 || afterCalm < 50 || changes < 2_000 {
		t.Errorf("%d batches, %d of them after a calm, and %d changes of state prove little", batches, afterCalm, changes)
	}
}

func (w *twins) step() {
	switch w.rng.IntN(20) {
	case 0:
		w.policy = w.randomPolicy()
		for _, b := range []*Breaker{w.b, w.many} {
			if err := b.SetPolicy(w.policy); err != nil {
				w.t.Fatal(err)
			}
		}
	case 1:
		time.Sleep(time.Duration(w.rng.Int64N(int64(20 * time.Second))))
	case 2, 3, 4, 5:
		time.Sleep(time.Duration(w.rng.Int64N(int64(500 * time.Millisecond))))
	case 6, 7, 8, 9:
		w.call(Result(w.rng.IntN(5)))
	case 10, 11, 12, 13:
		w.admit()
	default:
		w.tell()
	}
}

// admit lets calls pass that nobody asks the breaker about, if it is calm.
func (w *twins) admit() {
	era, calm := w.many.Calm()
	if one, alike := w.b.Calm(); one != era || alike != calm {
		w.t.Fatalf("seed %d: calm %v in %d, and %v in %d", w.seed, alike, one, calm, era)
	}
	if !calm || len(w.quiet) > 0 && era != w.era {
		return
	}
	w.era = era
	for range w.rng.IntN(30) {
		ticket, err := w.b.Allow()
		if err != nil || ticket.Probe() {
			w.t.Fatalf("seed %d: calm, and %v", w.seed, err)
		}
		w.quiet = append(w.quiet, ticket)
	}
}

// tell reports how those ended: some not well. The time is perhaps earlier than another call's.
func (w *twins) tell() {
	at := time.Now().Add(-time.Duration(w.rng.Int64N(int64(time.Second))))
	good := w.rng.IntN(len(w.quiet) + 1)
	for _, ticket := range w.quiet[:good] {
		ticket.DoneAt(at, Success)
	}
	if b := w.many; b.state != Closed || b.generation == w.era { // else they are told before it closes again
		w.batches++
		if _, calm := b.Calm(); !calm && good > 0 {
			w.afterCalm++
		}
		b.CountAt(at, good)
	}
	w.compare()
	for _, ticket := range w.quiet[good:] {
		result := Result(w.rng.IntN(5))
		ticket.DoneAt(at, result)
		w.many.TicketOf(w.era).DoneAt(at, result)
		w.compare()
	}
	w.quiet = w.quiet[:0]
}

func (w *twins) call(result Result) {
	one, refused := w.b.Allow()
	many, alike := w.many.Allow()
	if (refused == nil) != (alike == nil) || one.Probe() != many.Probe() {
		w.t.Fatalf("seed %d: %v and %v", w.seed, refused, alike)
	}
	time.Sleep(time.Duration(w.rng.Int64N(int64(200 * time.Millisecond))))
	one.Done(result)
	many.Done(result)
}

func (w *twins) compare() {
	if one, many := w.b.Health(), w.many.Health(); one != many {
		w.t.Fatalf("seed %d:\n%+v\n%+v", w.seed, one, many)
	}
	if !slices.Equal(w.happened[0], w.happened[1]) {
		w.t.Fatalf("seed %d:\n%+v\n%+v", w.seed, w.happened[0], w.happened[1])
	}
	timed := func(b *Breaker) (c gobreaker.Counts) {
		if b.slows != nil {
			c = b.slows.counts()
		}
		return c
	}
	if one, many := timed(w.b), timed(w.many); one.TotalSuccesses != many.TotalSuccesses {
		w.t.Fatalf("seed %d: of calls that weren't slow %d and %d count", w.seed, one.TotalSuccesses, many.TotalSuccesses)
	}
}

// What is counted at once makes the ratio, to the very failure that opens.
func TestCountAtMakesTheRatio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, Policy{ConsecutiveFailures: 1000}, Options{})
		fail(b, 4)
		b.CountAt(time.Now(), 9)
		if c := b.Health().Counts; c != (Counts{Successes: 9, Failures: 4}) {
			t.Errorf("%+v", c)
		}
		for _, nothing := range []int{0, -1, -1000} {
			fail(b, 1)
			if b.CountAt(time.Now(), nothing); b.Health().Counts.ConsecutiveFailures == 0 {
				t.Errorf("%d successes end a streak", nothing)
			}
		}
		if c := b.Health().Counts; c != (Counts{Successes: 9, Failures: 7, ConsecutiveFailures: 3}) {
			t.Errorf("%+v", c)
		}
		if fail(b, 19); b.State() != Closed { // as in TestSteps: 26 of 35 don't, 27 of 36 do
			t.Error("open too early")
		}
		if fail(b, 1); b.State() != Open {
			t.Error("not open")
		}
	})
}

// They count for when they came, not for when they are counted: ten steps of the window.
func TestCountAtCountsThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, Policy{Window: 10 * time.Second, SlowCallRatio: 0.5}, Options{})
		began := time.Now()
		b.TicketOf(0).Done(Success) // from here on slow calls have a window too
		time.Sleep(5500 * time.Millisecond)
		b.CountAt(began.Add(3500*time.Millisecond), 7)
		for _, step := range []struct {
			at   time.Duration
			want uint64
		}{{12999 * time.Millisecond, 7}, {13 * time.Second, 0}} {
			time.Sleep(time.Until(began.Add(step.at)))
			good, notSlow := b.Health().Counts.Successes, uint64(b.slows.counts().TotalSuccesses)
			if good != step.want || notSlow != step.want {
				t.Errorf("%d and %d count %v after the beginning, want %d", good, notSlow, step.at, step.want)
			}
		}
	})
}

// TestCalmSteps: what ends the calm, and what brings it back.
func TestCalmSteps(t *testing.T) {
	type step struct {
		result Result
		policy *Policy
		sleep  time.Duration
		calm   bool
		era    uint64
	}
	set := func(p Policy) *Policy { return &p }
	for name, steps := range map[string][]step{
		"a failure, until a success": {{Success, nil, 0, true, 0}, {Failure, nil, 0, false, 0},
			{Ignored, nil, 0, false, 0}, {Ignored, nil, time.Hour, false, 0}, {Success, nil, 0, true, 0}, {Failure, nil, 0, false, 0}, {Slow, nil, 0, true, 0}},
		"a fault ends no calm, and a streak": {{Fault, nil, 0, true, 0}, {Failure, nil, 0, false, 0},
			{Fault, nil, 0, true, 0}},
		"modes": {{Ignored, set(Policy{Mode: ForcedOpen}), 0, false, 0}, {Ignored, set(Policy{}), 0, true, 0},
			{Ignored, set(Policy{Mode: ForcedClosed}), 0, false, 0}, {Ignored, set(Policy{Mode: ObserveOnly}), 0, true, 0}},
		"slow calls": {{Ignored, set(Policy{SlowCallRatio: 0.5}), 0, false, 0}, {Success, nil, 0, false, 0},
			{Ignored, set(Policy{SlowCallDuration: time.Second}), 0, true, 0},
			{Ignored, set(Policy{SlowCallRatio: 0.5, SlowCallDuration: time.Second}), 0, false, 0}},
		"an opening, until it closes": {{Failure, set(Policy{ConsecutiveFailures: 1}), 0, false, 1},
			{Ignored, nil, time.Minute, false, 2}, {Success, nil, 0, true, 3}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, Policy{}, Options{})
			if era, calm := b.Calm(); era != 0 || !calm {
				t.Errorf("%s: calm %v in %d when new", name, calm, era)
			}
			for i, s := range steps {
				if s.policy != nil {
					if err := b.SetPolicy(*s.policy); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(s.sleep)
				if ticket, err := b.Allow(); err == nil {
					ticket.Done(s.result)
				}
				if era, calm := b.Calm(); era != s.era || calm != s.calm {
					t.Errorf("%s: calm %v in %d after step %d: %+v", name, calm, era, i+1, s)
				}
			}
		})
	}
}

// TestCalmNeedsAll: a streak alone, and a state alone, are enough to end it.
func TestCalmNeedsAll(t *testing.T) {
	for what, change := range map[string]func(*Breaker){
		"open":      func(b *Breaker) { b.state = Open },
		"half-open": func(b *Breaker) { b.state = HalfOpen },
		"streak":    func(b *Breaker) { b.streak = 1 },
		"slow":      func(b *Breaker) { b.policy.SlowCallRatio = 0.1 },
		"forced":    func(b *Breaker) { b.policy.Mode = ForcedClosed },
	} {
		b := mustNew(t, Policy{}, Options{})
		if change(b); first(b.Calm()) {
			t.Errorf("%s, and calm", what)
		}
	}
}

func first(_ uint64, calm bool) bool { return calm }

// TestTicketOf: a ticket of a past era teaches nothing, one of the present counts once.
func TestTicketOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, Policy{}, Options{})
		old, _ := b.Calm()
		ticket := b.TicketOf(old)
		ticket.Done(Failure)
		ticket.Done(Failure)
		ticket.Done(Success)
		if c := b.Health().Counts; c != (Counts{Failures: 1, ConsecutiveFailures: 1}) || ticket.Probe() {
			t.Errorf("%+v, want one failure", c)
		}
		ticket = b.TicketOf(old)
		ticket.Done(Success)
		if c := b.Health().Counts; c != (Counts{Successes: 1, Failures: 1}) {
			t.Errorf("%+v, want a success too", c)
		}
		fail(b, 5)
		opened := b.Health()
		b.TicketOf(old).Done(Success)
		if b.Health() != opened {
			t.Errorf("from %+v to %+v", opened, b.Health())
		}
		time.Sleep(time.Minute)
		probe, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		b.TicketOf(old).Done(Failure)
		probe.Done(Success)
		b.TicketOf(old).Done(Failure)
		if h := b.Health(); h.State != Closed || h.Counts != (Counts{}) {
			t.Errorf("%+v", h)
		}
		era, calm := b.Calm()
		if b.TicketOf(era).Done(Failure); !calm || b.Health().Counts.Failures != 1 {
			t.Errorf("calm %v, %+v", calm, b.Health())
		}
	})
}

// What Calm names while the breaker isn't closed is no era of calls: a ticket of it teaches nothing, and never
// makes the open time longer or ends that of the probes.
func TestTicketOfNoEra(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, Policy{}, Options{})
		fail(b, 5)
		for range 2 { // open, half-open
			before := b.Health()
			era, calm := b.Calm()
			for _, result := range []Result{Ignored, Success, Failure, Fault, Slow} {
				b.TicketOf(era).Done(result)
				if after := b.Health(); after != before || calm {
					t.Fatalf("calm %v, %v: from %+v to %+v", calm, result, before, after)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}
