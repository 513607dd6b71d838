package flags

import (
	"math"
	"time"
)

// significance is how many standard errors the new path must be worse by, beyond what the policy allows.
// Five, because the paths are compared at every call: of a million clients that each compare a thousand
// times, at three a thousand would turn off a flag that is as good as what it replaces, every hour.
const significance = 5

// windowParts is into how many parts a window is divided: it moves by a tenth of itself.
const windowParts = 10

// window is the calls of both paths over the policy's time.
type window struct {
	parts [windowParts]part
	width time.Duration // of a part
	start time.Time
	last  int64 // number of the newest part, since start
}

type part struct{ fresh, old tally }

// tally is the calls of one path, with the logarithms of the seconds that the good ones took.
type tally struct {
	counts  GuardCounts
	timed   float64
	logs    float64
	squares float64
}

// add counts a call into the newest part. A window of another length begins anew.
func (w *window) add(t ticket, result verdict, took time.Duration, now time.Time) {
	if width := t.policy.Window / windowParts; w.width != width {
		*w = window{width: width, start: now}
	}
	current := int64(now.Sub(w.start) / w.width)
	for i := max(w.last+1, current-windowParts+1); i <= current; i++ {
		w.parts[i%windowParts] = part{}
	}
	w.last = max(w.last, current)
	side := &w.parts[w.last%windowParts].old
	if t.fresh {
		side = &w.parts[w.last%windowParts].fresh
	}
	side.counts.add(result)
	if result == good {
		log := math.Log(max(took, time.Microsecond).Seconds())
		side.timed++
		side.logs += log
		side.squares += log * log
	}
}

func (w *window) sums() (fresh, old tally) {
	for i := range w.parts {
		fresh.plus(w.parts[i].fresh)
		old.plus(w.parts[i].old)
	}
	return fresh, old
}

func (t *tally) plus(u tally) {
	t.counts.Calls += u.counts.Calls
	t.counts.Failures += u.counts.Failures
	t.timed += u.timed
	t.logs += u.logs
	t.squares += u.squares
}

// worse tells whether the new path is worse than the policy allows, beyond chance.
func worse(policy GuardPolicy, fresh, old tally) bool {
	if min(fresh.counts.Calls, old.counts.Calls) < uint64(policy.MinCalls) {
		return false
	}
	return failsMore(policy.WorseBy, fresh.counts, old.counts) ||
		policy.SlowerBy > 0 && min(fresh.timed, old.timed) >= float64(policy.MinCalls) &&
			slower(policy.SlowerBy, fresh, old)
}

// failsMore compares two proportions by the interval of Agresti and Caffo ("Simple and Effective
// Confidence Intervals for Proportions and Differences of Proportions", The American Statistician 54,
// 2000): one success and one failure more for each keep it honest where a path has never failed.
func failsMore(by float64, fresh, old GuardCounts) bool {
	p, q := float64(fresh.Failures+1)/float64(fresh.Calls+2), float64(old.Failures+1)/float64(old.Calls+2)
	variance := p*(1-p)/float64(fresh.Calls+2) + q*(1-q)/float64(old.Calls+2)
	return p-q-by > significance*math.Sqrt(variance)
}

// slower compares the means of the logarithms as Welch does ("The generalization of 'Student's' problem
// when several different population variances are involved", Biometrika 34, 1947). Latencies are nearer
// to lognormal than to normal, and a single very slow call must not decide.
func slower(times float64, fresh, old tally) bool {
	variance := fresh.variance()/fresh.timed + old.variance()/old.timed
	return fresh.logs/fresh.timed-old.logs/old.timed-math.Log(times) > significance*math.Sqrt(variance)
}

func (t tally) variance() float64 {
	mean := t.logs / t.timed
	return max(0, t.squares/t.timed-mean*mean) * t.timed / max(t.timed-1, 1)
}
