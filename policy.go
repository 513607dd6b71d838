package tether

import (
	"cmp"
	"math"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/latency"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/retry"
)

// policy is what one call and its target go by: every setting resolved, every bound applied. It is
// shared by calls and never changed.
type policy struct {
	timeout        time.Duration // 0: none
	attemptTimeout time.Duration // 0: none
	maxWait        time.Duration // 0: unset, see CallSettings.MaxWait, unless noWait
	noWait         bool          // refuse instead of waiting
	retry          retry.Policy
	hedge          hedgePolicy
	route          *routePolicy // nil: none
	criticality    ceiling
	// retryable has RESOURCE_EXHAUSTED by default: that one is for answers that name a delay.
	retryable   statusSet
	budgetRatio float64 // 0: no retries
	holdMax     time.Duration
	breaker     breaker.Policy
	pacingOff   bool
	rate        ratelimit.LimitPolicy
	concurrency ratelimit.ConcurrencyPolicy
	// key is the name of the rule whose calls have a target state of their own; "": that of the
	// host.
	key string
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
	grpcUnavailable, grpcResourceExhausted, grpcDeadlineExceeded})

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

// clamp bounds every value for calls for which the application's own Config says own.
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

func (v *settingValues) policy() *policy {
	span := func(i int) time.Duration { return time.Duration(v.number[i]) }
	p := &policy{
		timeout:        span(callTimeout),
		attemptTimeout: span(callAttemptTimeout),
		maxWait:        max(span(callMaxWait), 0),
		noWait:         v.number[callMaxWait] == 0,
		retry: retry.Policy{
			MaxAttempts:    int(v.number[retryMaxAttempts]),
			InitialBackoff: span(retryInitialBackoff),
			MaxBackoff:     span(retryMaxBackoff),
			Multiplier:     v.number[retryMultiplier],
			Jitter:         retry.Jitter(jitters[int(v.number[retryJitter])]),
		},
		hedge:       hedgePolicy{span(hedgingDelay), latency.QuantileUp(v.number[hedgingQuantile])},
		criticality: ceilingOf(v.number[callCriticality]),
		retryable:   v.codes,
		budgetRatio: v.number[budgetRatio],
		holdMax:     span(holdMax),
		breaker: breaker.Policy{
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
		pacingOff: v.number[pacingMode] == 1,
		concurrency: ratelimit.ConcurrencyPolicy{Max: int(v.number[concurrencyMax]),
			Adaptive: v.number[concurrencyMode] == 0},
		key: v.key,
	}
	if perSecond := v.number[ratePerSecond]; perSecond > 0 {
		p.rate = ratelimit.LimitPolicy{PerSecond: perSecond, Burst: int(v.number[rateBurst])}
	}
	return p
}
