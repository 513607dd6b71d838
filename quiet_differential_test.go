package tether

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

// A random history is the same whether targets are quiet or never are: the same calls are refused, and all that is
// counted comes to the same. Rates and budgets are blurred by the one date, and the one sum, of many calls: few calls
// may meet something else. Where pacing is on, one such call changes what all later ones meet, and only
// what they come to is compared.
func TestQuietChangesNothing(t *testing.T) {
	for seed := range uint64(40) {
		paced := seed%2 == 1
		t.Run(fmt.Sprintf("seed %d, paced %v", seed, paced), func(t *testing.T) {
			var quiet, loud []*callEnd
			synctest.Test(t, func(t *testing.T) { quiet = history(t, seed, paced, true) })
			synctest.Test(t, func(t *testing.T) { loud = history(t, seed, paced, false) })
			differ := 0
			for i := range quiet {
				if !quiet[i].is(loud[i]) {
					differ++
				}
			}
			sent, sentLoud := attemptsOf(quiet), attemptsOf(loud)
			if !paced && differ > 2+len(quiet)/10 {
				t.Errorf("what came of %d of %d calls differs", differ, len(quiet))
			}
			if math.Abs(float64(sent-sentLoud)) > 10+0.05*float64(sentLoud) {
				t.Errorf("%d attempts of %d calls, without quiet %d", sent, len(quiet), sentLoud)
			}
		})
	}
}

// callEnd is what came of a call, and when.
type callEnd struct {
	what     plannedCall
	began    time.Duration
	attempts int
	nested   int // calls within it
	told     string
	ended    time.Duration
}

func attemptsOf(calls []*callEnd) (n int) {
	for _, c := range calls {
		n += c.attempts
	}
	return n
}

// is allows for a refusal's delay: which of several at once is slowed down isn't determined.
func (c *callEnd) is(other *callEnd) bool {
	return c.what == other.what && c.began == other.began && c.attempts == other.attempts && c.told == other.told &&
		(c.ended-other.ended).Abs() <= 500*time.Millisecond
}

// history runs a random one, and returns what came of each call. Whatever happens every call and attempt is counted
// once, and nothing is under way after it.
func history(t *testing.T, seed uint64, paced, quiet bool) (log []*callEnd) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var cfg policy.Document
	if !paced {
		cfg.Defaults.Target.Pacing = &policy.PacingSettings{Mode: policy.Ptr("off")}
	}
	e, err := New(Options{Policy: cfg, Seed: seed + 1})
	if err != nil {
		t.Fatal(err)
	}
	loud := func() { // before each step: then no call passes quietly
		if quiet {
			return
		}
		e.targets.Mu.Lock()
		defer e.targets.Mu.Unlock()
		for _, target := range e.targets.ByKey {
			target.CloseFast()
		}
	}
	var wg sync.WaitGroup
	began := time.Now()
	server := newMoods(rng)
	perSecond := []float64{0.2, 3, 30, 300}[rng.IntN(4)]
	lasts := 4 * time.Minute
	if perSecond > 100 {
		lasts = 40 * time.Second
	}
	version := 0
	for now := time.Duration(0); now < lasts; {
		gap := time.Duration(rng.ExpFloat64() / perSecond * 1e9)
		if rng.IntN(200) == 0 {
			gap += time.Duration(rng.IntN(90)) * time.Second
		}
		now += gap + 1
		time.Sleep(time.Until(began.Add(now)))
		loud()
		if rng.IntN(int(40*perSecond)+20) == 0 {
			version++
			if _, err := e.Apply(randomDocument(rng, version)); err != nil {
				t.Fatal(err)
			}
		}
		plan := randomCall(rng)
		end := &callEnd{what: plan, began: now}
		log = append(log, end)
		wg.Go(func() {
			end.attempts, end.nested, end.told = plan.make(e, server, began, loud)
			end.ended = time.Since(began)
		})
		synctest.Wait()
	}
	wg.Wait()
	time.Sleep(time.Minute) // permits that are kept are done by then
	asked, sent, spells := len(log), 0, uint32(0)
	for _, c := range log {
		if sent += c.attempts; c.what.Kind == "nested" {
			asked += c.nested
		}
	}
	for _, h := range e.Health().Targets {
		asked -= int(h.Calls)
		sent -= int(h.Attempts)
		if h.UnderWay != 0 || h.Waiting != 0 {
			t.Errorf("%s: %d under way and %d waiting are left", h.Target, h.UnderWay, h.Waiting)
		}
	}
	if asked != 0 || sent != 0 {
		t.Errorf("%d calls and %d attempts were not counted", asked, sent)
	}
	for key, target := range e.targets.ByKey {
		spells += target.Fast.Generation
		if target.Users.Load() != 0 || target.Fast.UnderWay != 0 || target.InFlight.Load() != 0 {
			t.Errorf("%v: %d users, %d quiet calls, %d attempts are left", key, target.Users.Load(),
				target.Fast.UnderWay, target.InFlight.Load())
		}
	}
	if quiet && spells == 0 {
		t.Error("no target was quiet: the history means nothing")
	}
	return log
}

// moods are what a server does from when on.
type moods []mood

type mood struct {
	from    time.Duration
	takes   time.Duration // in the mean
	fails   float64       // share
	how     int
	retryIn time.Duration
}

func newMoods(rng *rand.Rand) (all moods) {
	for from := time.Duration(0); from < 10*time.Minute; from += time.Duration(10+rng.IntN(50)) * time.Second {
		m := mood{from: from, takes: time.Duration(1+rng.IntN(200)) * time.Millisecond, how: rng.IntN(6),
			retryIn: time.Duration(rng.IntN(20)) * time.Second}
		if from > 0 {
			m.fails = []float64{0, 0, 0.01, 0.1, 0.6, 1}[rng.IntN(6)]
		}
		all = append(all, m)
	}
	return all
}

func (m moods) at(now time.Duration) mood {
	i, found := slices.BinarySearchFunc(m, now, func(m mood, now time.Duration) int { return cmp.Compare(m.from, now) })
	if !found {
		i--
	}
	return m[i]
}

// plannedCall is one call of a history.
type plannedCall struct {
	Seed        uint64
	Kind        string
	Host, Path  string
	Criticality criticality.Level
	Idempotent  bool
	NoWait      bool
	Deadline    time.Duration
}

func randomCall(rng *rand.Rand) plannedCall {
	p := plannedCall{Seed: rng.Uint64(), Host: []string{"a.example", "a.example", "a.example", "b.example"}[rng.IntN(4)],
		Path: []string{"/v1/get", "/v1/get", "/v1/search"}[rng.IntN(3)], Idempotent: rng.IntN(2) > 0, NoWait: rng.IntN(8) == 0}
	p.Kind = "do"
	kinds := []string{"begin", "panic", "goexit", "explained", "cancelled", "early", "late", "twice", "nested"}
	if rng.IntN(5) == 0 {
		p.Kind = kinds[rng.IntN(len(kinds))]
	}
	if rng.IntN(4) == 0 {
		p.Deadline = time.Duration(1+rng.IntN(3000)) * time.Millisecond
	}
	if rng.IntN(2000) == 0 {
		p.Criticality = criticality.Level(rng.IntN(3) - 1)
	}
	return p
}

// outcome is what the server does with an attempt.
func (m moods) outcome(ctx context.Context, rng *rand.Rand, began time.Time) Outcome {
	mood := m.at(time.Since(began))
	takes := time.Duration(float64(mood.takes)*rng.ExpFloat64()) + 1
	fails := rng.Float64() < mood.fails
	if fails && mood.how == 2 {
		takes = 2 * time.Second
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return Outcome{Class: Transient, Err: ctx.Err()}
	}
	if !fails {
		if mood.how == 5 {
			return Outcome{Class: Healthy, Status: 200, Hint: hint.Hint{Scope: hint.AllRequests,
				Quota: hint.Quota{Remaining: int64(rng.IntN(5)), RemainingKnown: true, ResetKnown: true, Reset: mood.retryIn}}}
		}
		return Outcome{Class: Healthy, Status: 200}
	}
	said := hint.Hint{Wait: mood.retryIn, Explicit: mood.retryIn > 0}
	switch mood.how {
	case 0:
		return Outcome{Class: Transient, Status: 500}
	case 1:
		return Outcome{Class: Transient, Err: errors.New("refused"), Sent: NotSent}
	case 2:
		return Outcome{Class: Transient, Err: context.DeadlineExceeded}
	case 3:
		return Outcome{Class: Overloaded, Status: 503, Hint: said}
	case 4:
		return Outcome{Class: Overloaded, Status: 429, Partitioned: true, Hint: said}
	default:
		return Outcome{Class: Ignored, Err: errors.New("ours")}
	}
}

// make makes the call, and tells what came of it.
func (p plannedCall) make(e *Engine, server moods, began time.Time, begins func()) (attempts, nested int, told string) {
	rng := rand.New(rand.NewPCG(p.Seed, 2))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if p.Deadline > 0 {
		ctx, cancel = context.WithTimeout(ctx, p.Deadline)
		defer cancel()
	}
	if p.Criticality != criticality.Default {
		ctx = criticality.With(ctx, p.Criticality)
	}
	what := Call{Scheme: "https", Host: p.Host, Method: "GET", Path: p.Path,
		CallOptions: CallOptions{Idempotent: p.Idempotent, NoWait: p.NoWait, Explained: p.Kind == "explained"}}
	defer func() {
		if reason := recover(); reason != nil {
			told = fmt.Sprint("panic: ", reason)
		}
	}()
	by := func(ctx context.Context, permit *Permit) Outcome {
		attempts++
		switch p.Kind {
		case "panic":
			time.Sleep(time.Duration(rng.IntN(int(time.Second))))
			panic("ours")
		case "goexit":
			time.Sleep(time.Duration(rng.IntN(int(time.Second))))
			runtime.Goexit()
		case "cancelled":
			cancel()
		case "early":
			out := server.outcome(ctx, rng, began)
			permit.Done(out)
			time.Sleep(time.Duration(rng.IntN(int(time.Second))))
			return out
		case "late":
			time.AfterFunc(3*time.Second+time.Duration(rng.IntN(1e9)), func() {
				permit.Done(Outcome{Class: Transient, Err: errors.New("late")})
			})
		case "twice":
			out := server.outcome(ctx, rng, began)
			permit.Done(Outcome{})
			permit.Done(out)
			return Outcome{Class: Healthy}
		case "nested":
			var inner Outcome
			begins()
			nested++
			if err := e.Do(ctx, what, func(ctx context.Context, _ *Permit) Outcome {
				attempts++
				inner = server.outcome(ctx, rng, began)
				return inner
			}); err != nil && inner.Err == nil {
				inner.Err, inner.Final = err, true
			}
			return inner
		}
		return server.outcome(ctx, rng, began)
	}
	var err error
	switch p.Kind {
	case "begin":
		var permit *Permit
		if permit, err = e.Begin(ctx, what); err == nil {
			for permit != nil {
				attempts++
				permit, err = permit.Next(server.outcome(permit.Context(), rng, began))
			}
		}
	case "goexit":
		done := make(chan struct{})
		go func() {
			defer close(done)
			err = p.send(ctx, e, what, by)
		}()
		<-done
	default:
		err = p.send(ctx, e, what, by)
	}
	return attempts, nested, fmt.Sprint(err)
}

// send makes half of the calls that need no permit as an edge does.
func (p plannedCall) send(ctx context.Context, e *Engine, what Call, by func(context.Context, *Permit) Outcome) error {
	switch p.Kind {
	case "early", "late", "twice":
	default:
		if p.Seed%2 == 0 {
			return e.Run(ctx, new(Room), &what, func(ctx context.Context) Outcome { return by(ctx, nil) })
		}
	}
	return e.Do(ctx, what, by)
}

// randomDocument changes anything that may end a calm.
func randomDocument(rng *rand.Rand, version int) []byte {
	some := []string{
		``,
		`"kill":[{"name":"k","match":{"host":"a.example"},"until":"2000-01-01T00:03:00Z","reason":"r"}]`,
		`"kill":[{"name":"k","match":{"host":"a.example","path":"/v1/search"},"until":"2100-01-01T00:03:00Z","reason":"r"}]`,
		`"kill":[{"name":"k","match":{"host":"b.example"},"until":"2100-01-01T00:03:00Z","reason":"r"}]`,
		`"defaults":{"target":{"circuitBreaker":{"mode":"forced-open"}}}`,
		`"defaults":{"target":{"rateLimit":{"perSecond":5,"burst":2}}}`,
		`"defaults":{"target":{"concurrency":{"max":2}}}`,
		`"defaults":{"target":{"concurrency":{"max":5,"mode":"adaptive"}}}`,
		`"defaults":{"call":{"timeout":"2s","attemptTimeout":"0.5s"}}`,
		`"defaults":{"call":{"criticality":"sheddable"}}`,
		`"rules":[{"name":"s","match":{"host":"a.example","path":"/v1/search"},"key":"rule",` +
			`"target":{"rateLimit":{"perSecond":3,"burst":2}}}]`,
		`"rules":[{"name":"s","match":{"host":"a.example","path":"/v1"},"key":"rule",` +
			`"target":{"retryBudget":{"ratio":0.05}}}]`,
		`"defaults":{"target":{"circuitBreaker":{"consecutiveFailures":3,"slowCallRatio":0.5}}}`,
		`"defaults":{"target":{"pacing":{"mode":"auto"},"hold":{"max":"5s"}}}`,
	}
	members := some[rng.IntN(len(some))]
	if rng.IntN(2) == 0 {
		members = ""
	}
	if members != "" {
		members = "," + members
	}
	return fmt.Appendf(nil, `{"schema":1,"document":"shop","version":%d%s}`, version, members)
}
