// Package loopguard finds callers that ask in a loop: it names an endpoint that is asked for far more often than usual,
// and spaces out the refusals that a caller without a pause would spin on.
package loopguard

import (
	"math"
	"time"
)

// Window is the span over which calls of one endpoint are counted.
const Window = 10 * time.Second

// An endpoint is in a loop when a window has more than factor times the usual calls. The guard only names it: the people
// who run the server decide what becomes of it.
const (
	factor = 20
	least  = 2.5         // calls a window that may be usual anywhere: nobody at a keyboard makes 50
	known  = 6           // windows after which enough is known to be usual
	memory = 30          // windows over which the usual count is learnt
	gap    = time.Minute // between two reports of the same loop

	// refusalGap is the time between two refusals that are given at once: a loop that asks again as soon as it is
	// refused gets at most ten a second.
	refusalGap = 100 * time.Millisecond
)

// Guard watches the callers of one server. The zero value is ready. It is guarded by its owner's lock.
type Guard struct {
	pulses      [32]pulse // by endpoint; endpoints share one where their hashes meet
	nextRefusal time.Time // before which a refusal is slowed
}

// Beat counts a call of an endpoint at a server that has been known for age. It tells whether the call has run into a
// loop, how many calls its window has, and how many are usual.
func (g *Guard) Beat(endpoint uint64, age time.Duration) (loop bool, calls int32, usual float64) {
	p := &g.pulses[endpoint%uint64(len(g.pulses))]
	loop = p.beat(age)
	return loop, p.calls, p.usual
}

// RefusalDelay is how long a refusal must take so that those of a single caller are a tenth of a second apart. Callers
// side by side are delayed side by side.
func (g *Guard) RefusalDelay(now time.Time) time.Duration {
	delay := min(max(0, g.nextRefusal.Sub(now)), refusalGap)
	g.nextRefusal = now.Add(delay + refusalGap)
	return delay
}

// pulse learns how often one endpoint is asked for. Its times are since the server was first used.
type pulse struct {
	began   time.Duration // start of the window
	said    time.Duration // last report of a loop; 0: never
	usual   float64       // calls a window
	calls   int32         // in this window
	windows uint8         // seen, up to known
}

// beat counts a call, and tells whether a loop is to be reported.
func (p *pulse) beat(at time.Duration) (loop bool) {
	if passed := (at - p.began) / Window; passed > 0 {
		p.next(float64(passed))
		p.began += passed * Window
	}
	p.calls++
	if p.windows < known || float64(p.calls) <= factor*max(p.usual, least) || p.said > 0 && at-p.said < gap {
		return false
	}
	p.said = at
	return true
}

// next learns from a window, and from the empty ones that followed until so many had passed.
func (p *pulse) next(passed float64) {
	calls, span := float64(p.calls), float64(memory)
	if p.windows < known {
		span = float64(p.windows) + 1
	} else {
		// A loop becomes usual so slowly that it is named for a quarter of an hour before.
		calls = min(calls, 2*max(p.usual, least))
	}
	p.usual += (calls - p.usual) / span
	p.usual *= math.Pow(1-1/float64(memory), passed-1)
	p.windows = uint8(min(float64(p.windows)+passed, known))
	p.calls = 0
}
