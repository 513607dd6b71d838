package priority

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/retry"
)

// The figures were found in rehearsals, as those of pacing; the steps are of the rate's logarithm, for all
// that is learnt within about a second.
const (
	// deferMemory is how long a more critical call is remembered, and a failure.
	deferMemory = 60 * time.Second
	demandTime  = 10 * time.Second // over which demand is averaged
	demandLeast = 0.25             // calls/s: a quiet client's demand is a guess
	deferLeast  = 0.02             // calls/s: nobody is kept back for good

	// A failure is no accident if another came without a fast answer between, if answers were slow before,
	// or if the server said "overloaded" itself.
	doubtEnough = 1.4
	doubtSlow   = 0.5

	// Then this share of what gives way may leave; failures and slow answers lower it, fast ones raise it.
	deferStart   = 0.1
	deferFail    = 1.0
	deferSlow    = 0.8
	deferFast    = 0.5
	deferLift    = 0.2 // of the usual rate, at the first fast answer
	deferMost    = 1.2 // of it: those who waited mustn't come back together
	deferQuickly = 0.5 // of what is slow: such an answer waited for nobody

	// After this time, at random, the more critical calls return at their usual rate: what overloaded the
	// server may have been those that give way by then. Each time in vain makes it eight times as long.
	returnFirst  = 1500 * time.Millisecond
	returnLast   = 30 * time.Second
	returnLonger = 8
)

// errReserved is why a call that gives way isn't repeated although there is a re-attempt left.
var ErrReserved = fmt.Errorf("%w: the rest is kept for more critical calls", retry.ErrBudget)

// Shedder keeps a target's less critical calls back for its more critical ones while failures say that it
// has too little for all: they leave at a rate of their own, by what all answers teach. Before anything has
// failed nobody gives way, nor where no more critical call was asked for lately. It only ever keeps calls
// back, but for that return at the usual rate. It is safe for concurrent use.
type Shedder struct {
	seen atomic.Bool    // a call that isn't Default, for a look without the lock
	rand func() float64 // set once

	mu      sync.Mutex // guards what follows
	asked   [criticality.Critical - criticality.Sheddable + 1]time.Time
	lesser  decaying  // calls that give way
	ended   decaying  // attempts
	doubt   float64   // failures, by weight, since the last fast answer
	trouble time.Time // the last failure that was no accident
	rate    float64   // of the calls that give way, a second; 0: any
	usual   float64   // of them, when trouble began
	credit  float64
	at      time.Time // when credit was last brought up to date
	back    time.Time // when the more critical calls return; zero: they did
	gap     time.Duration
}

func New(rand func() float64) *Shedder { return &Shedder{rand: rand} }

// Active tells whether a call that isn't Default was ever asked for.
func (d *Shedder) Active() bool { return d.seen.Load() }

// decaying counts what happened within about a time.
type decaying struct {
	n  float64
	at time.Time
}

func (d *decaying) add(now time.Time, over time.Duration) {
	d.n, d.at = d.count(now, over)+1, now
}

func (d *decaying) count(now time.Time, over time.Duration) float64 {
	return d.n * math.Exp(-now.Sub(d.at).Seconds()/over.Seconds())
}

// Ask counts a call that is asked for, once a call. It tells whether such calls are to return at their usual
// rate now.
func (d *Shedder) Ask(c criticality.Level) (returns bool) {
	if c == criticality.Default && !d.seen.Load() {
		return false
	}
	d.seen.Store(true)
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.asked[c-criticality.Sheddable] = now
	if d.givesWay(c, now) {
		d.lesser.add(now, demandTime)
		return false
	}
	if d.rate == 0 || d.back.IsZero() || now.Before(d.back) {
		return false
	}
	d.back = time.Time{}
	return true
}

// givesWay tells whether a more critical call was asked for lately. It is locked.
func (d *Shedder) givesWay(c criticality.Level, now time.Time) bool {
	for _, at := range d.asked[c-criticality.Sheddable+1:] {
		if !at.IsZero() && now.Sub(at) < deferMemory {
			return true
		}
	}
	return false
}

// Take lets a call go, or says when it may. Waiting is how many wait beside it: with a call that nobody waits
// beside the calls cease to give way, when all that is asked for may leave or the trouble is long past.
func (d *Shedder) Take(c criticality.Level, waiting int) (retryAt time.Time, ok bool) {
	if c == criticality.Critical || !d.seen.Load() {
		return retryAt, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.rate == 0 || !d.givesWay(c, now) {
		return retryAt, true
	}
	d.credit = min(1, d.credit+now.Sub(d.at).Seconds()*d.rate)
	d.at = now
	if d.credit < 1 {
		return now.Add(time.Duration((1-d.credit)/d.rate*1e9) + 1), false
	}
	d.credit--
	if waiting == 0 && (d.rate >= d.demand(now) || now.Sub(d.trouble) > deferMemory) {
		d.rate = 0
	}
	return retryAt, true
}

// Untake gives back what take let go and nobody sent.
func (d *Shedder) Untake(c criticality.Level) {
	if c == criticality.Critical || !d.seen.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.credit = min(1, d.credit+1)
}

// Pace is how many calls a second may leave of those that give way, if calls of c do; 0: as many as want.
func (d *Shedder) Pace(c criticality.Level) float64 {
	if c == criticality.Critical || !d.seen.Load() {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.givesWay(c, time.Now()) {
		return 0
	}
	return d.rate
}

// Reserves tells whether the last re-attempt of the budget is kept from calls of c: in doubt, while more
// critical ones are asked for.
func (d *Shedder) Reserves(c criticality.Level) bool {
	if c == criticality.Critical || !d.seen.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return (d.doubt > 0 || d.rate > 0) && d.givesWay(c, time.Now())
}

func (d *Shedder) demand(now time.Time) float64 {
	return max(demandLeast, d.lesser.count(now, demandTime)/demandTime.Seconds())
}

// weight counts an attempt that ended. All of one second weigh as much as one. It is locked.
func (d *Shedder) weight(now time.Time) float64 {
	d.ended.add(now, time.Second)
	return 1 / max(1, d.ended.n-1)
}

// Failed hears of an attempt that the server let down. A refused connection cost it nothing: then pacing
// alone decides.
func (d *Shedder) Failed(kind pacing.Failure) {
	if kind == pacing.Refused || !d.seen.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	weight := d.weight(now)
	if now.Sub(d.trouble) > deferMemory {
		d.gap, d.back = returnFirst, time.Time{}
	}
	d.doubt += weight
	if kind == pacing.Overloaded {
		d.doubt += doubtSlow * weight
	}
	if d.rate == 0 || d.doubt >= doubtEnough {
		d.trouble = now
	}
	switch {
	case d.rate > 0:
		d.rate = max(deferLeast, d.rate*math.Exp(-deferFail*weight))
	case d.doubt >= doubtEnough:
		d.usual = d.demand(now)
		d.rate, d.at = max(deferLeast, deferStart*d.usual), now
		d.credit = 0
	}
	if d.rate > 0 && d.back.IsZero() {
		d.back = now.Add(time.Duration((0.5 + d.rand()) * float64(d.gap)))
		d.gap = min(returnLonger*d.gap, returnLast)
	}
	if weight == 1 {
		d.credit = min(d.credit, d.rand()) // clients that failed together don't go on together
	}
}

// Good hears of a good answer. Slow is when answers of its kind are slow; 0: unknown.
func (d *Shedder) Good(took, slow time.Duration) {
	if !d.seen.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	weight := d.weight(now)
	ratio := 0.3
	if slow > 0 {
		ratio = took.Seconds() / slow.Seconds()
	}
	switch {
	case ratio < deferQuickly:
		if d.doubt > 0 && d.rate > 0 {
			d.rate = max(d.rate, deferLift*d.usual)
		}
		d.doubt = 0
		if now.Sub(d.trouble) > deferMemory { // what was usual then need not be now
			d.usual = max(d.usual, min(d.rate, d.demand(now)))
		}
		d.rate = min(d.rate*math.Exp(deferFast*(1-ratio/deferQuickly)*weight), deferMost*d.usual)
	case d.rate > 0:
		d.rate = max(deferLeast, d.rate*math.Exp(-deferSlow*min(1, ratio-deferQuickly)*weight))
	}
	if ratio > 1 && d.doubt < doubtSlow { // slowness alone is never enough
		d.doubt = min(doubtSlow, d.doubt+doubtSlow*weight)
	}
}
