package pacing

import (
	"math"
	"time"
)

// Calm tells whether calls only need to be counted: nothing keeps them back, nothing is remembered of the
// usual rate, and no failure that teaches anything came since the last good answer that wasn't slow. Until
// Failed, Hold, Remember, Resume or Recovered is called, every Take passes and [Gate.CountAt] may stand for Ask,
// Take and Good. It is safe for concurrent use: the caller must notice each call of one of these
// methods.
func (g *Gate) Calm() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := &g.pacer
	return !p.paced && !p.failing && p.strikes == 0 && g.usual == 0 && !g.kept && !time.Now().Before(g.until)
}

// CountAt counts at once the calls of a calm time that ended just before a moment: how many were asked for and
// passed, without waiting, how many had good answers, none of them slow, and how long those took in the mean. The
// two numbers are from 0, and independent: a call may be answered in a later count than it passed in. Took 0: not
// known. A moment that is earlier than another call's is taken for that. It is safe for concurrent use.
func (g *Gate) CountAt(at time.Time, asked, good int, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.demand.decay(at)
	g.demand.calls += float64(asked)
	g.running = max(0, g.running+asked-good)
	if asked > 0 { // waiting: else some would do so for ever that did before the calm
		g.waiting, g.sent = 0, later(g.sent, at)
	}
	if good == 0 {
		return
	}
	d := g.earn(at)
	if took > 0 {
		averageOf(good, &g.recent, took, d)
		if !g.pacer.paced && !g.pacer.failing {
			averageOf(good, &g.mean, took, d)
		}
	}
	g.pacer.ended(at, float64(good))
	g.called = max(0, g.called-good)
	g.goodAt = later(g.goodAt, at)
}

// averageOf is average for so many answers that took that long in the mean.
func averageOf(answers int, mean *time.Duration, took time.Duration, d float64) {
	if *mean == 0 {
		*mean = took
	}
	kept := math.Pow(1-shareOf(d), float64(answers))
	*mean += time.Duration(float64(took-*mean) * (1 - kept))
}
