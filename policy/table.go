package policy

import (
	"math"
	"strconv"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/jsondoc"
	"github.com/tether-go/tether/retry"
)

// The settings that are a number or a switch, each known by its place in the settings table. Status
// codes are the one setting that is neither; they are handled beside it.
const (
	callTimeout = iota
	callAttemptTimeout
	callMaxWait
	retryMaxAttempts
	retryInitialBackoff
	retryMaxBackoff
	retryMultiplier
	retryJitter
	hedgingDelay
	hedgingQuantile
	callCriticality
	budgetRatio
	holdMax
	breakerConsecutiveFailures
	breakerFailureRatio
	breakerMinCalls
	breakerWindow
	breakerOpenTime
	breakerMaxOpenTime
	breakerProbes
	breakerProbeLease
	breakerMode
	breakerSlowRatio
	breakerSlowDuration
	pacingMode
	ratePerSecond
	rateBurst
	concurrencyMax
	concurrencyMode
	numSettings
)

const (
	codesPath = "call.retryPolicy.retryableStatusCodes"

	modeAuto = "auto"
	modeOff  = "off"
)

// The words of settings that are one, in the order of their numbers.
var (
	modes = []string{modeAuto, modeOff}
	// An adaptive limit is never above the fixed one.
	concurrencyModes = []string{"adaptive", "fixed"}
	// From the calmest to the loosest: what only observes lets everything out.
	breakerModes = []string{string(breaker.ForcedOpen), string(breaker.Auto), string(breaker.ObserveOnly),
		string(breaker.ForcedClosed)}
	criticalities = []string{criticality.Sheddable.String(), criticality.Default.String(), criticality.Critical.String()}
	jitters       = []string{string(retry.JitterFull), string(retry.JitterEqual), string(retry.JitterDecorrelated)}
)

// unsetNumber stands in a column of numbers for a setting that nobody made.
const unsetNumber = -1

// setting is what there is to know about one number of the document. Durations are nanoseconds,
// words are their place among words.
type setting struct {
	path  string // below defaults or a rule
	unit  settingUnit
	words []string // of a setting inWords, from the calmest to the loosest
	field settingField
	// builtin holds where nobody says otherwise.
	builtin float64
	// least and most bound what is safe whoever asks; 0 is legal below least where zero says so.
	least, most float64
	zero        zeroMeaning
	// floor and ceiling name the fields of Bounds against loosening downward and upward; empty
	// where that direction calms.
	floor, ceiling string
	// other names the switch in Bounds without which a document can't change the setting at all: for
	// values of which none is calmer than another everywhere.
	other string
	// free is how far a document may loosen where Bounds say nothing and the application's own
	// Document is stricter.
	free float64
}

type settingUnit int

const (
	inCount settingUnit = iota
	inRatio
	inDuration
	inWords
)

type zeroMeaning int

const (
	zeroIsNone  zeroMeaning = iota // 0 is no setting
	zeroIsZero                     // 0 is the smallest value
	zeroIsNever                    // 0 turns a limit off, so it is the longest
)

// oneSecond is a duration as the table holds it.
const oneSecond = float64(time.Second)

// settings is the one table that validation, clamping and resolving share. It is never written.
var settings = [numSettings]setting{
	// A call given up too early is work thrown away and asked for again, so shorter loosens; a
	// longer bound never adds attempts, which are counted elsewhere. A second is less than a phone
	// may need to connect, and a document may ask for it unasked.
	callTimeout: {path: "call.timeout", unit: inDuration, zero: zeroIsNever,
		field: numberField(func(s *Settings) **time.Duration { return &s.Call.Timeout }),
		least: 0.01 * oneSecond, most: 86400 * oneSecond, free: oneSecond,
		floor: "MinTimeout"},
	callAttemptTimeout: {path: "call.attemptTimeout", unit: inDuration, zero: zeroIsNever,
		field: numberField(func(s *Settings) **time.Duration { return &s.Call.AttemptTimeout }),
		least: 0.01 * oneSecond, most: 86400 * oneSecond, free: oneSecond,
		floor: "MinAttemptTimeout"},
	callMaxWait: {path: "call.maxWait", unit: inDuration, zero: zeroIsZero, builtin: unsetNumber,
		field: numberField(func(s *Settings) **time.Duration { return &s.Call.MaxWait }),
		most:  86400 * oneSecond, free: 60 * oneSecond,
		ceiling: "MaxMaxWait"},

	retryMaxAttempts: {path: "call.retryPolicy.maxAttempts", builtin: 3, least: 1, most: 10,
		field:   retryField(func(r *RetrySettings) **int { return &r.MaxAttempts }),
		ceiling: "MaxAttempts"},
	retryInitialBackoff: {path: "call.retryPolicy.initialBackoff", unit: inDuration,
		field:   retryField(func(r *RetrySettings) **time.Duration { return &r.InitialBackoff }),
		builtin: 0.25 * oneSecond, least: 0.001 * oneSecond, most: 86400 * oneSecond,
		floor: "MinInitialBackoff"},
	retryMaxBackoff: {path: "call.retryPolicy.maxBackoff", unit: inDuration,
		field:   retryField(func(r *RetrySettings) **time.Duration { return &r.MaxBackoff }),
		builtin: 5 * oneSecond, least: 0.001 * oneSecond, most: 86400 * oneSecond,
		floor: "MinMaxBackoff"},
	retryMultiplier: {path: "call.retryPolicy.backoffMultiplier", unit: inRatio,
		field:   retryField(func(r *RetrySettings) **float64 { return &r.BackoffMultiplier }),
		builtin: 2, least: 1, most: 10,
		floor: "MinBackoffMultiplier"},
	retryJitter: {path: "call.retryPolicy.jitter", unit: inWords, zero: zeroIsZero, most: 2,
		words: jitters, field: jitterField(),
		other: "OtherJitter"},

	// 0 and the whole of all answers are the calmest: no hedge.
	hedgingDelay: {path: "call.hedgingPolicy.hedgingDelay", unit: inDuration, zero: zeroIsNever,
		field: hedgingField(func(h *HedgingSettings) **time.Duration { return &h.HedgingDelay }),
		least: 0.001 * oneSecond, most: 86400 * oneSecond,
		floor: "MinHedgingDelay"},
	hedgingQuantile: {path: "call.hedgingPolicy.quantile", unit: inRatio, builtin: 1, least: 0.5, most: 1,
		field: hedgingField(func(h *HedgingSettings) **float64 { return &h.Quantile }),
		floor: "MinHedgingQuantile"},

	callCriticality: {path: "call.criticality", unit: inWords, zero: zeroIsZero, builtin: unsetNumber,
		words: criticalities, field: criticalityField(), most: 2,
		ceiling: "RaiseCriticality"},

	budgetRatio: {path: "target.retryBudget.ratio", unit: inRatio, zero: zeroIsZero,
		field: budgetField(), builtin: 0.1, most: 1,
		ceiling: "MaxRetryRatio"},
	holdMax: {path: "target.hold.max", unit: inDuration,
		field: holdField(), builtin: 3600 * oneSecond, least: oneSecond, most: 86400 * oneSecond,
		floor: "MinHoldMax"},

	breakerConsecutiveFailures: {path: "target.circuitBreaker.consecutiveFailures",
		field:   breakerField(func(b *BreakerSettings) **int { return &b.ConsecutiveFailures }),
		builtin: 5, least: 1, most: 1000,
		ceiling: "MaxConsecutiveFailures"},
	breakerFailureRatio: {path: "target.circuitBreaker.failureRatio", unit: inRatio,
		field:   breakerField(func(b *BreakerSettings) **float64 { return &b.FailureRatio }),
		builtin: 0.5, least: 0.01, most: 1,
		ceiling: "MaxFailureRatio"},
	breakerMinCalls: {path: "target.circuitBreaker.minCalls",
		field:   breakerField(func(b *BreakerSettings) **int { return &b.MinCalls }),
		builtin: 20, least: 1, most: 10_000,
		ceiling: "MaxMinCalls"},
	// Both ways loosen: a short window never fills up to MinCalls, and in a long one old successes
	// hide a fault.
	breakerWindow: {path: "target.circuitBreaker.window", unit: inDuration,
		field:   breakerField(func(b *BreakerSettings) **time.Duration { return &b.Window }),
		builtin: 30 * oneSecond, least: oneSecond, most: 3600 * oneSecond,
		floor:   "MinWindow",
		ceiling: "MaxWindow"},
	breakerOpenTime: {path: "target.circuitBreaker.openTime", unit: inDuration,
		field:   breakerField(func(b *BreakerSettings) **time.Duration { return &b.OpenTime }),
		builtin: 0.75 * oneSecond, least: 0.1 * oneSecond, most: 86400 * oneSecond,
		floor: "MinOpenTime"},
	breakerMaxOpenTime: {path: "target.circuitBreaker.maxOpenTime", unit: inDuration,
		field:   breakerField(func(b *BreakerSettings) **time.Duration { return &b.MaxOpenTime }),
		builtin: 1.25 * oneSecond, least: 0.1 * oneSecond, most: 86400 * oneSecond,
		floor: "MinMaxOpenTime"},
	breakerProbes: {path: "target.circuitBreaker.probes", builtin: 1, least: 1, most: 100,
		field:   breakerField(func(b *BreakerSettings) **int { return &b.Probes }),
		ceiling: "MaxProbes"},
	breakerProbeLease: {path: "target.circuitBreaker.probeLease", unit: inDuration,
		field:   breakerField(func(b *BreakerSettings) **time.Duration { return &b.ProbeLease }),
		builtin: 10 * oneSecond, least: 0.1 * oneSecond, most: 86400 * oneSecond,
		floor: "MinProbeLease"},
	breakerMode: {path: "target.circuitBreaker.mode", unit: inWords, zero: zeroIsZero, builtin: 1, most: 3,
		words: breakerModes, field: breakerModeField(),
		ceiling: "BreakerOff"},
	breakerSlowRatio: {path: "target.circuitBreaker.slowCallRatio", unit: inRatio, zero: zeroIsNever,
		field: breakerField(func(b *BreakerSettings) **float64 { return &b.SlowCallRatio }),
		least: 0.01, most: 1,
		ceiling: "MaxSlowCallRatio"},
	breakerSlowDuration: {path: "target.circuitBreaker.slowCallDuration", unit: inDuration, zero: zeroIsNever,
		field: breakerField(func(b *BreakerSettings) **time.Duration { return &b.SlowCallDuration }),
		least: 0.01 * oneSecond, most: 86400 * oneSecond,
		ceiling: "MaxSlowCallDuration"},

	pacingMode: {path: "target.pacing.mode", unit: inWords, zero: zeroIsZero, most: 1,
		words: modes, field: pacingModeField(),
		ceiling: "PacingOff"},

	ratePerSecond: {path: "target.rateLimit.perSecond", unit: inRatio, zero: zeroIsNever,
		field: rateField(func(r *RateSettings) **float64 { return &r.PerSecond }),
		least: 0.0001, most: 10_000,
		ceiling: "MaxPerSecond"},
	rateBurst: {path: "target.rateLimit.burst", builtin: unsetNumber,
		field: rateField(func(r *RateSettings) **int { return &r.Burst }),
		least: 1, most: 10_000,
		ceiling: "MaxBurst"},
	concurrencyMax: {path: "target.concurrency.max", zero: zeroIsNever,
		field: concurrencyField(), least: 1, most: 10_000,
		ceiling: "MaxConcurrency"},
	concurrencyMode: {path: "target.concurrency.mode", unit: inWords, zero: zeroIsZero, builtin: 1, most: 1,
		words: concurrencyModes, field: concurrencyModeField(),
		ceiling: "FixedConcurrency"},
}

// size makes two values of a setting comparable: the larger is the longer, the more.
func (s *setting) size(v float64) float64 {
	switch {
	case s.zero == zeroIsNever && v == 0:
		return math.Inf(1)
	case v == unsetNumber && s.free > 0: // what it then comes to at most
		return s.free
	case v == unsetNumber && s.unit == inWords: // what a call is of which nobody says anything
		return wordOf(criticality.Default)
	case v == unsetNumber: // rateBurst: what it comes to is known with the limit
		return math.Inf(1)
	}
	return v
}

// format writes a value as the document does.
func (s *setting) format(v float64) string {
	switch {
	case v == unsetNumber:
		return "the default"
	case s.unit == inDuration:
		return jsondoc.FormatDuration(time.Duration(v))
	case s.unit == inWords:
		return s.words[int(v)]
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
