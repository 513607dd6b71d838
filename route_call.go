package tether

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

// routing is the part of a call that a route matches in going elsewhere, or in not doing so.
type routing struct {
	flags.GuardedCall
	to      *policy.Origin // where the call goes; nil: where it was asked to
	tried   bool           // it may still fall back: nothing was settled there
	counted bool           // as a call, where it went first
	asked   policy.Origin
	policy  *policy.Resolved // for what was asked for
	serial  uint64           // of the configuration that is from
	failed  error            // why the re-attempt that is being decided on is a fallback
}

// enterRoute decides, once and for all, whether the call takes its policy's route.
func (c *call) enterRoute(config *current) {
	r := c.policy.Route
	if c.http.request.URL.Opaque != "" || c.isDecided() { // the former names the server once more
		return
	}
	to, has := r.To[config.flags.Variant(c.engine.attributes(c.Context), r.Flag)]
	asked := policy.Origin{Scheme: c.Scheme, Host: c.Host}
	if has && to.Is(asked) || !has && r.EndsAt(asked) { // it goes neither way
		return
	}
	has = has && (to.Scheme == "https" || c.Scheme == "http")
	c.decided = true
	c.routing = &routing{GuardedCall: c.engine.routes.guard(c.engine, r.Flag).Begin(has), asked: asked,
		policy: c.policy, serial: config.serial}
	if !c.routing.New() {
		return
	}
	// What is said of the call is said of what was asked for; what is said of a target, of where it goes.
	there := *config.Resolve(to.Scheme, to.Host, c.Method, c.Path, c.GRPCMethod)
	there.Timeout, there.AttemptTimeout = c.policy.Timeout, c.policy.AttemptTimeout
	there.MaxWait, there.NoWait = c.policy.MaxWait, c.policy.NoWait
	there.Retry, there.Retryable, there.Criticality = c.policy.Retry, c.policy.Retryable, c.policy.Criticality
	there.Hedge, there.Route = policy.Hedging{}, nil
	c.routing.to, c.routing.tried = &to, true
	c.Scheme, c.Host, c.policy = to.Scheme, to.Host, &there
}

// isDecided tells that a wrapper further out has decided where its call goes.
func (c *call) isDecided() bool {
	for within := c.Context; ; {
		outer, _ := within.Value(insideKey{}).(*attemptContext)
		if outer == nil || outer.decided {
			return outer != nil
		}
		within = outer.Context
	}
}

// routed tells that the call goes to another server than was asked for.
func (c *call) routed() bool { return c.routing != nil && c.routing.to != nil }

// askedKill returns the kill of what was asked for, wherever the call goes; else nil.
func (c *call) askedKill() *policy.Kill {
	asked := c.routing.asked
	return c.killers.Killed(asked.Scheme, asked.Host, c.Method, c.Path, "", c.clock())
}

// mayFallBack tells that the call is on its way to another server and nothing keeps it there.
func (c *call) mayFallBack() bool { return c.routing != nil && c.routing.tried }

// comeBack brings the call back to the server that was asked for.
func (c *call) comeBack() {
	r := c.routing
	r.to, r.tried, r.counted = nil, false, true
	c.Target.Release()
	c.Scheme, c.Host, c.policy = r.asked.Scheme, r.asked.Host, r.policy
	c.join(r.serial, c.Sample.Now())
	if c.killers.serial > r.serial { // whose word on this target the call has not heard
		c.followNewest()
	}
}

// learnRoute tells the guard how an attempt ended, if that says something about one of the two paths.
func (c *call) learnRoute(p *Permit, out *Outcome) {
	r := c.routing
	if out.Class == Ignored && (!c.unreached(out) || isRefusal(out.Err)) { // a refusal keeps nothing from anybody
		r.Cancel()
		return
	}
	r.Done(!out.served(c.policy) || c.withheld(out), c.idleAt.Since(p.pass.SentAt), out.Err)
}

// unreached tells failures on the way to a server (no name, no trust, no network), which teach nothing of the
// server, and all of the way: where the other way has none at the same time, it is the better one.
func (c *call) unreached(out *Outcome) bool {
	return out.Class == Ignored && out.Err != nil && c.Context.Err() == nil &&
		(isOwnTrouble(out.Err) || isPermanent(out.Err) || isRefusal(out.Err))
}

// keyed tells that nothing makes the call repeatable but a key, if that: of which another server may never
// have heard.
func (c *call) keyed() bool {
	return !isIdempotent(c.Method, nil) && !CallOptionsFrom(c.Context).Idempotent &&
		!declaresIdempotence(c.http.request.Header)
}

// fallBack lets the re-attempt after a failure, if there is to be one, be one at the server that was asked for,
// whose budget it then takes from. What the other one asked for binds those who go there.
func (c *call) fallBack(out Outcome) Outcome {
	c.routing.tried = false
	there := out
	switch {
	case c.withheld(&out):
		out.Hint.Verdict = hint.Repeat
	case out.Class == Ignored:
		return out
	}
	if out.Partitioned || !out.retryable(c.policy) || out.Sent == MaybeSent && c.keyed() {
		return there
	}
	if c.routing.failed = out.Err; out.Err == nil {
		c.routing.failed = fmt.Errorf("tether: the status was %s", out.attempt(0).result())
	}
	c.comeBack()
	out.Hint = hint.Hint{Verdict: out.Hint.Verdict}
	return out
}

// divert has a call that the other server can't take now go to the one that was asked for: its first attempt.
func (c *call) divert(refusal *RejectedError) bool {
	if !c.mayFallBack() {
		return false
	}
	c.routing.FallBack(refusal)
	c.comeBack()
	return true
}

// turnBack has a call that found no way to the other server, and never left, go to the one that was asked for.
// Nobody's budget pays: neither server has had an attempt, and no stage learns from it that would keep the next
// call from trying.
func (c *call) turnBack(out *Outcome) bool {
	if !c.mayFallBack() || !c.unreached(out) || !c.replayable {
		return false
	}
	inHandshake := as[*tls.CertificateVerificationError](out.Err) || errors.Is(out.Err, http.ErrSchemeMismatch)
	if out.Sent == MaybeSent && !inHandshake && c.keyed() {
		return false
	}
	c.routing.FallBack(out.Err)
	c.comeBack()
	return true
}

// fellBack is told that a failed call is repeated; the first time counts.
func (r *routing) fellBack() {
	if r != nil && r.failed != nil {
		r.FallBack(r.failed)
	}
}

// routeGuards compare, flag by flag, what is routed with what isn't.
type routeGuards struct {
	mu    sync.Mutex // guards what follows
	byKey map[string]*flags.Guard
}

// guard returns the guard of a flag. It outlives the documents, so that a push doesn't turn on again what
// was turned off here.
func (r *routeGuards) guard(e *Engine, flag string) *flags.Guard {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.byKey[flag]; g != nil {
		return g
	}
	if r.byKey == nil {
		r.byKey = make(map[string]*flags.Guard)
	}
	for other := range r.byKey {
		if len(r.byKey) >= policy.MaxRules {
			delete(r.byKey, other)
		}
	}
	seed := uint64(e.rand()*(1<<52)) + 1
	// Nothing that it refuses can be here: a route has a flag's key.
	g, _ := flags.NewGuard(e.flags, flag, flags.GuardPolicy{}, flags.GuardOptions{Seed: seed, Observe: e.routeEvent})
	r.byKey[flag] = g
	return g
}

// routeEvent tells what a guard did.
func (e *Engine) routeEvent(g flags.GuardEvent) {
	note := g.Key + ": " + string(g.Kind)
	if g.Kind == flags.TurnedOff {
		note += ": " + compared(g)
	}
	e.emit(Event{Kind: EventRoute, Note: note, Err: g.Err})
}

func compared(g flags.GuardEvent) string {
	return fmt.Sprintf("%d of %d calls of the new path failed, %d of %d of the old one",
		g.New.Failures, g.New.Calls, g.Old.Failures, g.Old.Calls)
}
