package policy

import (
	"encoding/json"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/internal/jsondoc"
	"github.com/tether-go/tether/retry"
)

// Document is the document that steers clients: what a server may publish, and equally an
// application's own settings, which a published document overrides member by member.
//
// The zero value means the documented default of everything. A member that is absent (nil) is left
// to the layer below: a rule falls back on the defaults, a published document on the application's
// own Document, and that on the built-in default. Set makes a pointer to a value; an explicit 0 means
// 0 wherever 0 is a setting. Durations are strings in JSON, such as "0.25s" or "250ms".
//
// A Document is plain data: do not change it while another goroutine reads it.
type Document struct {
	// Schema is the version of the document's form. Default 1, the only one so far; required in
	// JSON.
	Schema int `json:"schema"`
	// Document names the document, so that a client cannot be given another application's. Default
	// "".
	Document string `json:"document,omitempty"`
	// Audience tells whom the document is for, such as {"environment": "production"}: every member
	// must have the same value in Options.Audience. Default everybody.
	Audience map[string]string `json:"audience,omitzero"`
	// Version grows with each publication; clients refuse a lower one. At most 2^53-1, the largest
	// whole number that every JSON reader keeps exact. Default 0.
	Version uint64 `json:"version,omitempty"`
	// Label is a note for people. Default "".
	Label string `json:"label,omitempty"`
	// Issued is when the document was made. Default unknown.
	Issued time.Time `json:"issued,omitzero"`
	// Expires is when the document stops being worth adopting. One that is in force stays so, after a
	// restart too, and is stale. Default never.
	Expires time.Time `json:"expires,omitzero"`
	// PollInterval is the mean time between two looks for a newer document. Default: what the
	// watcher of the document says; bounded by Bounds.PollMin and PollMax.
	PollInterval *time.Duration `json:"pollInterval,omitempty"`
	// Nudge lists the hosts whose answers may tell of a newer version. Default the hosts that rules
	// name; an empty list means none.
	Nudge []string `json:"nudge,omitzero"`
	// Kill lists calls that are not to be made. Default none.
	Kill []Kill `json:"kill,omitempty"`
	// Defaults apply to every call.
	Defaults Settings `json:"defaults,omitzero"`
	// Rules apply, each in its turn, to the calls that they match; the last to set a member wins.
	// At most 1,000. Default none.
	Rules []Rule `json:"rules,omitempty"`
	// Schedules steer the periodic work that the application runs with Engine.Every, by its name
	// there; a name that no work has changes nothing. Default none: what the application's Schedule
	// says.
	Schedules map[string]ScheduleSettings `json:"schedules,omitzero"`
	// Stages are changes that only a part of the clients gets, in order; see Rollout. At most 100, and
	// at most 1,000 rules with those of the document. They are in force only from a published document.
	// Default none.
	Stages []Rollout `json:"stages,omitempty"`
	// Flags is flagd's document of feature flags, whole; Engine.Flags evaluates it, and package flags says
	// what may stand in it. A document with Flags or FlagSettings replaces both of the application's own.
	// Default none.
	Flags json.RawMessage `json:"flags,omitempty"`
	// FlagSettings is what tether adds to flagd's document: how keys are hashed ("bucketing", 2 or 3), and
	// "guards" as in flags.GuardPolicy, by flag. Default bucketing 2, and no guard's policy changed.
	FlagSettings json.RawMessage `json:"flagSettings,omitempty"`
	// App belongs to the application: any JSON, which tether keeps and does not read. Default none.
	App json.RawMessage `json:"app,omitempty"`
}

// Kill stops calls: new attempts that it matches are refused until it ends.
type Kill struct {
	// Name tells one kill from another in events. Default "".
	Name string `json:"name,omitempty"`
	// Match says which calls; required in JSON, where {} stops every call.
	Match Match `json:"match"`
	// Until is when the kill ends by itself; required. It is capped by Bounds.MaxKill, counted from
	// when the document is first applied.
	Until time.Time `json:"until"`
	// Reason is told to whoever is refused. Default "".
	Reason string `json:"reason,omitempty"`
}

// Rule changes settings for the calls that it matches.
type Rule struct {
	// Name tells one rule from another; unique when set, required with Key. Default "".
	Name string `json:"name,omitempty"`
	// Match says which calls; required in JSON, where {} means every call.
	Match Match `json:"match"`
	// Key "rule" gives the calls of this rule a target state of their own (breaker, budget, hold,
	// pacing, limits), apart from the rest of their host. One that a document adds begins without a
	// saved retry, and keeps a hold of its host. Default "": the state of their host.
	Key string `json:"key,omitempty"`
	// Call changes how one call is made.
	Call CallSettings `json:"call,omitzero"`
	// Target changes how the target is spared. It belongs to a host: a rule that matches on more
	// than Host may set it only with Key.
	Target TargetSettings `json:"target,omitzero"`
}

// Match selects calls. A call must fit every member that is set; the zero value fits every call.
type Match struct {
	// Host is a host in any case, exact, or "*." and a domain for every host below it, at any
	// depth, without the domain itself; either may end in a port. Without one, every port fits.
	// Default any.
	Host string `json:"host,omitempty"`
	// Method lists HTTP methods, in capitals. Default any.
	Method []string `json:"method,omitempty"`
	// Path is a prefix of whole segments: "/v1/search" fits itself and "/v1/search/x", not
	// "/v1/searching". Both sides are compared decoded and cleaned: "//v1/./%73earch/" is the same.
	// An encoded slash (%2F) is part of its segment, as in RFC 3986 section 2.2, and never divides
	// two. For gRPC it is compared with the full method, which is the path on the wire. Default
	// any.
	Path string `json:"path,omitempty"`
	// GRPCMethod is "/package.Service/Method", or "/package.Service/" for the whole service. Over
	// HTTP it fits a POST whose Content-Type is gRPC's or gRPC-Web's and whose path that is, and no
	// other call. Default any.
	GRPCMethod string `json:"grpcMethod,omitempty"`
}

// Settings are what defaults and rules may set.
type Settings struct {
	// Call says how one call is made.
	Call CallSettings `json:"call,omitzero"`
	// Target says how one target (a host, or a rule with a key) is spared by all calls together.
	Target TargetSettings `json:"target,omitzero"`
}

// CallSettings say how one call is made.
type CallSettings struct {
	// Timeout bounds all attempts and waits of a call together; the caller's own deadline holds
	// too. From 10 ms to 24 h; 0: no bound. Default 0.
	Timeout *time.Duration `json:"timeout,omitempty"`
	// AttemptTimeout bounds one attempt, up to the head of its answer. From 10 ms to 24 h; 0: no
	// bound. Default 0.
	AttemptTimeout *time.Duration `json:"attemptTimeout,omitempty"`
	// MaxWait bounds all waiting of a call (for a hold, its turn, or a retry) together. From 0 to
	// 24 h; 0: refuse instead of waiting. Default: what the deadline leaves, at most 60 s; 10 s
	// without one.
	MaxWait *time.Duration `json:"maxWait,omitempty"`
	// Criticality is "critical", "default" or "sheddable": which calls go first, and which are refused
	// first, where calls have to wait. Of this and the call's own word ([criticality.With]) the lower one
	// counts, unless Bounds.RaiseCriticality. Default: the call's own.
	Criticality *criticality.Level `json:"criticality,omitempty"`
	// RetryPolicy says how often and how patiently a call is repeated.
	RetryPolicy *RetrySettings `json:"retryPolicy,omitempty"`
	// HedgingPolicy says when a second attempt of a slow call is sent beside the first.
	HedgingPolicy *HedgingSettings `json:"hedgingPolicy,omitempty"`
	// Route sends calls to another server by a feature flag. Default none.
	Route *RouteSettings `json:"route,omitempty"`
}

// RetrySettings say how often and how patiently a call is repeated; names as in gRFC A6.
type RetrySettings struct {
	// MaxAttempts counts the first attempt too. From 1 to 10; 1: no retries. Default 3.
	MaxAttempts *int `json:"maxAttempts,omitempty"`
	// InitialBackoff is the ceiling of the first delay. From 1 ms to 24 h. Default 250 ms.
	InitialBackoff *time.Duration `json:"initialBackoff,omitempty"`
	// MaxBackoff is the ceiling of every delay. From 1 ms to 24 h, at least InitialBackoff. Default
	// 5 s, or InitialBackoff if that is longer.
	MaxBackoff *time.Duration `json:"maxBackoff,omitempty"`
	// BackoffMultiplier is the growth of the ceiling per attempt. From 1 to 10. Default 2.
	BackoffMultiplier *float64 `json:"backoffMultiplier,omitempty"`
	// Jitter is how a delay is drawn below the ceiling: "full", "equal" or "decorrelated", as in
	// retry.Jitter. Default "full".
	Jitter *retry.Jitter `json:"jitter,omitempty"`
	// RetryableStatusCodes are the answers that may be worth a repeat; an empty list: none. Default
	// 408, 425, 429, 500, 502, 503, 504, UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED. The last is
	// only repeated when the server names a delay.
	RetryableStatusCodes []StatusCode `json:"retryableStatusCodes,omitzero"`
}

// HedgingSettings say when an attempt that has no answer yet is hedged: the same request is sent once
// more beside it, and the first answer that serves is the call's. What its zero value says, no hedge, is
// the default.
//
// Hedged are GET, HEAD, OPTIONS and TRACE without a body, and calls that are tether.CallOptions.Idempotent and
// whose body can be sent again; a request that asks for an upgrade isn't. A body's GetBody must then give
// a copy that is independent of the one being sent. A hedge counts as one of RetryPolicy.MaxAttempts and is
// taken from the retry budget. It never waits: it is sent where nothing stands in its way, and not at all
// while the server asks for silence, the breaker isn't closed, or calls are paced or in line. The call
// returns when the other attempt has ended, so at once with a transport that heeds its request's context.
// Don't switch it on for long polls, whose answers are late on purpose.
type HedgingSettings struct {
	// HedgingDelay is the shortest time without an answer after which an attempt is hedged; a jitter of
	// up to half of it is added. From 1 ms to 24 h; 0: with Quantile alone, if that is set (in gRFC A6 it
	// means at once, which is never meant here). Default 0.
	HedgingDelay *time.Duration `json:"hedgingDelay,omitempty"`
	// Quantile hedges an attempt that takes longer than this share of the answers of its route (method and
	// path) usually do. It is learnt; until 50 answers were seen only HedgingDelay counts, if that is set.
	// From 0.5 to 1; 1: with HedgingDelay alone. Default 1.
	Quantile *float64 `json:"quantile,omitempty"`
}

// TargetSettings say how one target is spared.
type TargetSettings struct {
	// RetryBudget bounds the retries to the target.
	RetryBudget *BudgetSettings `json:"retryBudget,omitempty"`
	// Hold says how a server's "not before" is kept; it cannot be turned off.
	Hold *HoldSettings `json:"hold,omitempty"`
	// CircuitBreaker stops calls to a target that does not answer.
	CircuitBreaker *BreakerSettings `json:"circuitBreaker,omitempty"`
	// Pacing slows calls to a target that is overloaded.
	Pacing *PacingSettings `json:"pacing,omitempty"`
	// RateLimit bounds the attempts a second, whatever the target's answers say.
	RateLimit *RateSettings `json:"rateLimit,omitempty"`
	// Concurrency bounds the attempts under way at once, whatever the target's answers say.
	Concurrency *ConcurrencySettings `json:"concurrency,omitempty"`
}

// BudgetSettings bound retries.
type BudgetSettings struct {
	// Ratio is how many retries each successful call allows. From 0 to 1; 0: no retries. Default
	// 0.1.
	Ratio *float64 `json:"ratio,omitempty"`
}

// HoldSettings bound holds.
type HoldSettings struct {
	// Max is the longest that one answer can hold a target's calls. From 1 s to 24 h. Default 1 h.
	Max *time.Duration `json:"max,omitempty"`
}

// BreakerSettings say when a breaker opens and how it comes back, as in breaker.Policy.
type BreakerSettings struct {
	// ConsecutiveFailures opens the breaker. From 1 to 1,000. Default 5.
	ConsecutiveFailures *int `json:"consecutiveFailures,omitempty"`
	// FailureRatio opens the breaker when at least MinCalls were counted in Window and more failed than
	// chance explains (three standard deviations above the ratio). From 0.01 to 1. Default 0.5.
	FailureRatio *float64 `json:"failureRatio,omitempty"`
	// MinCalls is the volume below which FailureRatio says nothing. From 1 to 10,000. Default 20.
	MinCalls *int `json:"minCalls,omitempty"`
	// Window is the rolling time over which calls are counted. From 1 s to 1 h. Default 30 s.
	Window *time.Duration `json:"window,omitempty"`
	// OpenTime is how long the breaker refuses after its first opening. From 100 ms to 24 h.
	// Default 750 ms.
	OpenTime *time.Duration `json:"openTime,omitempty"`
	// MaxOpenTime is the longest open time. From 100 ms to 24 h, at least OpenTime.
	// Default 1250 ms, or OpenTime if that is longer.
	MaxOpenTime *time.Duration `json:"maxOpenTime,omitempty"`
	// Probes is how many calls may test a half-open breaker at once. From 1 to 100. Default 1.
	Probes *int `json:"probes,omitempty"`
	// ProbeLease is how long a probe may take. From 100 ms to 24 h. Default 10 s.
	ProbeLease *time.Duration `json:"probeLease,omitempty"`
	// Mode is "auto"; "forced-open": every call is refused until the mode changes; "observe-only": as
	// auto, but nobody is refused; or "forced-closed": every call is admitted. The forced ones learn
	// nothing and keep what was learnt. Default "auto".
	Mode *breaker.Mode `json:"mode,omitempty"`
	// SlowCallRatio opens the breaker when at least MinCalls were counted in Window and more were slow
	// than chance explains, as FailureRatio does. From 0.01 to 1; 0: slow calls are good ones. Default 0.
	SlowCallRatio *float64 `json:"slowCallRatio,omitempty"`
	// SlowCallDuration is the time to an answer's head from which on it is slow. From 10 ms to 24 h; 0:
	// what is slow by the usual time of its own method and path. Default 0.
	SlowCallDuration *time.Duration `json:"slowCallDuration,omitempty"`
}

// PacingSettings say whether calls to an overloaded target are paced.
type PacingSettings struct {
	// Mode is "auto", or "off": calls are never paced. Default "auto".
	Mode *string `json:"mode,omitempty"`
}

// RateSettings are this client's own limit of attempts a second, as in ratelimit.LimitPolicy. Calls
// beyond it wait for their turn.
type RateSettings struct {
	// PerSecond is how many attempts a second may leave in the long run. From 0.0001 to 10,000; 0:
	// any number. Default 0.
	PerSecond *float64 `json:"perSecond,omitempty"`
	// Burst is how many may leave at once after a time of fewer. A new limit starts with one. From 1 to
	// 10,000. Default what PerSecond allows in a second, at least 1.
	Burst *int `json:"burst,omitempty"`
}

// ConcurrencySettings are this client's own limit of attempts under way at once, as in
// ratelimit.Concurrency. Calls beyond it wait for their turn.
type ConcurrencySettings struct {
	// Max is how many may be under way, from when they are sent until their answers' bodies have
	// ended. From 1 to 10,000; 0: any number. Default 0.
	Max *int `json:"max,omitempty"`
	// Mode is "fixed": the limit is Max; or "adaptive": while calls are lost for overload it is below, as
	// far as the answers say. Default "fixed".
	Mode *string `json:"mode,omitempty"`
}

// ScheduleSettings steer one kind of periodic work. They can make it rarer and move it to other
// hours; only a kill stops it.
type ScheduleSettings struct {
	// Every is the mean time between two runs. From 1 s to 720 h. Default Schedule.Every.
	Every *time.Duration `json:"every,omitempty"`
	// Window is when runs may begin. Default Schedule.Window.
	Window *DailyWindow `json:"window,omitempty"`
}

// DailyWindow is a part of every day, in UTC: no hour of UTC is ever missing or there twice, and
// all clients have the same one. It is never an instant, for what a fleet does at one o'clock sharp
// is a peak; each run draws its own moment within. The zero value is the whole day.
type DailyWindow struct {
	// From is when the window opens, as "01:00" in UTC, from "00:00" to "23:59". Required.
	From string `json:"from"`
	// To is when it closes, at least 15 min later; before From it is on the next day. Required.
	To string `json:"to"`
}

// Ptr returns a pointer to v, so that a literal can tell a value from its absence:
// Timeout: policy.Ptr(2 * time.Second).
func Ptr[T any](v T) *T { return &v }

// MarshalJSON writes the document that Parse reads back as the same Document, Schema 0 as 1. It does
// not check the values; a number that JSON cannot hold is an error.
func (c Document) MarshalJSON() ([]byte, error) {
	if c.Schema == 0 {
		c.Schema = 1
	}
	return jsondoc.Encode(c)
}
