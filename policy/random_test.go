package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/retry"
)

// randomConfig returns any Document that Parse takes, with whatever is possible; or, if not bold,
// only what Validate takes too.
func randomConfig(rng *rand.Rand, bold bool) Document {
	g := generator{rng, bold}
	cfg := Document{Schema: 1, Defaults: g.settings(true), Version: rng.Uint64N(1 << 53)}
	if g.some() {
		cfg.Document, cfg.Label, cfg.Audience = "shop", "a \"<note>\" \u2028",
			map[string]string{"k": "v", "a": ""}
		cfg.Issued = time.Unix(rng.Int64N(1<<31), rng.Int64N(1e9)).UTC()
		cfg.Expires = cfg.Issued.Add(time.Hour)
		cfg.Nudge, cfg.PollInterval = []string{}, g.span(1)
		cfg.Schedules = g.schedules()
		cfg.App = json.RawMessage(`{"a":[1,2,null]}`)
		cfg.Flags = json.RawMessage(`{"flags":{"f":{"state":"ENABLED","variants":{"a":"\u003c","b":"x"},"defaultVariant":"a"}}}`)
		cfg.FlagSettings = json.RawMessage(`{"bucketing":3,"guards":{"f":{"minCalls":20}}}`)
	}
	for i := range rng.IntN(3) {
		cfg.Kill = append(cfg.Kill, Kill{Name: fmt.Sprint("kill", i), Match: g.match(),
			Until: time.Unix(rng.Int64N(1<<31)+1, 0).UTC(), Reason: "because"})
	}
	for i := range rng.IntN(5) {
		r := Rule{Name: fmt.Sprint("rule", i), Match: g.match()}
		if g.some() {
			r.Key = keyRule
		}
		s := g.settings(r.Key == keyRule || r.Match.Path == "" && r.Match.GRPCMethod == "" &&
			r.Match.Method == nil)
		r.Call, r.Target = s.Call, s.Target
		cfg.Rules = append(cfg.Rules, r)
	}
	return cfg
}

type generator struct {
	rng  *rand.Rand
	bold bool
}

func (g generator) schedules() map[string]ScheduleSettings {
	all := make(map[string]ScheduleSettings)
	for i := range g.rng.IntN(3) {
		s := ScheduleSettings{Every: g.span(1)}
		if g.some() {
			opens, width := g.rng.IntN(24*60), 1+g.rng.IntN(24*60-1)
			if !g.bold {
				width = max(width, 15)
			}
			clock := func(minutes int) string {
				return fmt.Sprintf("%02d:%02d", minutes/60%24, minutes%60)
			}
			s.Window = &DailyWindow{clock(opens), clock(opens + width)}
		}
		all[fmt.Sprint("work ", i)] = s
	}
	return all
}

func (g generator) some() bool { return g.rng.IntN(3) > 0 }

func (g generator) match() Match {
	pick := func(words ...string) string { return words[g.rng.IntN(len(words))] }
	m := Match{Host: pick("", "a.example", "b.example", "*.example", "a.example:8443"),
		Path: pick("", "", "/v1", "/v1/search"), GRPCMethod: pick("", "", "", "/p.S/", "/p.S/M")}
	if g.rng.IntN(4) == 0 {
		m.Method = []string{"GET", "HEAD"}
	}
	return m
}

// span returns a duration that is at least so many seconds, or beyond every bound if bold, or nil.
func (g generator) span(seconds float64) *time.Duration {
	if !g.some() {
		return nil
	}
	least := seconds * float64(time.Second)
	if g.bold && g.rng.IntN(4) == 0 {
		extremes := []time.Duration{1, time.Microsecond, 1000 * time.Hour, 1<<63 - 1}
		return Ptr(extremes[g.rng.IntN(len(extremes))])
	}
	d := time.Duration(least * (1 + 20*g.rng.Float64()*g.rng.Float64()))
	return Ptr(min(d, time.Hour))
}

func (g generator) count(most int) *int {
	if !g.some() {
		return nil
	}
	if g.bold && g.rng.IntN(4) == 0 {
		return Ptr(math.MaxInt)
	}
	return Ptr(1 + g.rng.IntN(most))
}

func (g generator) fraction(least, most float64) *float64 {
	if !g.some() {
		return nil
	}
	if g.bold && g.rng.IntN(4) == 0 {
		extremes := []float64{1e-300, 1e300, most * 2}
		return Ptr(extremes[g.rng.IntN(len(extremes))])
	}
	return Ptr(least + (most-least)*g.rng.Float64())
}

func (g generator) orZero(d *time.Duration) *time.Duration {
	if g.rng.IntN(5) == 0 {
		return Ptr(time.Duration(0))
	}
	return d
}

func (g generator) mode() *string {
	if !g.some() {
		return nil
	}
	return Ptr([]string{modeAuto, modeOff}[g.rng.IntN(2)])
}

func (g generator) concurrencyMode() *string {
	if !g.some() {
		return nil
	}
	return Ptr(concurrencyModes[g.rng.IntN(2)])
}

// ordered makes a pair possible.
func ordered(initial, largest *time.Duration) (*time.Duration, *time.Duration) {
	if initial != nil && largest != nil && *largest < *initial {
		return largest, initial
	}
	return initial, largest
}

func (g generator) settings(target bool) (s Settings) {
	s.Call.Timeout = g.orZero(g.span(0.1))
	s.Call.AttemptTimeout = g.orZero(g.span(0.1))
	s.Call.MaxWait = g.orZero(g.span(5))
	if g.some() {
		r := &RetrySettings{MaxAttempts: g.count(10), BackoffMultiplier: g.fraction(1, 10)}
		r.InitialBackoff, r.MaxBackoff = ordered(g.span(0.1), g.span(1))
		if g.some() {
			r.Jitter = Ptr(retry.Jitter(jitters[g.rng.IntN(len(jitters))]))
		}
		all := []StatusCode{404, 408, 425, 429, 500, 502, 503, 504, 599, 1, 8, 14, 16}
		g.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if g.some() {
			r.RetryableStatusCodes = all[:g.rng.IntN(len(all))]
		}
		s.Call.RetryPolicy = r
	}
	if g.some() {
		s.Call.HedgingPolicy = &HedgingSettings{HedgingDelay: g.orZero(g.span(0.1)), Quantile: g.fraction(0.5, 1)}
	}
	if !target || !g.some() {
		return s
	}
	if g.some() {
		s.Target.RetryBudget = &BudgetSettings{Ratio: g.fraction(0, 1)}
	}
	if g.some() {
		s.Target.Hold = &HoldSettings{Max: g.span(60)}
	}
	if g.some() {
		s.Target.Pacing = &PacingSettings{Mode: g.mode()}
	}
	if g.some() {
		s.Target.RateLimit = &RateSettings{PerSecond: g.fraction(0, 20), Burst: g.count(20)}
		s.Target.Concurrency = &ConcurrencySettings{Max: g.count(20), Mode: g.concurrencyMode()}
	}
	b := &BreakerSettings{ConsecutiveFailures: g.count(20), FailureRatio: g.fraction(0.1, 1),
		MinCalls: g.count(50),
		Window:   g.span(10), Probes: g.count(5), ProbeLease: g.span(5), SlowCallDuration: g.span(0.1)}
	if g.some() {
		b.Mode, b.SlowCallRatio = Ptr(breaker.Mode(breakerModes[g.rng.IntN(4)])), g.fraction(0.01, 1)
	}
	b.OpenTime, b.MaxOpenTime = ordered(g.span(0.5), g.span(2))
	s.Target.CircuitBreaker = b
	return s
}
