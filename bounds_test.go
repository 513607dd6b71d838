package tether

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
	_, notes := Bounds{MaxAttempts: 4}.Clamp(pushed, Config{})
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
func looser(p, own *policy, b Bounds) (ways []string) {
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
	wait := func(p *policy) time.Duration {
		if p.maxWait == 0 && !p.noWait {
			return time.Minute
		}
		return p.maxWait
	}
	span("timeout", timeout(p.timeout), b.MinTimeout, min(time.Second, timeout(own.timeout)), -1)
	span("attemptTimeout", timeout(p.attemptTimeout), b.MinAttemptTimeout,
		min(time.Second, timeout(own.attemptTimeout)), -1)
	span("maxWait", wait(p), b.MaxMaxWait, max(time.Minute, wait(own)), 1)
	num("maxAttempts", float64(p.retry.MaxAttempts), float64(b.MaxAttempts),
		float64(own.retry.MaxAttempts))
	span("initialBackoff", p.retry.InitialBackoff, b.MinInitialBackoff, own.retry.InitialBackoff,
		-1)
	span("maxBackoff", p.retry.MaxBackoff, b.MinMaxBackoff, own.retry.MaxBackoff, -1)
	num("multiplier", -p.retry.Multiplier, -b.MinBackoffMultiplier, -own.retry.Multiplier)
	span("hedgingDelay", timeout(p.hedge.delay), b.MinHedgingDelay, timeout(own.hedge.delay), -1)
	lowest := own.hedge.up // 0 is the whole of all answers
	if b.MinHedgingQuantile > 0 {
		lowest = latency.QuantileUp(b.MinHedgingQuantile)
	}
	off("lower quantile", p.hedge.up > 0 && (lowest == 0 || p.hedge.up < lowest), false, false)
	num("ratio", p.budgetRatio, b.MaxRetryRatio, own.budgetRatio)
	span("hold.max", p.holdMax, b.MinHoldMax, own.holdMax, -1)
	num("consecutiveFailures", float64(p.breaker.ConsecutiveFailures),
		float64(b.MaxConsecutiveFailures),
		float64(own.breaker.ConsecutiveFailures))
	num("failureRatio", p.breaker.FailureRatio, b.MaxFailureRatio, own.breaker.FailureRatio)
	num("minCalls", float64(p.breaker.MinCalls), float64(b.MaxMinCalls),
		float64(own.breaker.MinCalls))
	shortest, longest := own.breaker.Window, max(own.breaker.Window, b.MinWindow)
	if b.MaxWindow > 0 {
		shortest = min(shortest, b.MaxWindow)
	}
	span("window", p.breaker.Window, b.MinWindow, shortest, -1)
	span("window", p.breaker.Window, b.MaxWindow, longest, 1)
	span("openTime", p.breaker.OpenTime, b.MinOpenTime, own.breaker.OpenTime, -1)
	span("maxOpenTime", p.breaker.MaxOpenTime, b.MinMaxOpenTime, own.breaker.MaxOpenTime, -1)
	num("probes", float64(p.breaker.Probes), float64(b.MaxProbes), float64(own.breaker.Probes))
	span("probeLease", p.breaker.ProbeLease, b.MinProbeLease, own.breaker.ProbeLease, -1)
	rank := func(m breaker.Mode) int { return slices.Index(breakerModes, string(m)) }
	off("breaker off", rank(p.breaker.Mode) > rank(own.breaker.Mode), b.BreakerOff, false)
	off("another jitter", p.retry.Jitter != own.retry.Jitter, b.OtherJitter, false)
	off("pacing off", p.pacingOff, b.PacingOff, own.pacingOff)
	off("concurrency fixed", !p.concurrency.Adaptive, b.FixedConcurrency, !own.concurrency.Adaptive)
	limit := func(v float64) float64 {
		if v == 0 {
			return math.Inf(1)
		}
		return v
	}
	num("slowCallRatio", limit(p.breaker.SlowCallRatio), b.MaxSlowCallRatio, limit(own.breaker.SlowCallRatio))
	if own.breaker.SlowCallRatio > 0 {
		if own.breaker.SlowCallDuration == 0 && b.MaxSlowCallDuration == 0 {
			off("slowCallDuration", p.breaker.SlowCallDuration != 0, false, false)
		}
		num("slowCallDuration", limit(float64(p.breaker.SlowCallDuration)), float64(b.MaxSlowCallDuration),
			limit(float64(own.breaker.SlowCallDuration)))
	}
	num("perSecond", limit(p.rate.PerSecond), b.MaxPerSecond, limit(own.rate.PerSecond))
	if p.rate.PerSecond > 0 {
		num("burst", float64(p.rate.Burst), float64(b.MaxBurst), limit(float64(own.rate.Burst)))
	}
	num("concurrency", limit(float64(p.concurrency.Max)), float64(b.MaxConcurrency),
		limit(float64(own.concurrency.Max)))
	for code := StatusCode(1); code < 600; code++ {
		allowed := own.retryable.has(code)
		if b.RetryableStatusCodes != nil {
			set := newStatusSet(b.RetryableStatusCodes)
			allowed = set.has(code)
		}
		if p.retryable.has(code) && !allowed {
			ways = append(ways, "retries "+code.String())
		}
	}
	return ways
}

// impossible says what no policy may be, whatever was asked.
func impossible(p *policy) bool {
	return p.retry.MaxAttempts < 1 || p.retry.MaxAttempts > 10 || p.retry.InitialBackoff <= 0 ||
		p.retry.MaxBackoff < p.retry.InitialBackoff || p.retry.Multiplier < 1 ||
		p.budgetRatio < 0 ||
		p.budgetRatio > 1 || p.retry.Validate() != nil || p.holdMax < time.Second || p.holdMax > 24*time.Hour || p.timeout < 0 ||
		p.breaker.ConsecutiveFailures < 1 || p.breaker.FailureRatio <= 0 ||
		p.breaker.MinCalls < 1 ||
		p.breaker.Probes < 1 || p.breaker.ProbeLease <= 0 ||
		p.breaker.MaxOpenTime < p.breaker.OpenTime || p.breaker.Validate() != nil || p.rate.Validate() != nil || p.concurrency.Validate() != nil
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
		alone := compile(local, Config{}, Bounds{})
		both := compile(local, clamped, bounds)
		for _, c := range callsOfTests {
			own := alone.resolve("https", c.host, c.method, c.path, c.grpc)
			got := both.resolve("https", c.host, c.method, c.path, c.grpc)
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
		s.Call = CallSettings{Timeout: Set(time.Duration(0)), AttemptTimeout: Set(2 * time.Hour),
			MaxWait: Set(time.Duration(0))}
	}
	if some() {
		s.Call.RetryPolicy = &RetrySettings{MaxAttempts: Set(1), InitialBackoff: Set(2 * time.Hour),
			MaxBackoff: Set(24 * time.Hour), BackoffMultiplier: Set(10.0),
			RetryableStatusCodes: []StatusCode{}}
	}
	if some() {
		s.Target.RetryBudget = &BudgetSettings{Ratio: Set(0.0)}
	}
	if some() {
		s.Target.Hold = &HoldSettings{Max: Set(24 * time.Hour)}
	}
	if some() {
		s.Target.CircuitBreaker = &BreakerSettings{ConsecutiveFailures: Set(1),
			FailureRatio: Set(0.01),
			MinCalls:     Set(1), OpenTime: Set(3 * time.Hour), MaxOpenTime: Set(4 * time.Hour),
			Probes:     Set(1),
			ProbeLease: Set(3 * time.Hour), Mode: Set(breaker.ForcedOpen), SlowCallRatio: Set(0.01)}
	}
	if some() {
		s.Target.Pacing = &PacingSettings{Mode: Set(modeAuto)}
	}
	if some() {
		s.Target.RateLimit = &RateSettings{PerSecond: Set(0.0001), Burst: Set(1)}
		s.Target.Concurrency = &ConcurrencySettings{Max: Set(1), Mode: Set("adaptive")}
	}
	return s
}

func TestClampLetsCalmerDocumentsPass(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 1000 {
		local := randomConfig(rng, false)
		var pushed Config
		pushed.Defaults = calmest(rng)
		pushed.Rules = []Rule{{Match: Match{Host: "a.example"}}}
		pushed.Schedules = map[string]ScheduleSettings{"work 0": {Every: Set(maxEvery)},
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
		p := compile(local, clamped, Bounds{}).resolve("https", "b.example", "GET", "/v1/search",
			"")
		if r := pushed.Defaults.Call.RetryPolicy; r != nil && (p.retry.MaxAttempts != 1 ||
			p.retry.InitialBackoff != 2*time.Hour || p.retryable != statusSet{}) {
			t.Fatalf("%+v", p)
		}
		if pushed.Defaults.Target.RetryBudget != nil && p.budgetRatio != 0 ||
			pushed.Defaults.Target.Hold != nil && p.holdMax != 24*time.Hour ||
			pushed.Defaults.Call.MaxWait != nil && !p.noWait {
			t.Fatalf("%+v", p)
		}
	}
}
