package ratelimit

import (
	"math"
	"time"
)

const (
	// adaptiveAnswers is the least number of answers from which the limit is moved, and adaptiveWithin the
	// time within which they must come: a client of fewer calls learns from its pacing, not here.
	adaptiveAnswers = 10
	adaptiveWithin  = 10 * time.Second
	adaptiveStep    = 100 * time.Millisecond // or as long as answers take, if that is longer
	// lossIsChance is the share of lost calls that accidents explain; in a step of few calls, as many more
	// as four standard deviations. One in a hundred is no queue.
	lossIsChance = 0.1
	deviations   = 4
	// calmAfter is how long after the last losses answers are taken for usual again, however long they
	// take: a server may have become slower for good, and the limit is lifted.
	calmAfter = 30 * time.Second
	// slackened is how much longer than usual answers may take before the limit falls.
	slackened    = 1.5
	leastKept    = 0.5 // of the limit, in one step
	usualMemory  = time.Minute
	latelyMemory = time.Second
)

// adaptive is the limit that answers teach. In calm it is the policy's Max, whatever answers take. When calls
// are lost it falls below the number under way, by half of the lost share (as DCTCP's window does, RFC 8257
// section 3.3), and from then on follows the gradient: the usual time of answers over their time lately, with
// room for a queue of its square root (Gradient2 of Netflix' concurrency-limits). It goes up only while it is
// made use of.
type adaptive struct {
	limit float64

	usual    float64 // mean of answers in calm, in times that are usual for their kind; 0: not known
	lately   float64
	answered time.Time // when an answer last came

	began   time.Time // of the step that is being counted
	answers int
	lost    int
	peak    int       // calls under way in it
	took    float64   // seconds that answers take lately
	trouble time.Time // when a step last had losses; zero: calm
}

// answer counts an answer that took so long; usual is the usual time of such a call; 0: not known.
func (a *adaptive) answer(now time.Time, took, usual time.Duration) {
	x := took.Seconds()
	if usual > 0 {
		x = float64(took) / float64(usual)
	}
	since := max(0, now.Sub(a.answered))
	a.answered = now
	if a.usual == 0 {
		a.usual, a.lately, a.took = x, x, took.Seconds()
	}
	a.lately += (x - a.lately) * weightOf(since, latelyMemory)
	a.took += (took.Seconds() - a.took) * weightOf(since, latelyMemory)
	if a.calm(now) {
		a.usual += (x - a.usual) * weightOf(since, usualMemory)
	}
	a.answers++
}

// weightOf is the weight of a value that comes so long after the one before, in a mean over a time. A few
// values alone are no mean: one weighs an eighth at most.
func weightOf(since, memory time.Duration) float64 {
	return min(0.125, 1-math.Exp(-since.Seconds()/memory.Seconds()))
}

func (a *adaptive) calm(now time.Time) bool {
	return a.trouble.IsZero() || now.Sub(a.trouble) > calmAfter
}

// step moves the limit once enough was counted, between 1 and most.
func (a *adaptive) step(now time.Time, most int) {
	if a.idle(now) {
		a.lift(now, most)
		return
	}
	if a.answers+a.lost < adaptiveAnswers || now.Sub(a.began).Seconds() < max(adaptiveStep.Seconds(), a.took) {
		return
	}
	calls := float64(a.answers + a.lost)
	share := float64(a.lost) / calls
	switch {
	case share > lossIsChance+deviations*math.Sqrt(lossIsChance*(1-lossIsChance)/calls):
		a.trouble = now
		a.limit = min(a.limit, float64(a.peak)) * (1 - share/2)
	case a.calm(now):
		a.lift(now, most)
		return
	default:
		gradient := 1.0
		if a.lately > 0 { // answers may have taken no time, by a coarse clock
			gradient = min(1, max(leastKept, slackened*a.usual/a.lately))
		}
		next := a.limit*gradient + math.Sqrt(a.limit)
		if next < a.limit || 2*a.peak >= int(a.limit) {
			a.limit = next
		}
	}
	a.limit = min(max(1, a.limit), float64(most))
	a.count(now)
}

// idle tells that there is too little to learn from.
func (a *adaptive) idle(now time.Time) bool {
	return a.began.IsZero() || now.Sub(a.began) > adaptiveWithin && a.answers+a.lost < adaptiveAnswers
}

// outlived raises a limit that keeps back the very calls that could teach it: where long answers hold all its
// places, only time can tell. One call more may leave; its outcome and the next do the rest.
func (a *adaptive) outlived(now time.Time, most, taken int) {
	if a.calm(now) && a.idle(now) {
		a.limit = min(max(a.limit, float64(taken+1)), float64(most))
		a.count(now)
	}
}

// lift ends the trouble.
func (a *adaptive) lift(now time.Time, most int) {
	a.limit, a.trouble = float64(most), time.Time{}
	a.count(now)
}

func (a *adaptive) count(now time.Time) { a.began, a.answers, a.lost, a.peak = now, 0, 0, 0 }

// Turn is what an outcome does to an adaptive limit as a whole. The zero Turn is none. An answer can complete
// the count that makes the limit fall, and a loss can end a long pause that lifts it.
type Turn uint8

// The turns of a limit.
const (
	Steady Turn = iota // it goes on as before
	Falls              // losses begin to make it fall
	Lifted             // the trouble is over, and it is the policy's Max again
)

// Answered tells an adaptive limit of a good answer: how long it took, and how long answers of its kind
// usually take; 0: unknown. Of a limit that isn't adaptive it changes nothing.
func (c *Concurrency) Answered(took, usual time.Duration) Turn {
	return c.learn(func(a *adaptive, now time.Time) { a.answer(now, took, usual) })
}

// Lost tells an adaptive limit of a call that brought no answer in time, or one that says "overloaded". Of a
// limit that isn't adaptive it changes nothing. Failures for other reasons are not to be told.
func (c *Concurrency) Lost() Turn {
	return c.learn(func(a *adaptive, _ time.Time) { a.lost++ })
}

// learn reports the beginning and the end of trouble.
func (c *Concurrency) learn(count func(*adaptive, time.Time)) Turn {
	if !c.adapts.Load() {
		return Steady
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.policy.Adaptive {
		return Steady
	}
	now := time.Now()
	a := &c.adaptive
	a.peak = max(a.peak, len(c.taken))
	limit, calm := a.limit, a.trouble.IsZero()
	count(a, now)
	a.step(now, c.policy.most())
	if a.limit > limit {
		c.wake()
	}
	switch {
	case calm == a.trouble.IsZero():
		return Steady
	case calm:
		return Falls
	default:
		return Lifted
	}
}
