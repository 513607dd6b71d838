package tether

import (
	"context"
	"fmt"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/endpoint"
	"github.com/tether-go/tether/internal/loopguard"
	"github.com/tether-go/tether/internal/target"
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
	killers *current // the configuration whose kill switches were read last
	target.Entry
}

// begin takes the one snapshot of the configuration that a call goes by.
func (v *visit) begin(ctx context.Context, e *Engine) {
	v.Context, v.engine = ctx, e
	v.inner = ctx.Value(insideKey{}) != nil
	v.Sample, v.Entered = e.clock.Now()
	v.killers = e.config.Load()
	v.policy = v.killers.Resolve(v.Scheme, v.Host, v.Method, v.Path, v.GRPCMethod)
}

// isPlain tells whether nothing about the visit needs a stage's judgement where nothing stands in its way.
func (v *visit) isPlain() bool {
	return v.criticality == criticality.Default && !v.Explained && v.policy.Hedge == (policy.Hedging{}) &&
		v.policy.Breaker.Mode != breaker.ForcedOpen && (len(v.killers.Kills) == 0 ||
		v.killers.Killed(v.Scheme, v.Host, v.Method, v.Path, v.GRPCMethod, v.Began()) == nil)
}

// findTarget looks the target up. It may be forgotten before the visit has entered it.
func (v *visit) findTarget(serial uint64) {
	v.Target = v.engine.targets.Find(v.targetKey(), v.policy, serial)
}

func (v *visit) targetKey() target.Key {
	return target.Key{Scheme: v.Scheme, Host: v.Host, Service: v.Service, Rule: v.policy.Key}
}

// enter counts the visit as one that uses its target, unless that was forgotten, or isn't quiet where it must be. The
// target is brought up to the visit's configuration.
func (v *visit) enter(serial uint64, now clock.Moment, mustBeQuiet bool) bool {
	in, l := v.Entry.Enter(v.policy, serial, now, v.endpoint(), mustBeQuiet)
	if l.Found {
		v.engine.emit(Event{Kind: EventLoop, Target: v.Target.Name,
			Note: fmt.Sprintf("%s: %d calls in %v, usual are %.2g", v.endpoint().Name(), l.Calls, loopguard.Window, l.Usual)})
	}
	return in
}

// endpoint is what the call asks for.
func (v *visit) endpoint() endpoint.Endpoint {
	return endpoint.Endpoint{Method: v.Method, Path: v.Path, GRPCMethod: v.GRPCMethod}
}

// place names the requests that a server is likely to count together with the call's.
func (v *visit) place() uint64 { return v.endpoint().Place(v.engine.hashSeed) }
