package tether

import (
	"context"
	"fmt"
	"time"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/endpoint"
	"github.com/tether-go/tether/internal/loopguard"
	"github.com/tether-go/tether/policy"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
)

// visit is where a call goes and by what: all that one needs that passes a quiet target.
type visit struct {
	attemptContext
	*Call   // perhaps shared by calls: only the HTTP edge's are changed
	engine  *Engine
	policy  *policy.Resolved
	target  *target
	killers *current // the configuration whose kill switches were read last
	sample  *clock.Sample
	entered clock.Moment // start of the call

	route uint64 // names what answers are comparable with its own
	spell uint32 // of the target's quiet, in which it passed; 0: the stages were asked
	plain bool   // it needs no stage's judgement where nothing stands in its way
	timed bool   // its answer is, although it passed quietly
}

// begin takes the one snapshot of the configuration that a call goes by.
func (v *visit) begin(ctx context.Context, e *Engine) {
	v.Context, v.engine = ctx, e
	v.inner = ctx.Value(insideKey{}) != nil
	v.sample, v.entered = e.clock.Now()
	v.killers = e.config.Load()
	v.policy = v.killers.Resolve(v.Scheme, v.Host, v.Method, v.Path, v.GRPCMethod)
}

// isPlain tells whether nothing about the visit needs a stage's judgement where nothing stands in its way.
func (v *visit) isPlain() bool {
	return v.criticality == criticality.Default && !v.Explained && v.policy.Hedge == (policy.Hedging{}) &&
		v.policy.Breaker.Mode != breaker.ForcedOpen && (len(v.killers.Kills) == 0 ||
		v.killers.Killed(v.Scheme, v.Host, v.Method, v.Path, v.GRPCMethod, v.began()) == nil)
}

// findTarget looks the target up. It may be forgotten before the visit has entered it.
func (v *visit) findTarget(serial uint64) {
	v.target = v.engine.target(v.targetKey(), v.policy, serial)
}

func (v *visit) targetKey() targetKey { return targetKey{v.Scheme, v.Host, v.Service, v.policy.Key} }

// enter counts the visit as one that uses its target, unless that was forgotten, or isn't quiet where it must be. The
// target is brought up to the visit's configuration.
func (v *visit) enter(serial uint64, now clock.Moment, mustBeQuiet bool) bool {
	t := v.target
	if v.Method != "" || v.Path != "" { // else it is known mostly
		v.route = v.hashRoute()
	}
	t.mu.Lock()
	if t.users.Load() < 0 {
		t.mu.Unlock()
		return false
	}
	t.followLocked(v.policy, serial, now)
	if v.route == 0 {
		v.route = t.lastRoute.hashOf(v)
	}
	if !v.enterQuiet(now) {
		if mustBeQuiet {
			t.mu.Unlock()
			return false
		}
		t.tellLocked() // before the call tells the stages of itself
		t.users.Add(1)
	}
	loop, calls, usual := t.loops.Beat(v.route, t.used.Since(t.born))
	t.mu.Unlock()
	if loop {
		v.tellLoop(calls, usual)
	}
	return true
}

// began is when the visit did, and passed the time since.
func (v *visit) began() time.Time { return v.sample.Time(v.entered) }

func (v *visit) passed() time.Duration {
	return v.sample.Now().Since(v.entered)
}

// timeTaken is the time that a timed answer took; else 0, for reading the clock costs as much as all else.
func (v *visit) timeTaken() time.Duration {
	if !v.timed {
		return 0
	}
	return v.passed()
}

// endpoint is what the call asks for.
func (v *visit) endpoint() endpoint.Endpoint {
	return endpoint.Endpoint{Method: v.Method, Path: v.Path, GRPCMethod: v.GRPCMethod}
}

// hashRoute names what answers are comparable with the visit's.
func (v *visit) hashRoute() uint64 { return v.endpoint().Hash(v.engine.hashSeed) }

// place names the requests that a server is likely to count together with the call's.
func (v *visit) place() uint64 { return v.endpoint().Place(v.engine.hashSeed) }

// tellLoop names the call's route as one that runs in a loop.
func (v *visit) tellLoop(calls int32, usual float64) {
	v.engine.emit(Event{Kind: EventLoop, Target: v.target.name,
		Note: fmt.Sprintf("%s: %d calls in %v, usual are %.2g", v.endpoint().Name(), calls, loopguard.Window, usual)})
}
