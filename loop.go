package tether

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// A loop is a route that is asked for more than loopFactor times as often as usual within a window.
// It is only named: whoever runs the server decides what becomes of it.
const (
	loopWindow = 10 * time.Second
	loopFactor = 20
	loopLeast  = 2.5         // calls a window that may be usual anywhere: 50 are nobody at a keyboard
	loopKnown  = 6           // windows without which nothing is known to be usual
	loopMemory = 30          // windows over which it is learnt
	loopGap    = time.Minute // between two words about the same loop
)

// pulse learns how often one route is asked for.
type pulse struct {
	began   time.Duration // when the window did, since the target was first used
	said    time.Duration // when it was last called a loop
	usual   float64       // calls a window
	calls   int32         // in this window
	windows uint8         // seen, up to loopKnown
}

// beat counts a call, and tells whether that is to be called a loop.
func (p *pulse) beat(at time.Duration) (loop bool) {
	if passed := (at - p.began) / loopWindow; passed > 0 {
		p.next(float64(passed))
		p.began += passed * loopWindow
	}
	p.calls++
	if p.windows < loopKnown || float64(p.calls) <= loopFactor*max(p.usual, loopLeast) ||
		p.said > 0 && at-p.said < loopGap {
		return false
	}
	p.said = at
	return true
}

// next learns from a window, and from the empty ones that followed until so many had passed.
func (p *pulse) next(passed float64) {
	calls := float64(p.calls)
	memory := float64(loopMemory)
	if p.windows < loopKnown {
		memory = float64(p.windows) + 1
	} else {
		// A loop becomes usual so slowly that it is named for a quarter of an hour before.
		calls = min(calls, 2*max(p.usual, loopLeast))
	}
	p.usual += (calls - p.usual) / memory
	p.usual *= math.Pow(1-1/float64(loopMemory), passed-1)
	p.windows = uint8(min(float64(p.windows)+passed, loopKnown))
	p.calls = 0
}

// beat counts a call of a route. It tells whether that has run into a loop, and what would have been usual.
// The target is locked.
func (t *target) beat(route uint64) (loop bool, calls int32, usual float64) {
	b := &t.pulses[route%uint64(len(t.pulses))]
	loop = b.beat(t.used - t.born)
	return loop, b.calls, b.usual
}

// tellLoop names the call's route as one that runs in a loop.
func (v *visit) tellLoop(calls int32, usual float64) {
	v.engine.emit(Event{Kind: EventLoop, Target: v.target.name,
		Note: fmt.Sprintf("%s: %d calls in %v, usual are %.2g", v.routeName(), calls, loopWindow, usual)})
}

// routeName is the method and path of a call, without what may be a name, a number or a secret: such
// segments are a star each.
func (v *visit) routeName() string {
	if v.GRPCMethod != "" {
		return v.GRPCMethod
	}
	const most = 8
	segments := strings.Split(strings.TrimPrefix(v.Path, "/"), "/")
	more := ""
	if len(segments) > most {
		segments, more = segments[:most], "/..."
	}
	for i, s := range segments {
		if s != "" && !isWord(s) {
			segments[i] = "*"
		}
	}
	return strings.TrimSpace(v.Method + " /" + strings.Join(segments, "/") + more)
}
