package tether

import (
	"time"

	"github.com/tether-go/tether/breaker"
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
	// retryable has RESOURCE_EXHAUSTED by default: that one is for answers that name a delay.
	retryable   statusSet
	budgetRatio float64 // 0: no retries
	holdMax     time.Duration
	breaker     breaker.Policy
	pacingOff   bool
	// key is the name of the rule whose calls have a target state of their own; "": that of the
	// host.
	key string
}

// settingValues are settings on their way to a policy.
type settingValues struct {
	number [numSettings]float64
	codes  statusSet
	key    string
}

// defaultCodes are the answers that a repeat may turn into success. 500 is among them because SDKs
// agree on it; whether a call may be repeated at all is another question, which retry answers.
var defaultCodes = newStatusSet([]StatusCode{408, 425, 429, 500, 502, 503, 504,
	grpcUnavailable, grpcResourceExhausted})

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
		hedge:       hedgePolicy{span(hedgingDelay), quantileUp(v.number[hedgingQuantile])},
		retryable:   v.codes,
		budgetRatio: v.number[budgetRatio],
		holdMax:     span(holdMax),
		breaker: breaker.Policy{
			Disabled:            v.number[breakerMode] == 1,
			ConsecutiveFailures: int(v.number[breakerConsecutiveFailures]),
			FailureRatio:        v.number[breakerFailureRatio],
			MinCalls:            int(v.number[breakerMinCalls]),
			Window:              span(breakerWindow),
			OpenTime:            span(breakerOpenTime),
			MaxOpenTime:         span(breakerMaxOpenTime),
			Probes:              int(v.number[breakerProbes]),
			ProbeLease:          span(breakerProbeLease),
		},
		pacingOff: v.number[pacingMode] == 1,
		key:       v.key,
	}
	return p
}
