package policy

import (
	"cmp"
	"math"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/latency"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/retry"
)

// Resolved is what one call and its target go by: every setting resolved, every bound applied. It is
// shared by calls and never changed.
type Resolved struct {
	Timeout        time.Duration // 0: none
	AttemptTimeout time.Duration // 0: none
	MaxWait        time.Duration // 0: unset, see CallSettings.MaxWait, unless noWait
	NoWait         bool          // refuse instead of waiting
	Retry          retry.Policy
	Hedge          Hedging
	Route          *routePolicy // nil: none
	Criticality    CriticalityCeiling
	// Retryable has RESOURCE_EXHAUSTED by default: that one is for answers that name a delay.
	Retryable   statusSet
	BudgetRatio float64 // 0: no retries
	HoldMax     time.Duration
	Breaker     breaker.Policy
	PacingOff   bool
	Rate        ratelimit.LimitPolicy
	Concurrency ratelimit.ConcurrencyPolicy
	// Key is the name of the rule whose calls have a target state of their own; "": that of the
	// host.
	Key string
}

// settingValues are settings on their way to a policy.
type settingValues struct {
	number [numSettings]float64
	codes  statusSet
	key    string
	route  *RouteSettings
}

// defaultCodes are the answers that a repeat may turn into success. 500 is among them because SDKs
// agree on it; whether a call may be repeated at all is another question, which retry answers.
var defaultCodes = newStatusSet([]StatusCode{408, 425, 429, 500, 502, 503, 504,
	CodeUnavailable, CodeResourceExhausted, CodeDeadlineExceeded})

func builtinValues() settingValues {
	v := settingValues{codes: defaultCodes}
	for i := range settings {
		v.number[i] = settings[i].builtin
	}
	return v
}

// overlay takes over the settings that s makes.
func (v *settingValues) overlay(s *Settings) {
	for i := range settings {
		if number, ok := settings[i].field.get(s); ok {
			v.number[i] = number
		}
	}
	if r := s.Call.RetryPolicy; r != nil && r.RetryableStatusCodes != nil {
		v.codes = newStatusSet(r.RetryableStatusCodes)
	}
	if s.Call.Route != nil {
		v.route = s.Call.Route
	}
}

// order raises a maximum that is below its beginning, as can happen when one layer sets the one and
// another layer the other: to wait longer is the calmer reading.
func (v *settingValues) order() {
	v.number[retryMaxBackoff] = max(v.number[retryMaxBackoff], v.number[retryInitialBackoff])
	v.number[breakerMaxOpenTime] = max(v.number[breakerMaxOpenTime], v.number[breakerOpenTime])
}

// clamp bounds every value for calls for which the application's own Document says own.
func (v *settingValues) clamp(b *Bounds, own *settingValues) {
	for i := range settings {
		least, most := settings[i].limits(b, own.number[i])
		v.number[i] = settings[i].clamp(v.number[i], least, most)
	}
	v.codes = v.codes.and(b.codes(own.codes))
	v.order()
	if learntSlow(&own.number) && b.MaxSlowCallDuration == 0 {
		v.number[breakerSlowDuration] = 0
	}
	v.number[rateBurst] = min(burstOf(&v.number), cmp.Or(float64(b.MaxBurst), burstOf(&own.number)))
}

// learntSlow tells that what is usual decides which calls are slow.
func learntSlow(number *[numSettings]float64) bool {
	return number[breakerSlowRatio] > 0 && number[breakerSlowDuration] == 0
}

// burstOf is the burst of a rate limit; what nobody sets follows from the limit.
func burstOf(number *[numSettings]float64) float64 {
	switch perSecond := number[ratePerSecond]; {
	case perSecond == 0:
		return math.Inf(1)
	case number[rateBurst] != unsetNumber:
		return number[rateBurst]
	default:
		return float64(ratelimit.LimitPolicy{PerSecond: perSecond}.WithDefaults().Burst)
	}
}

func (v *settingValues) policy() *Resolved {
	span := func(i int) time.Duration { return time.Duration(v.number[i]) }
	p := &Resolved{
		Timeout:        span(callTimeout),
		AttemptTimeout: span(callAttemptTimeout),
		MaxWait:        max(span(callMaxWait), 0),
		NoWait:         v.number[callMaxWait] == 0,
		Retry: retry.Policy{
			MaxAttempts:    int(v.number[retryMaxAttempts]),
			InitialBackoff: span(retryInitialBackoff),
			MaxBackoff:     span(retryMaxBackoff),
			Multiplier:     v.number[retryMultiplier],
			Jitter:         retry.Jitter(jitters[int(v.number[retryJitter])]),
		},
		Hedge:       Hedging{span(hedgingDelay), latency.QuantileUp(v.number[hedgingQuantile])},
		Criticality: ceilingOf(v.number[callCriticality]),
		Retryable:   v.codes,
		BudgetRatio: v.number[budgetRatio],
		HoldMax:     span(holdMax),
		Breaker: breaker.Policy{
			Mode:                breaker.Mode(breakerModes[int(v.number[breakerMode])]),
			ConsecutiveFailures: int(v.number[breakerConsecutiveFailures]),
			FailureRatio:        v.number[breakerFailureRatio],
			MinCalls:            int(v.number[breakerMinCalls]),
			Window:              span(breakerWindow),
			OpenTime:            span(breakerOpenTime),
			MaxOpenTime:         span(breakerMaxOpenTime),
			Probes:              int(v.number[breakerProbes]),
			ProbeLease:          span(breakerProbeLease),
			SlowCallRatio:       v.number[breakerSlowRatio],
			SlowCallDuration:    span(breakerSlowDuration),
		},
		PacingOff: v.number[pacingMode] == 1,
		Concurrency: ratelimit.ConcurrencyPolicy{Max: int(v.number[concurrencyMax]),
			Adaptive: v.number[concurrencyMode] == 0},
		Key: v.key,
	}
	if perSecond := v.number[ratePerSecond]; perSecond > 0 {
		p.Rate = ratelimit.LimitPolicy{PerSecond: perSecond, Burst: int(v.number[rateBurst])}
	}
	return p
}

// CriticalityCeiling is what the configuration says of a call's criticality, if it says anything.
type CriticalityCeiling struct {
	Set bool
	At  criticality.Level
}

func ceilingOf(v float64) CriticalityCeiling {
	if v == unsetNumber {
		return CriticalityCeiling{}
	}
	return CriticalityCeiling{true, criticalityAt(v)}
}

// Hedging says when an attempt without an answer is hedged. The zero value: never.
type Hedging struct {
	Delay time.Duration // at least
	Up    time.Duration // of a normal that learns the quantile; 0: there is none
}
