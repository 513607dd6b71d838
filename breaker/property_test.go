package breaker

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/tether-go/tether/internal/random"
)

// TestRandomOperations runs random sequences of everything a breaker can be told, over long and
// short times, and checks after each step what must hold in any state.
func TestRandomOperations(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			w := newWalk(t, seed)
			for range 400 {
				w.step()
				w.check()
			}
			w.finish()
		})
	}
}

// walk is one random sequence and what it knows of its breaker from the outside.
type walk struct {
	t       *testing.T
	rng     *rand.Rand
	b       *Breaker
	policy  Policy // defaults resolved
	tickets []Ticket
	probes  map[Ticket]time.Time // out: admitted in this half-open time, not settled; with its start
	events  []Event
}

func newWalk(t *testing.T, seed uint64) *walk {
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &walk{t: t, rng: rng, probes: map[Ticket]time.Time{}}
	w.policy = w.randomPolicy()
	w.b = mustNew(t, w.policy, Options{Rand: rng.Float64, Observe: w.observe})
	return w
}

func (w *walk) randomPolicy() Policy {
	pick := func(d ...time.Duration) time.Duration { return d[w.rng.IntN(len(d))] }
	mode := Auto
	if w.rng.IntN(10) == 0 {
		mode = []Mode{ForcedOpen, ForcedClosed, ObserveOnly}[w.rng.IntN(3)]
	}
	return Policy{
		Mode:                mode,
		SlowCallRatio:       float64(w.rng.IntN(3)) / 2,
		SlowCallDuration:    pick(0, 100*time.Millisecond),
		ConsecutiveFailures: w.rng.IntN(4),
		MinCalls:            w.rng.IntN(6),
		Window:              pick(0, time.Second, time.Minute),
		OpenTime:            pick(0, 100*time.Millisecond, 3*time.Second),
		Probes:              w.rng.IntN(4),
		ProbeLease:          pick(0, 300*time.Millisecond, 2*time.Second),
	}.WithDefaults()
}

func (w *walk) observe(e Event) {
	if last := len(w.events) - 1; last >= 0 {
		previous := w.events[last]
		if e.Seq != previous.Seq+1 || e.From != previous.To || e.At.Before(previous.At) {
			w.t.Errorf("event %+v follows %+v", e, previous)
		}
	} else if e.Seq != 1 || e.From != Closed {
		w.t.Errorf("the first event is %+v", e)
	}
	w.events = append(w.events, e)
	clear(w.probes) // of the state that ended
}

func (w *walk) step() {
	switch w.rng.IntN(12) {
	case 0:
		w.policy = w.randomPolicy()
		if err := w.b.SetPolicy(w.policy); err != nil {
			w.t.Fatal(err)
		}
	case 1:
		time.Sleep(time.Duration(w.rng.Int64N(int64(20 * time.Second))))
	case 2, 3:
		time.Sleep(time.Duration(w.rng.Int64N(int64(500 * time.Millisecond))))
	case 4, 5, 6, 7:
		w.allow()
	default:
		w.settle()
	}
}

func (w *walk) allow() {
	ticket, err := w.b.Allow()
	if err != nil {
		w.refused(err)
		return
	}
	if ticket.Probe() {
		w.probes[ticket] = time.Now()
	}
	w.tickets = append(w.tickets, ticket)
}

func (w *walk) refused(err error) {
	var open *OpenError
	if !errors.As(err, &open) || !errors.Is(err, ErrOpen) {
		w.t.Fatalf("refused with %v", err)
	}
	if open.Forced != (w.policy.Mode == ForcedOpen) || errors.Is(err, ErrForcedOpen) != open.Forced {
		w.t.Fatalf("refused with %+v in %+v", open, w.policy)
	}
	if open.Forced {
		return
	}
	longest := w.policy.MaxOpenTime
	if open.Probing {
		longest = w.policy.ProbeLease
	}
	if wait := time.Until(open.RetryAt); wait <= 0 || wait > longest {
		w.t.Fatalf("refused for %v, %+v, policy %+v", wait, open, w.policy)
	}
	if w.policy.Mode != Auto {
		w.t.Fatalf("refused in the mode %s", w.policy.Mode)
	}
}

// settle reports any ticket, perhaps for the second time.
func (w *walk) settle() {
	if len(w.tickets) == 0 {
		return
	}
	ticket := w.tickets[w.rng.IntN(len(w.tickets))]
	before := w.b.Health()
	old := ticket.call == nil || ticket.call.settled || ticket.call.generation != w.b.generation
	ticket.Done(Result(w.rng.IntN(5)))
	delete(w.probes, ticket)
	if after := w.b.Health(); (old || w.policy.Mode.forced()) && !ticket.Probe() && before != after {
		w.t.Fatalf("a result that counts for nothing changed %+v to %+v", before, after)
	}
}

func (w *walk) check() {
	h := w.b.Health()
	if inner := w.b.machine.state; (h.State == Closed) != (inner == gobreaker.StateClosed) {
		w.t.Fatalf("the machine is %v in %+v", inner, h)
	}
	if h.Probes != len(w.probes) || h.Probes > 3 || h.State != HalfOpen && h.Probes > 0 {
		w.t.Fatalf("%d probes out, want %d: %+v", h.Probes, len(w.probes), h)
	}
	for _, started := range w.probes {
		if !w.policy.Mode.forced() && time.Since(started) >= w.policy.ProbeLease {
			w.t.Fatalf("a probe has been out for %v", time.Since(started))
		}
	}
	if h.Dropped != 0 || h.State != Closed && h.Counts != (Counts{}) {
		w.t.Fatalf("%+v", h)
	}
	var opened uint64
	for _, e := range w.events {
		if e.To == Open {
			opened++
		}
	}
	if h.Opened != opened || len(w.events) > 0 && w.events[len(w.events)-1].To != h.State {
		w.t.Fatalf("%d openings and the last of %d events don't fit %+v", opened, len(w.events), h)
	}
}

// finish proves that no sequence leaves the breaker unable to recover.
func (w *walk) finish() {
	w.policy.Mode, w.policy.SlowCallRatio = Auto, 0
	if err := w.b.SetPolicy(w.policy); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(w.policy.ProbeLease + w.policy.MaxOpenTime)
	for range w.policy.Probes {
		ticket, err := w.b.Allow()
		if err != nil {
			w.t.Fatalf("wedged: %v, %+v", err, w.b.Health())
		}
		ticket.Done(Success)
	}
	if got := w.b.State(); got != Closed {
		w.t.Fatalf("%v after %d good probes", got, w.policy.Probes)
	}
}

// TestProbesAtExpiry lets 10,000 calls in at the instant at which the open time ends.
func TestProbesAtExpiry(t *testing.T) {
	for _, probes := range []int{1, 3, 100} {
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, Policy{Probes: probes}, Options{})
			fail(b, 5)
			time.Sleep(time.Until(b.Health().RetryAt))
			var admitted atomic.Int64
			var done sync.WaitGroup
			for range 2_500 { // the race detector bears 8,128 goroutines
				done.Go(func() {
					for range 4 {
						if ticket, err := b.Allow(); err == nil {
							if !ticket.Probe() {
								t.Error("admitted, and not as a probe")
							}
							admitted.Add(1)
							time.Sleep(time.Second)
							ticket.Done(Ignored)
						}
					}
				})
			}
			synctest.Wait() // while all that were admitted sleep
			if got := admitted.Load(); got != int64(probes) {
				t.Errorf("%d calls admitted, want %d", got, probes)
			}
			done.Wait()
		})
	}
}

// TestSpread opens 1,000 breakers at one instant and lets each probe as soon as it may. No 100 ms
// may see more than 1.8 times the mean over the jitter interval of that opening.
func TestSpread(t *testing.T) {
	const fleet, slot = 1000, 100 * time.Millisecond
	jitterIntervals := []time.Duration{ // after 1, 2, 4 s, and 4 s again because of the cap
		500 * time.Millisecond, time.Second, 2 * time.Second, 2 * time.Second,
	}
	synctest.Test(t, func(t *testing.T) {
		source := random.New(7)
		start := time.Now()
		arrivals := make([][]time.Duration, len(jitterIntervals))
		for range fleet {
			b := mustNew(t, Policy{}, Options{Rand: source.Float64})
			fail(b, 5)
			// One goroutine for each: they must sleep side by side.
			go func() {
				for i := range arrivals {
					time.Sleep(time.Until(b.Health().RetryAt))
					ticket, err := b.Allow()
					if err != nil {
						t.Error(err)
					}
					appendLocked(&arrivals[i], time.Since(start))
					ticket.Done(Failure)
				}
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, times := range arrivals {
			if len(times) != fleet {
				t.Fatalf("opening %d: %d probes", i+1, len(times))
			}
			slots := map[time.Duration]int{}
			for _, at := range times {
				slots[at/slot]++
			}
			limit := 1.8 * fleet * float64(slot) / float64(jitterIntervals[i])
			for at, n := range slots {
				if float64(n) > limit {
					t.Errorf("opening %d: %d probes in the 100 ms from %v, limit %.0f",
						i+1, n, at*slot, limit)
				}
			}
		}
	})
}

var appendMu sync.Mutex // guards what appendLocked appends to

func appendLocked(times *[]time.Duration, at time.Duration) {
	appendMu.Lock()
	defer appendMu.Unlock()
	*times = append(*times, at)
}

// fail lets n calls fail.
func fail(b *Breaker, n int) {
	for range n {
		ticket, _ := b.Allow()
		ticket.Done(Failure)
	}
}
