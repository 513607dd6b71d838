package breaker

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Policy says when a breaker opens and how it comes back. It is plain data: the zero value is the
// documented default of every field.
type Policy struct {
	// Mode overrides what was learnt, or only observes. Default Auto.
	Mode Mode
	// ConsecutiveFailures in a row open the breaker, however long they took; it serves clients with
	// little traffic. From 1 to 1,000,000; default 5.
	ConsecutiveFailures int
	// FailureRatio opens the breaker when at least MinCalls were counted in Window, from 0 (exclusive)
	// to 1, and so many of them failed that chance can't explain it: three standard deviations more
	// than the ratio (17 of 20, 65 of 100, 548 of 1,000 by default). It is judged at each failure.
	// Default 0.5.
	FailureRatio float64
	// MinCalls is the volume below which FailureRatio says nothing. Ignored calls are no volume.
	// From 1 to 1,000,000; default 20.
	MinCalls int
	// SlowCallRatio opens the breaker when at least MinCalls were counted in Window and more of them
	// were slow than chance explains, as with FailureRatio; a slow probe has failed then. From 0 to 1;
	// 0: slow calls are good calls. Default 0.
	SlowCallRatio float64
	// SlowCallDuration is the time from Allow to Done beyond which a call is slow, whatever its result;
	// Ignored ones are not. From 1 ms to 24 h; 0: only those are that are reported as Slow. Default 0.
	SlowCallDuration time.Duration
	// Window is the rolling time over which calls are counted, by when they ended, in steps of a
	// tenth of it. From 10 ms to 24 h; default 30 s.
	Window time.Duration
	// OpenTime is how long the breaker refuses after its first opening, jittered by +-25 %. From 1 ms
	// to 24 h; default 1 s.
	OpenTime time.Duration
	// MaxOpenTime is the longest open time, jitter included; each failed probe doubles the open time
	// up to it. From OpenTime to 24 h; default 5 s, or 1.25 OpenTime where that is longer.
	MaxOpenTime time.Duration
	// Probes is how many calls may test a half-open breaker at once, and how many good ones close it.
	// From 1 to 100; default 1.
	Probes int
	// ProbeLease is how long a probe may take before its slot is free again and it counts as a
	// failure. It should exceed the time that a slow but good call takes. From 1 ms to 24 h;
	// default 10 s.
	ProbeLease time.Duration
}

const (
	// jitter is the spread of the open time to either side: enough for a fleet whose breakers opened
	// together to come back over half the open time.
	jitter = 0.25

	maxCount  = 1_000_000
	maxProbes = 100 // a probe risks a call; more than this is traffic

	minWindow = 10 * time.Millisecond
	minTime   = time.Millisecond // shorter would be no protection, and is below some clocks' step
	maxTime   = 24 * time.Hour
)

// WithDefaults returns the policy with every field left zero replaced by its default. It is
// idempotent, and two policies that mean the same are equal after it.
func (p Policy) WithDefaults() Policy {
	if p.Mode == "" {
		p.Mode = Auto
	}
	p.ConsecutiveFailures = orDefault(p.ConsecutiveFailures, 5)
	p.FailureRatio = orDefault(p.FailureRatio, 0.5)
	p.MinCalls = orDefault(p.MinCalls, 20)
	p.Window = orDefault(p.Window, 30*time.Second)
	p.OpenTime = orDefault(p.OpenTime, time.Second)
	if p.MaxOpenTime == 0 {
		widest := float64(p.OpenTime) * (1 + jitter)
		p.MaxOpenTime = time.Duration(min(max(float64(5*time.Second), widest), float64(maxTime)))
	}
	p.Probes = orDefault(p.Probes, 1)
	p.ProbeLease = orDefault(p.ProbeLease, 10*time.Second)
	return p
}

func orDefault[T int | float64 | time.Duration](value, fallback T) T {
	if value == 0 {
		return fallback
	}
	return value
}

// Validate returns an error that names every field with an impossible value, or nil. A field left
// zero is valid.
func (p Policy) Validate() error {
	p = p.WithDefaults()
	var problems []error
	count := func(name string, value, limit int) {
		if value < 1 || value > limit {
			problems = append(problems,
				fmt.Errorf("breaker: %s is %d, must be from 1 to %d", name, value, limit))
		}
	}
	duration := func(name string, value, least time.Duration) {
		if value < least || value > maxTime {
			problems = append(problems,
				fmt.Errorf("breaker: %s is %v, must be from %v to %v", name, value, least, maxTime))
		}
	}
	count("ConsecutiveFailures", p.ConsecutiveFailures, maxCount)
	count("MinCalls", p.MinCalls, maxCount)
	count("Probes", p.Probes, maxProbes)
	duration("Window", p.Window, minWindow)
	duration("OpenTime", p.OpenTime, minTime)
	duration("MaxOpenTime", p.MaxOpenTime, minTime)
	duration("ProbeLease", p.ProbeLease, minTime)
	if !p.Mode.known() {
		problems = append(problems, fmt.Errorf(
			"breaker: Mode is %q, must be one of auto, forced-open, observe-only, forced-closed", string(p.Mode)))
	}
	if !(p.SlowCallRatio >= 0 && p.SlowCallRatio <= 1) {
		problems = append(problems, fmt.Errorf(
			"breaker: SlowCallRatio is %v, must be from 0 to 1", p.SlowCallRatio))
	}
	if p.SlowCallDuration != 0 {
		duration("SlowCallDuration", p.SlowCallDuration, minTime)
	}
	if !(p.FailureRatio > 0 && p.FailureRatio <= 1) { // written so that NaN is refused
		problems = append(problems, fmt.Errorf(
			"breaker: FailureRatio is %v, must be above 0 and at most 1", p.FailureRatio))
	}
	if p.MaxOpenTime < p.OpenTime {
		problems = append(problems, fmt.Errorf(
			"breaker: MaxOpenTime is %v, shorter than OpenTime %v", p.MaxOpenTime, p.OpenTime))
	}
	return errors.Join(problems...)
}

// trip tells why what was counted opens a closed breaker, if it does.
func (p Policy) trip(counts Counts) (cause Cause, open bool) {
	if counts.ConsecutiveFailures >= uint64(p.ConsecutiveFailures) {
		return ConsecutiveFailures, true
	}
	calls := counts.Successes + counts.Failures
	if p.reached(p.FailureRatio, counts.Failures, calls) {
		return FailureRatio, true
	}
	return 0, false
}

// reached tells whether chance can't explain that so many of the calls count against the ratio. A
// server where three calls in ten fail at once has twenty with ten failures every few minutes, and
// seven in ten callers whom an open breaker would only harm.
func (p Policy) reached(ratio float64, against, calls uint64) bool {
	n := float64(calls)
	most := ratio*n + 3*math.Sqrt(n*ratio*(1-ratio))
	return calls >= uint64(p.MinCalls) && float64(against) >= min(most, n)
}

// openTime returns the length of an opening that follows so many doublings, at phase (in [0, 1))
// of its jitter. The jitter interval ends at MaxOpenTime: cutting it off there instead would bring
// back together just the clients that have waited longest.
func (p Policy) openTime(doublings int, phase float64) time.Duration {
	middle := float64(p.OpenTime)
	ceiling := float64(p.MaxOpenTime) / (1 + jitter)
	for ; doublings > 0 && middle < ceiling; doublings-- {
		middle *= 2
	}
	if !(phase >= 0 && phase < 1) { // a faulty source must not turn into "now"
		phase = 0.5
	}
	return time.Duration(min(middle, ceiling) * (1 - jitter + 2*jitter*phase))
}
