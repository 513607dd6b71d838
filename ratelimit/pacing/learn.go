package pacing

import (
	"math"
	"time"
)

// Hold says that an answer asked for silence: every call is kept back until wait has passed, at most
// MaxHold. It never shortens a hold that is on. It reports when the hold ends.
func (g *Gate) Hold(wait time.Duration) (until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.ended()
	g.until = later(g.until, now.Add(min(max(wait, 0), g.policy.MaxHold)))
	g.restart(now, g.until)
	return g.until
}

// Remember keeps the usual rate as it is now: trouble begins, and callers in distress may ask far more
// often than usual, or not at all. The end of pacing forgets it.
func (g *Gate) Remember() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remember(time.Now())
	g.kept = true
}

// Resume lets calls start again from now on, in random phase and at the usual rate: something else
// than a hold (an open breaker, a kill switch) has kept them back until now.
func (g *Gate) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.restart(now, later(now, g.until))
}

// Recovered is Resume after a probe's good answer. Probes leave at random times already, so the next call
// need not wait for a phase of its own. Where answers pace calls already it changes nothing.
func (g *Gate) Recovered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pacer.paced {
		return
	}
	now := time.Now()
	g.restart(now, later(now, g.until))
	g.credit = 1
}

// Good says that an answer was good, and how long it took. Slow is the time from which on answers of
// its kind are slow; 0: not known.
func (g *Gate) Good(took, slow time.Duration) { g.GoodAt(time.Now(), took, slow) }

// GoodAt is Good by a clock that was just read.
func (g *Gate) GoodAt(now time.Time, took, slow time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended()
	g.proved = g.proved || !now.Add(-took).Before(g.from) // a call from before the trouble proves nothing
	d := g.earn(now)
	average(&g.recent, took, d)
	if !g.pacer.paced && !g.pacer.failing {
		average(&g.mean, took, d)
	}
	before := g.pacer.rate
	switch back := g.pacer.good(took, slow, d, now, now.Sub(g.from) < returnTime); {
	case now.Before(g.until): // clients told the same must not leave together at the hold's end
	case back:
		g.credit, g.called = max(g.credit, 1), calledOn
	case g.running == 0 && g.called > 0 && !g.pacer.gentle && took.Seconds() < fast*slow.Seconds():
		g.called--
		// A fast answer to a call alone under way calls the next one: in a fleet whose server has
		// little to give this ends as soon as a queue builds up.
		g.credit = max(g.credit, 1)
	}
	if most := returnMost * d; g.pacer.paced && g.pacer.rate > most {
		if since := now.Sub(g.from); since > returnTime {
			longer := min(since-returnTime, now.Sub(g.goodAt))
			most = max(most, before*math.Exp(longer.Seconds()/growTime.Seconds()))
		}
		g.pacer.rate = min(g.pacer.rate, most)
	}
	g.goodAt = later(g.goodAt, now)
	if !g.pacer.paced && !g.pacer.failing && !g.kept {
		g.usual = 0
	}
}

// average moves a mean towards an answer's time, for a client of the usual rate d.
func average(mean *time.Duration, took time.Duration, d float64) {
	if *mean == 0 {
		*mean = took
	}
	*mean += time.Duration(float64(took-*mean) * shareOf(d))
}

// shareOf is the weight of one answer's time in a mean.
func shareOf(d float64) float64 { return 1 / max(32, meanTime.Seconds()*d) }

// Failed says that an attempt failed. It tells whether calls are paced since this failure.
func (g *Gate) Failed(kind Failure) (began bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended()
	if g.policy.PacingOff {
		return false
	}
	now := time.Now()
	g.remember(now)
	d := g.earn(now)
	paced := g.pacer.paced
	weight := g.pacer.failed(kind, d, g.waiting, now)
	g.proved, g.from = false, later(g.from, now)
	if !g.pacer.paced {
		return false
	}
	if !paced {
		g.at, g.credit = now, 1
	}
	// The next send is about one gap away, at random: clients that failed together come back apart. Two
	// timeouts may still be an accident; then the next call goes at once and shows it.
	if weight == 1 && (paced || kind != TimedOut) {
		g.credit = min(g.credit, g.rand()/2-0.25)
	}
	return !paced
}

// restart begins paced sending at from, one gap or less away, at the rate that was usual when the
// trouble began; a gate too young to know it learns it until then.
func (g *Gate) restart(now, from time.Time) {
	g.remember(now)
	g.kept = false
	g.pacer.paced, g.pacer.rate, g.pacer.damp = true, 0, 1
	g.pacer.gentle, g.pacer.failing, g.pacer.strikes = true, false, byChance+1
	g.pacer.at = from
	g.credit, g.at, g.from, g.proved = g.rand(), from, from, false
}

func (g *Gate) remember(now time.Time) {
	if g.usual == 0 && g.demand.known(now) {
		g.usual, g.young = g.demand.rate(now), false
	}
}

// usualRate is in calls a second.
func (g *Gate) usualRate(now time.Time) float64 {
	asked := g.demand.rate(now)
	if g.usual == 0 || g.young {
		return max(g.usual, asked)
	}
	// A meter of few calls errs: the usual rate may be two of its standard deviations higher. More is
	// the callers' distress.
	seen := max(callsToKnow, g.usual*shortMemory.Seconds())
	return min(max(g.usual, asked), g.usual*(1+2/math.Sqrt(seen)))
}

// earn brings the rate and the credit up to date, and returns the usual rate.
func (g *Gate) earn(now time.Time) float64 {
	d := g.usualRate(now)
	if g.pacer.paced {
		if g.usual == 0 || g.young {
			g.usual, g.young = d, !g.demand.known(now)
		}
		if g.pacer.rate == 0 {
			g.pacer.rate = returnFactor * d
		}
	}
	g.pacer.elapse(now, d)
	if !g.pacer.paced {
		return d
	}
	if elapsed := now.Sub(g.at).Seconds(); elapsed > 0 {
		g.credit = max(g.credit, min(1, g.credit+elapsed*g.pacer.pace(d)))
		g.at = now
	}
	return d
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
