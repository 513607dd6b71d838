package policy

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/latency"
)

func ExampleBounds_Clamp() {
	pushed, _, err := Parse([]byte(`{"schema": 1, "defaults": {
		"call": {"retryPolicy": {"maxAttempts": 9, "initialBackoff": "2s"}},
		"target": {"circuitBreaker": {"mode": "forced-closed"}}}}`))
	if err != nil {
		fmt.Println(err)
	}
	_, notes := Bounds{MaxAttempts: 4}.Clamp(pushed, Document{})
	for _, note := range notes {
		fmt.Printf("%s: %s\n", note.Path, note.Text)
	}
	// Output:
	// defaults.call.retryPolicy.maxAttempts: asked 9, given 4
	// defaults.target.circuitBreaker.mode: asked forced-closed, given auto
}

var callsOfTests = []struct{ host, method, path, grpc string }{
	{"a.example", "GET", "/", ""}, {"a.example:8443", "POST", "/v1/search", ""},
	{"a.example", "GET", "/v1/search/x", ""}, {"b.example", "GET", "/v1", ""},
	{"b.example", "", "", "/p.S/M"}, {"other", "PUT", "/x", ""},
}

// looser says in which way p lets more load out than an application's own policy and its bounds
// allow, as the doc comments of Bounds have it; it shares no code with what it checks.
func looser(p, own *Resolved, b Bounds) (ways []string) {
	span := func(name string, got, set, own time.Duration, sign time.Duration) {
		if set == 0 {
			set = own
		}
		if got*sign > set*sign {
			ways = append(ways, fmt.Sprint(name, " ", got, " > ", set))
		}
	}
	num := func(name string, got, set, own float64) {
		if set == 0 {
			set = own
		}
		if got > set {
			ways = append(ways, fmt.Sprint(name, " ", got, " > ", set))
		}
	}
	off := func(name string, got, set, own bool) {
		if got && !set && !own {
			ways = append(ways, name)
		}
	}
	const never = time.Duration(math.MaxInt64)
	timeout := func(d time.Duration) time.Duration {
		if d == 0 {
			return never
		}
		return d
	}
	wait := func(p *Resolved) time.Duration {
		if p.MaxWait == 0 && !p.NoWait {
			return time.Minute
		}
		return p.MaxWait
	}
	span("timeout", timeout(p.Timeout), b.MinTimeout, min(time.Second, timeout(own.Timeout)), -1)
	span("attemptTimeout", timeout(p.AttemptTimeout), b.MinAttemptTimeout,
		min(time.Second, timeout(own.AttemptTimeout)), -1)
	span("maxWait", wait(p), b.MaxMaxWait, max(time.Minute, wait(own)), 1)
	num("maxAttempts", float64(p.Retry.MaxAttempts), float64(b.MaxAttempts),
		float64(own.Retry.MaxAttempts))
	span("initialBackoff", p.Retry.InitialBackoff, b.MinInitialBackoff, own.Retry.InitialBackoff,
		-1)
	span("maxBackoff", p.Retry.MaxBackoff, b.MinMaxBackoff, own.Retry.MaxBackoff, -1)
	num("multiplier", -p.Retry.Multiplier, -b.MinBackoffMultiplier, -own.Retry.Multiplier)
	span("hedgingDelay", timeout(p.Hedge.Delay), b.MinHedgingDelay, timeout(own.Hedge.Delay), -1)
	lowest := own.Hedge.Up // 0 is the whole of all answers
	if b.MinHedgingQuantile > 0 {
		lowest = latency.QuantileUp(b.MinHedgingQuantile)
	}
	off("lower quantile", p.Hedge.Up > 0 && (lowest == 0 || p.Hedge.Up < lowest), false, false)
	num("ratio", p.BudgetRatio, b.MaxRetryRatio, own.BudgetRatio)
	span("hold.max", p.HoldMax, b.MinHoldMax, own.HoldMax, -1)
	num("consecutiveFailures", float64(p.Breaker.ConsecutiveFailures),
		float64(b.MaxConsecutiveFailures),
		float64(own.Breaker.ConsecutiveFailures))
	num("failureRatio", p.Breaker.FailureRatio, b.MaxFailureRatio, own.Breaker.FailureRatio)
	num("minCalls", float64(p.Breaker.MinCalls), float64(b.MaxMinCalls),
		float64(own.Breaker.MinCalls))
	shortest, longest := own.Breaker.Window, max(own.Breaker.Window, b.MinWindow)
	if b.MaxWindow > 0 {
		shortest = min(shortest, b.MaxWindow)
	}
	span("window", p.Breaker.Window, b.MinWindow, shortest, -1)
	span("window", p.Breaker.Window, b.MaxWindow, longest, 1)
	span("openTime", p.Breaker.OpenTime, b.MinOpenTime, own.Breaker.OpenTime, -1)
	span("maxOpenTime", p.Breaker.MaxOpenTime, b.MinMaxOpenTime, own.Breaker.MaxOpenTime, -1)
	num("probes", float64(p.Breaker.Probes), float64(b.MaxProbes), float64(own.Breaker.Probes))
	span("probeLease", p.Breaker.ProbeLease, b.MinProbeLease, own.Breaker.ProbeLease, -1)
	rank := func(m breaker.Mode) int { return slices.Index(breakerModes, string(m)) }
	off("breaker off", rank(p.Breaker.Mode) > rank(own.Breaker.Mode), b.BreakerOff, false)
	off("another jitter", p.Retry.Jitter != own.Retry.Jitter, b.OtherJitter, false)
	off("pacing off", p.PacingOff, b.PacingOff, own.PacingOff)
	off("concurrency fixed", !p.Concurrency.Adaptive, b.FixedConcurrency, !own.Concurrency.Adaptive)
	limit := func(v float64) float64 {
		if v == 0 {
			return math.Inf(1)
		}
		return v
	}
	num("slowCallRatio", limit(p.Breaker.SlowCallRatio), b.MaxSlowCallRatio, limit(own.Breaker.SlowCallRatio))
	if own.Breaker.SlowCallRatio > 0 {
		if own.Breaker.SlowCallDuration == 0 && b.MaxSlowCallDuration == 0 {
			off("slowCallDuration", p.Breaker.SlowCallDuration != 0, false, false)
		}
		num("slowCallDuration", limit(float64(p.Breaker.SlowCallDuration)), float64(b.MaxSlowCallDuration),
			limit(float64(own.Breaker.SlowCallDuration)))
	}
	num("perSecond", limit(p.Rate.PerSecond), b.MaxPerSecond, limit(own.Rate.PerSecond))
	if p.Rate.PerSecond > 0 {
		num("burst", float64(p.Rate.Burst), float64(b.MaxBurst), limit(float64(own.Rate.Burst)))
	}
	num("concurrency", limit(float64(p.Concurrency.Max)), float64(b.MaxConcurrency),
		limit(float64(own.Concurrency.Max)))
	for code := StatusCode(1); code < 600; code++ {
		allowed := own.Retryable.Has(code)
		if b.RetryableStatusCodes != nil {
			set := newStatusSet(b.RetryableStatusCodes)
			allowed = set.Has(code)
		}
		if p.Retryable.Has(code) && !allowed {
			ways = append(ways, "retries "+code.String())
		}
	}
	return ways
}

// impossible says what no policy may be, whatever was asked.
func impossible(p *Resolved) bool {
	return p.Retry.MaxAttempts < 1 || p.Retry.MaxAttempts > 10 || p.Retry.InitialBackoff <= 0 ||
		p.Retry.MaxBackoff < p.Retry.InitialBackoff || p.Retry.Multiplier < 1 ||
		p.BudgetRatio < 0 ||
		p.BudgetRatio > 1 || p.Retry.Validate() != nil || p.HoldMax < time.Second || p.HoldMax > 24*time.Hour || p.Timeout < 0 ||
		p.Breaker.ConsecutiveFailures < 1 || p.Breaker.FailureRatio <= 0 ||
		p.Breaker.MinCalls < 1 ||
		p.Breaker.Probes < 1 || p.Breaker.ProbeLease <= 0 ||
		p.Breaker.MaxOpenTime < p.Breaker.OpenTime || p.Breaker.Validate() != nil || p.Rate.Validate() != nil || p.Concurrency.Validate() != nil
}

func randomBounds(rng *rand.Rand) Bounds {
	var b Bounds
	g := generator{rng, false}
	span := func(seconds float64) time.Duration {
		if d := g.span(seconds); d != nil && g.some() {
			return *d
		}
		return 0
	}
	count := func(most int) int {
		if n := g.count(most); n != nil && g.some() {
			return *n
		}
		return 0
	}
	b.MinTimeout, b.MinAttemptTimeout, b.MaxMaxWait = span(0.1), span(0.1), span(1)
	b.MaxAttempts, b.MinInitialBackoff, b.MinMaxBackoff = count(10), span(0.1), span(0.5)
	b.MinHedgingDelay = span(0.1)
	if g.some() {
		b.MinHedgingQuantile = 0.5 + 0.5*rng.Float64()
	}
	if g.some() {
		b.MinBackoffMultiplier, b.MaxRetryRatio, b.MaxFailureRatio = 1.5, rng.Float64(),
			0.01+0.9*rng.Float64()
		b.RetryableStatusCodes = []StatusCode{404, 503, 14}[:rng.IntN(4)]
	}
	b.MinHoldMax, b.MaxConsecutiveFailures, b.MaxMinCalls = span(10), count(20), count(50)
	b.MinWindow, b.MinOpenTime, b.MinMaxOpenTime = span(1), span(0.1), span(0.1)
	if g.some() {
		b.MaxWindow = max(b.MinWindow, time.Second) * 2
	}
	b.MinEvery = span(1)
	b.MaxProbes, b.MinProbeLease = count(5), span(1)
	if g.some() {
		b.MaxSlowCallRatio, b.MaxSlowCallDuration = 0.01+0.9*rng.Float64(), span(0.1)
		b.MaxPerSecond, b.MaxBurst, b.MaxConcurrency = 0.1+20*rng.Float64(), count(20), count(20)
	}
	b.OtherJitter = rng.IntN(2) == 0
	b.BreakerOff, b.PacingOff, b.FixedConcurrency = rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0
	return b
}

func TestClampIsNeverLooserThanTheBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for round := range 1000 {
		local, pushed, bounds := randomConfig(rng, false), randomConfig(rng, true),
			randomBounds(rng)
		if round%3 == 0 {
			bounds = Bounds{}
		}
		if err := errors.Join(local.Validate(), bounds.Validate()); err != nil {
			t.Fatal(err)
		}
		before := mustMarshal(t, pushed)
		clamped, notes := bounds.Clamp(pushed, local)
		if mustMarshal(t, pushed) != before {
			t.Fatal("Clamp changed its argument")
		}
		if err := clamped.Validate(); err != nil {
			t.Fatalf("clamped %s: %v", mustMarshal(t, clamped), err)
		}
		if again, _ := bounds.Clamp(clamped, local); !reflect.DeepEqual(again, clamped) {
			t.Fatalf("clamped twice: %s, then %s", mustMarshal(t, clamped), mustMarshal(t, again))
		}
		if changed := mustMarshal(t, clamped) != before; changed && len(notes) == 0 {
			t.Fatalf("%s became %s without a note", before, mustMarshal(t, clamped))
		}
		for name, s := range clamped.Schedules {
			least := bounds.MinEvery
			if own := local.Schedules[name].Every; least == 0 && own != nil {
				least = *own
			}
			if s.Every != nil && *s.Every < max(least, time.Second) {
				t.Fatalf("%s every %v, bounds %v, local %s", name, *s.Every, least, mustMarshal(t, local))
			}
		}
		alone := Compile(local, Document{}, Bounds{})
		both := Compile(local, clamped, bounds)
		for _, c := range callsOfTests {
			own := alone.Resolve("https", c.host, c.method, c.path, c.grpc)
			got := both.Resolve("https", c.host, c.method, c.path, c.grpc)
			if ways := looser(got, own, bounds); len(ways) > 0 || impossible(got) {
				t.Fatalf("%v: %q\nlocal %s\npushed %s\nbounds %+v\ngot %+v", c, ways,
					mustMarshal(t, local), before, bounds, got)
			}
		}
	}
}

// calmest are settings that no bound is stricter than; the window has no calm side and is left out.
func calmest(rng *rand.Rand) (s Settings) {
	some := func() bool { return rng.IntN(2) == 0 }
	if some() {
		s.Call = CallSettings{Timeout: Ptr(time.Duration(0)), AttemptTimeout: Ptr(2 * time.Hour),
			MaxWait: Ptr(time.Duration(0))}
	}
	if some() {
		s.Call.RetryPolicy = &RetrySettings{MaxAttempts: Ptr(1), InitialBackoff: Ptr(2 * time.Hour),
			MaxBackoff: Ptr(24 * time.Hour), BackoffMultiplier: Ptr(10.0),
			RetryableStatusCodes: []StatusCode{}}
	}
	if some() {
		s.Target.RetryBudget = &BudgetSettings{Ratio: Ptr(0.0)}
	}
	if some() {
		s.Target.Hold = &HoldSettings{Max: Ptr(24 * time.Hour)}
	}
	if some() {
		s.Target.CircuitBreaker = &BreakerSettings{ConsecutiveFailures: Ptr(1),
			FailureRatio: Ptr(0.01),
			MinCalls:     Ptr(1), OpenTime: Ptr(3 * time.Hour), MaxOpenTime: Ptr(4 * time.Hour),
			Probes:     Ptr(1),
			ProbeLease: Ptr(3 * time.Hour), Mode: Ptr(breaker.ForcedOpen), SlowCallRatio: Ptr(0.01)}
	}
	if some() {
		s.Target.Pacing = &PacingSettings{Mode: Ptr(modeAuto)}
	}
	if some() {
		s.Target.RateLimit = &RateSettings{PerSecond: Ptr(0.0001), Burst: Ptr(1)}
		s.Target.Concurrency = &ConcurrencySettings{Max: Ptr(1), Mode: Ptr("adaptive")}
	}
	return s
}

func TestClampLetsCalmerDocumentsPass(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 1000 {
		local := randomConfig(rng, false)
		var pushed Document
		pushed.Defaults = calmest(rng)
		pushed.Rules = []Rule{{Match: Match{Host: "a.example"}}}
		pushed.Schedules = map[string]ScheduleSettings{"work 0": {Every: Ptr(maxEvery)},
			"work 1": {Window: &DailyWindow{"23:50", "00:05"}}}
		s := calmest(rng)
		pushed.Rules[0].Call, pushed.Rules[0].Target = s.Call, s.Target
		clamped, notes := Bounds{}.Clamp(pushed, local)
		if len(notes) > 0 || !reflect.DeepEqual(clamped, pushed) {
			t.Fatalf("local %s\npushed %s\nclamped %s\nnotes %v", mustMarshal(t, local),
				mustMarshal(t, pushed),
				mustMarshal(t, clamped), notes)
		}
		// What passes also holds, over the application's own rules.
		p := Compile(local, clamped, Bounds{}).Resolve("https", "b.example", "GET", "/v1/search",
			"")
		if r := pushed.Defaults.Call.RetryPolicy; r != nil && (p.Retry.MaxAttempts != 1 ||
			p.Retry.InitialBackoff != 2*time.Hour || p.Retryable != statusSet{}) {
			t.Fatalf("%+v", p)
		}
		if pushed.Defaults.Target.RetryBudget != nil && p.BudgetRatio != 0 ||
			pushed.Defaults.Target.Hold != nil && p.HoldMax != 24*time.Hour ||
			pushed.Defaults.Call.MaxWait != nil && !p.NoWait {
			t.Fatalf("%+v", p)
		}
	}
}
