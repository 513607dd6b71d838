package breaker

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// machine is gobreaker, which keeps the rolling window and the three states, without the parts
// that can wedge it. It hears of a failure only when the call has ended, as a request that begins and
// ends at once, and of a success only where that may close it, so that
//
//   - no request is ever outstanding in it: a probe that never reports can't fill its half-open
//     state;
//   - a call that took longer than the window counts when it ends, where gobreaker would drop it;
//   - its own open time can be next to nothing: Breaker keeps the real one, and tells the machine
//     nothing until that is over.
//
// Breaker guards it with its own lock.
type machine struct {
	inner  *gobreaker.CircuitBreaker[struct{}]
	good   successes // of the closed state
	window time.Duration
	state  gobreaker.State // as the last change of state told; asking would let time move it

	trip   func(gobreaker.Counts) bool
	muted  bool // trip isn't asked while counts are carried over
	forced bool // it opens without being asked
}

// buckets is how many steps the window rolls in: one tenth of it is forgotten at a time.
const buckets = 10

// carryLimit bounds what resized has to replay; more is scaled down, the ratio kept. It is the
// largest volume for which the scale can't matter to MinCalls in practice, and takes about 1 ms.
const carryLimit = 10_000

// newMachine returns a closed machine that opens when trip says so after a failure.
func newMachine(window time.Duration, trip func(gobreaker.Counts) bool) *machine {
	m := &machine{window: window, trip: trip}
	period := (window + buckets - 1) / buckets // rounded up: never more than ten buckets
	m.good = successes{start: time.Now(), period: period, steps: int64((window + period - 1) / period)}
	m.inner = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		// One success closes it: Breaker counts the good probes, so that their number can change.
		MaxRequests:  1,
		Interval:     window,
		BucketPeriod: period,
		Timeout:      1, // ns; 0 would mean a minute
		ReadyToTrip:  func(c gobreaker.Counts) bool { return m.forced || !m.muted && m.trip(m.with(c)) },
		// Called under gobreaker's lock, where calling back deadlocks: it only takes note.
		OnStateChange: func(_ string, _, to gobreaker.State) { m.state = to },
	})
	return m
}

var errFailure = errors.New("breaker: failure")

// success counts a good call, or closes a machine that isn't closed.
func (m *machine) success(now time.Time) {
	if m.isClosed() {
		m.good.add(1, now)
		return
	}
	_, _ = m.inner.Execute(func() (struct{}, error) { return struct{}{}, nil })
	m.good.restart(now)
}

// failure counts a bad call, which opens a closed machine if trip says so; any other is open after
// it.
func (m *machine) failure() {
	_, _ = m.inner.Execute(func() (struct{}, error) { return struct{}{}, errFailure })
}

// open opens a closed machine.
func (m *machine) open() {
	m.forced = true
	m.failure()
	m.forced = false
}

func (m *machine) isClosed() bool { return m.state == gobreaker.StateClosed }

// counts returns what a closed machine counted within the window.
func (m *machine) counts() gobreaker.Counts {
	m.inner.State() // rolls the window, which Counts alone doesn't
	return m.with(m.inner.Counts())
}

// with adds the successes to what gobreaker has counted.
func (m *machine) with(c gobreaker.Counts) gobreaker.Counts {
	m.good.roll(time.Now())
	c.TotalSuccesses = m.good.all
	return c
}

// resized returns a closed machine with another window and the counts of this one, dated now.
func (m *machine) resized(window time.Duration) *machine {
	counts := m.counts()
	successes, failures := int(counts.TotalSuccesses), int(counts.TotalFailures)
	if total := successes + failures; total > carryLimit {
		failures = failures * carryLimit / total
		successes = carryLimit - failures
	}
	next := newMachine(window, m.trip)
	next.muted = true
	for range failures {
		next.failure()
	}
	next.muted = false
	next.good.all, next.good.buckets[0] = uint32(successes), uint32(successes)
	return next
}
