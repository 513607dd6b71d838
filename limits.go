package tether

import (
	"fmt"
	"net/http"
	"time"
	"weak"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// lookAgain is how long the first in line for a slot sleeps at most: one that was forgotten is free
// without anybody saying so.
const lookAgain = time.Second

// limits are a target's limits that the configuration sets, whatever the server says.
type limits struct {
	rate        *ratelimit.Limiter
	concurrency *ratelimit.Concurrency
}

func newLimits(p targetPolicy, rand func() float64) (l limits) {
	opts := ratelimit.LimiterOptions{Rand: rand}
	var err error
	if l.rate, err = ratelimit.NewLimiter(p.rate, opts); err != nil { // a bug of ours, as in newTarget
		l.rate, _ = ratelimit.NewLimiter(ratelimit.LimitPolicy{}, opts)
	}
	if l.concurrency, err = ratelimit.NewConcurrency(p.concurrency); err != nil {
		l.concurrency, _ = ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{})
	}
	return l
}

func (l limits) set(p targetPolicy) {
	l.rate.SetPolicy(p.rate)
	l.concurrency.SetPolicy(p.concurrency)
}

// throughLimits takes for a permit what the limits of the target give, or tells which has nothing left; then
// nothing is kept.
func (c *call) throughLimits(p *Permit) *obstacle {
	t := c.target
	if retryAt, err := t.rate.Take(); err != nil {
		return &obstacle{stage: StageRate, reason: ratelimit.ErrLimited, retryAt: retryAt}
	}
	slot, err := t.concurrency.Take()
	if err != nil {
		t.rate.Untake()
		return &obstacle{stage: StageConcurrency, reason: ratelimit.ErrBusy, change: true, look: lookAgain}
	}
	if c.policy.Rate.PerSecond > 0 {
		t.stats.passed(StageRate)
	}
	if slot != nil {
		t.stats.passed(StageConcurrency)
	}
	p.slot = slot
	return nil
}

// outOfReach tells of a rate limit that leaves the call no turn within its patience, with those who
// wait already before it. A repeat is not asked: it waits where its call came, not at the end.
func (c *call) outOfReach(at place, now time.Time) *obstacle {
	if o := c.shed(at, now); o != nil {
		return o
	}
	if at.breaker == nil || c.attempts > 0 {
		return nil
	}
	retryAt := c.target.rate.ReadyAt(at.line.Ahead(c.criticality))
	if retryAt.Sub(now) <= c.patience(now) {
		return nil
	}
	return &obstacle{stage: StageRate, reason: ratelimit.ErrLimited, retryAt: retryAt}
}

// behind is what keeps those back who wait before the call.
func (c *call) behind(at place) *obstacle {
	o := &obstacle{stage: StagePacing, reason: pacing.ErrPaced, change: true}
	until, perSecond := at.gate.Status()
	switch {
	case !until.IsZero():
		return &obstacle{stage: StageHold, reason: pacing.ErrHeld, retryAt: until}
	case at.breaker == nil:
	case at.breaker.Refuses():
		o.stage, o.reason = StageBreaker, breaker.ErrOpen
	case c.target.deference.Pace(c.criticality) > 0:
		o.shed = true
	case perSecond > 0:
	case !c.target.rate.ReadyAt(0).IsZero():
		o.stage, o.reason = StageRate, ratelimit.ErrLimited
	default:
		if taken, most := c.target.concurrency.Status(); most > 0 && taken >= most {
			o.stage, o.reason = StageConcurrency, ratelimit.ErrBusy
		}
	}
	return o
}

// followNewest brings the newest configuration to the target: where all calls wait, none that begins
// may be there to do so.
func (c *call) followNewest() {
	p := c.killers.Resolve(c.Scheme, c.Host, c.Method, c.Path, c.GRPCMethod)
	if p.Key == c.policy.Key {
		c.forcedOpen = p.Breaker.Mode == breaker.ForcedOpen
		c.target.follow(p, c.killers.serial)
	}
}

// end frees the attempt's place among those under way, unless its body has that.
func (p *Permit) end() {
	p.slot.Release()
	p.slot = nil
}

// lend leaves the attempt's place to the body of its answer, and returns the answer with that body. It is a copy:
// net/http may keep the response that it made until the body ends. Nothing but the caller may keep the new body
// alive, so that one that is forgotten frees its place.
func (p *Permit) lend(resp *http.Response) *http.Response {
	if p.slot == nil {
		return resp
	}
	slot, line := p.slot, &p.call.target.line
	p.slot, p.lent, p.lentBy = nil, weak.Make(p.slot), line
	if resp.Trailer == nil {
		resp.Trailer = make(http.Header) // net/http fills its response's when the body ends: both have the same
	}
	own := *resp
	whenEnded(&own, func() {
		slot.Release()
		line.WakeNext()
	})
	return &own
}

// takeBack frees the place of an answer that its repeat will replace.
func (p *Permit) takeBack() {
	if p.lentBy != nil {
		p.lent.Value().Release()
		p.lentBy.WakeNext()
	}
}

// lost tells an adaptive concurrency limit that the server couldn't serve an attempt.
func (c *call) lost(p *Permit) {
	if c.target.concurrency.Lost() {
		c.tellLimit(p, "falls")
	}
}

func (c *call) tellLimit(p *Permit, what string) {
	_, limit := c.target.concurrency.Status()
	c.engine.emit(Event{Kind: EventLimit, Target: c.target.name, Stage: StageConcurrency, Attempt: p.attempt,
		Note: fmt.Sprintf("%s: %d under way", what, limit)})
}
