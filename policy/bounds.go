package policy

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/tether-go/tether/internal/jsondoc"
)

// Bounds are compiled into the application: how far a published document may loosen its clients,
// that is, let more load out. What calms is always allowed, up to what Document documents as the
// range.
//
// A field left zero means: no looser than the application's own Document for the same call, which
// falls back on the built-in defaults. A field that is set holds for the application's own Document
// too. Holds, budgets and kills cannot be turned off by any bound.
type Bounds struct {
	// MinTimeout is the shortest call timeout: a shorter one throws work away. Shorter loosens.
	// Default 1 s, or the own setting if shorter.
	MinTimeout time.Duration
	// MinAttemptTimeout is the shortest attempt timeout. Shorter loosens. Default 1 s, or the own
	// setting if shorter.
	MinAttemptTimeout time.Duration
	// MaxMaxWait is the longest maxWait. Longer loosens. Default 60 s, or the own setting if
	// longer.
	MaxMaxWait time.Duration
	// MaxAttempts is the highest maxAttempts, from 1 to 10. More loosens. Default the own setting.
	MaxAttempts int
	// MinInitialBackoff is the shortest initialBackoff. Shorter loosens. Default the own setting.
	MinInitialBackoff time.Duration
	// MinMaxBackoff is the shortest maxBackoff. Shorter loosens. Default the own setting.
	MinMaxBackoff time.Duration
	// MinBackoffMultiplier is the lowest backoffMultiplier, from 1 to 10. Lower loosens. Default
	// the own setting.
	MinBackoffMultiplier float64
	// OtherJitter lets a document choose another kind of jitter than the own setting. A change of it
	// loosens, whichever way: no kind is calmer than another for every backoff and every fault.
	// Default false: the own setting only.
	OtherJitter bool
	// MinHedgingDelay is the shortest hedgingDelay. Shorter loosens, and so does any where the own setting
	// is 0. Default the own setting.
	MinHedgingDelay time.Duration
	// MinHedgingQuantile is the lowest quantile at which calls are hedged, from 0.5 to 1. Lower loosens.
	// Default the own setting.
	MinHedgingQuantile float64
	// RaiseCriticality lets a document raise calls above the own setting, which loosens; what the
	// configuration says then replaces a call's own word. Default false: the lower one counts.
	RaiseCriticality bool
	// RetryableStatusCodes are all the codes that may be retried. More loosens. Default (nil) the
	// own setting; an empty slice means none.
	RetryableStatusCodes []StatusCode
	// MaxRetryRatio is the highest retryBudget.ratio, up to 1. More loosens. Default the own
	// setting.
	MaxRetryRatio float64
	// MinHoldMax is the shortest hold.max, at least 1 s. Shorter loosens. Default the own setting.
	MinHoldMax time.Duration
	// MaxConsecutiveFailures is the highest consecutiveFailures of the breaker. More loosens.
	// Default the own setting.
	MaxConsecutiveFailures int
	// MaxFailureRatio is the highest failureRatio of the breaker. More loosens. Default the own
	// setting.
	MaxFailureRatio float64
	// MaxMinCalls is the highest minCalls of the breaker. More loosens. Default the own setting.
	MaxMinCalls int
	// MinWindow is the shortest window of the breaker: in a short one minCalls is never reached.
	// Shorter loosens. Default the own setting, or MaxWindow if shorter.
	MinWindow time.Duration
	// MaxWindow is the longest window of the breaker: in a long one old successes hide a fault.
	// Longer loosens. Default the own setting, or MinWindow if longer.
	MaxWindow time.Duration
	// MinOpenTime is the shortest openTime of the breaker. Shorter loosens. Default the own
	// setting.
	MinOpenTime time.Duration
	// MinMaxOpenTime is the shortest maxOpenTime of the breaker. Shorter loosens. Default the own
	// setting.
	MinMaxOpenTime time.Duration
	// MaxProbes is the highest probes of the breaker. More loosens. Default the own setting.
	MaxProbes int
	// MinProbeLease is the shortest probeLease of the breaker. Shorter loosens. Default the own
	// setting.
	MinProbeLease time.Duration
	// BreakerOff lets a document force breakers closed or make them only observe, which loosens. Default
	// false: only where the own setting does.
	BreakerOff bool
	// MaxSlowCallRatio is the highest slowCallRatio of the breaker. More loosens, and none is the
	// loosest. Default the own setting.
	MaxSlowCallRatio float64
	// MaxSlowCallDuration is the longest slowCallDuration of the breaker. Longer loosens. Default the own
	// setting: a document sets none where the application goes by what is usual, for neither is calmer
	// than the other everywhere.
	MaxSlowCallDuration time.Duration
	// PacingOff lets a document turn pacing off, which loosens. Default false: only where the own
	// setting does.
	PacingOff bool
	// MaxPerSecond is the highest rateLimit.perSecond. More loosens, and no limit is the loosest.
	// Default the own setting.
	MaxPerSecond float64
	// MaxBurst is the highest rateLimit.burst. More loosens. Default the own setting where the own
	// Document sets a rate limit; else any.
	MaxBurst int
	// MaxConcurrency is the highest concurrency.max. More loosens, and no limit is the loosest. Default
	// the own setting.
	MaxConcurrency int
	// FixedConcurrency lets a document make an adaptive concurrency limit a fixed one, which loosens.
	// Default false: only where the own setting does.
	FixedConcurrency bool

	// Routes are the origins to which a document, or the own Document, may send calls. More loosens. Default
	// none: no call goes elsewhere.
	Routes []RouteBound

	// MaxKill is how long a kill lasts at most from when its document is applied, up to 7 days: an
	// application must not stay stopped because somebody was forgetful. Default 24 h.
	MaxKill time.Duration
	// MinEvery is the shortest every of a schedule, from 1 s to 720 h. Shorter loosens. Default the
	// own setting, which is Schedule.Every where the application's Document has none.
	MinEvery time.Duration
	// PollMin is the shortest pollInterval, at least 1 s. Shorter loosens. Default 30 s.
	PollMin time.Duration
	// PollMax is the longest pollInterval, up to 24 h: with a longer one, no newer document would
	// ever arrive. Default 24 h.
	PollMax time.Duration
}

func (b Bounds) withDefaults() Bounds {
	if b.MaxKill == 0 {
		b.MaxKill = 24 * time.Hour
	}
	if b.PollMin == 0 {
		b.PollMin = 30 * time.Second
	}
	if b.PollMax == 0 {
		b.PollMax = maxDuration
	}
	return b
}

// Validate returns a *Error with every bound that is impossible, or nil.
func (b Bounds) Validate() error {
	check := checker{strict: true}
	for i := range settings {
		s := &settings[i]
		check.bound(s, s.floor, b.number(s.floor))
		check.bound(s, s.ceiling, b.number(s.ceiling))
	}
	for i, code := range b.RetryableStatusCodes {
		if err := code.check(); err != nil {
			check.add(jsondoc.Index("Bounds.RetryableStatusCodes", i), err.Problem, err.Hint)
		}
	}
	b = b.withDefaults()
	check.routeBounds(b.Routes)
	check.poll("Bounds.PollMin", b.PollMin)
	check.poll("Bounds.PollMax", b.PollMax)
	if b.PollMax < b.PollMin {
		check.add("Bounds.PollMax", "is less than PollMin", "set both")
	}
	if b.MaxWindow != 0 && b.MaxWindow < b.MinWindow {
		check.add("Bounds.MaxWindow", "is less than MinWindow", "set both")
	}
	if b.MinEvery != 0 {
		check.every("Bounds.MinEvery", b.MinEvery)
	}
	if b.MaxKill < 0 || b.MaxKill > 7*24*time.Hour {
		check.add("Bounds.MaxKill", "is not from 0 to 168h", "write a duration such as 24h")
	}
	return check.err()
}

// number returns a field as the settings table has it; 0 where name is empty or the field not set.
func (b *Bounds) number(name string) float64 {
	if name == "" {
		return 0
	}
	switch v := reflect.ValueOf(b).Elem().FieldByName(name); v.Kind() {
	case reflect.Float64:
		return v.Float()
	case reflect.Bool:
		if v.Bool() {
			return math.Inf(1) // every word
		}
		return 0
	default:
		return float64(v.Int()) // a count or a duration
	}
}

func (c *checker) bound(s *setting, name string, v float64) {
	if v != 0 && s.unit != inWords && !(v >= s.least && v <= s.most) { // NaN is outside too
		c.add("Bounds."+name, "is not from "+s.format(s.least)+" to "+s.format(s.most),
			"leave it zero for the application's own setting")
	}
}

// limits are the smallest and the largest size that a setting may have, for calls whose own
// settings are among own.
func (s *setting) limits(b *Bounds, own ...float64) (least, most float64) {
	least, most = s.least, s.most
	if s.zero == zeroIsZero {
		least = 0
	}
	shortest, longest := math.Inf(1), 0.0
	for _, v := range own {
		shortest, longest = min(shortest, s.size(v)), max(longest, s.size(v))
	}
	switch {
	case s.other != "" && b.number(s.other) > 0:
		return least, most
	case s.other != "":
		return shortest, longest
	}
	if s.free > 0 {
		shortest, longest = min(shortest, s.free), max(longest, s.free)
	}
	// Where both directions are bounded and one bound is past the own setting, the other follows.
	if s.floor != "" {
		if v := b.number(s.floor); v > 0 {
			shortest, longest = v, max(longest, v)
		}
		least = max(least, shortest)
	}
	if s.ceiling != "" {
		if v := b.number(s.ceiling); v > 0 {
			longest, least = v, min(least, v)
		}
		most = min(most, longest)
	}
	if s.zero == zeroIsNever && (s.ceiling == "" || math.IsInf(longest, 1)) {
		most = math.Inf(1) // no limit is allowed
	}
	return least, most
}

// clamp returns the value nearest to v within limits.
func (s *setting) clamp(v, least, most float64) float64 {
	switch size := s.size(v); {
	case v == unsetNumber && s.free == 0: // bounded where it is resolved
		return v
	case size < least && math.IsInf(least, 1):
		return 0 // which is how no limit at all is written
	case size < least:
		return least
	case size > most:
		return most
	case size > s.most && !math.IsInf(size, 1):
		return s.most
	}
	return v
}

// codes is what may be retried where the application itself retries own.
func (b *Bounds) codes(own statusSet) statusSet {
	if b.RetryableStatusCodes != nil {
		return newStatusSet(b.RetryableStatusCodes)
	}
	return own
}

// Clamp returns the pushed document as it may be applied in an application whose own Document is
// local, and a note for each value that was changed, of the first 100: what was asked and what is given. Neither
// argument is changed. The result passes Validate if pushed came from Parse, and clamping it again
// changes nothing.
//
// Where the application's own rules are stricter than its defaults, a value may still be too loose
// for some calls: it is kept, noted, and bounded call by call when it is applied. So is the period
// of a schedule that only Engine.Every knows.
//
// Kills are not clamped here, for their bound counts from when they are applied.
func (b Bounds) Clamp(pushed, local Document) (Document, []Note) {
	c := newClamper(b, local)
	pushed.Defaults = pushed.Defaults.own()
	c.settings("defaults", Match{}, &pushed.Defaults)
	pushed.Rules = slices.Clone(pushed.Rules)
	for i := range pushed.Rules {
		r := &pushed.Rules[i]
		s := Settings{Call: r.Call, Target: r.Target}.own()
		c.settings(jsondoc.Index("rules", i), r.Match, &s)
		r.Call, r.Target = s.Call, s.Target
	}
	pushed.Schedules = c.schedules(pushed.Schedules, local.Schedules)
	if asked := pushed.PollInterval; asked != nil {
		limit := b.withDefaults()
		given := min(max(*asked, limit.PollMin), limit.PollMax)
		if given != *asked {
			pushed.PollInterval = &given
			c.clamped("pollInterval", jsondoc.FormatDuration(*asked), jsondoc.FormatDuration(given))
		}
	}
	return pushed, c.told()
}

// capKills ends kills that would last too long from the moment they are applied, and notes which.
func (b Bounds) capKills(kills []Kill, applied time.Time) ([]Kill, []Note) {
	last := applied.Add(b.withDefaults().MaxKill)
	kills = slices.Clone(kills)
	var notes []Note
	for i := range kills {
		asked := kills[i].Until
		if !asked.After(last) {
			continue
		}
		kills[i].Until = last
		if len(notes) < MaxListed {
			notes = append(notes, ClampNote(jsondoc.Index("kill", i)+".until",
				asked.Format(time.RFC3339), last.Format(time.RFC3339)))
		}
	}
	return kills, notes
}

func ClampNote(path, asked, given string) Note {
	return Note{path, fmt.Sprintf("asked %s, given %s", asked, given), NoteClamped}
}
