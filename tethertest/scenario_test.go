package tethertest_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/tethertest"
)

// limits are what a scenario must reach; zero says nothing.
type limits struct {
	attempts, peakIn, peakAfter, waste, lost, herd float64 // at most
	goodput, served, okIn, okAfter, ok             float64 // at least
	recovery                                       time.Duration
	harmless                                       bool // no call that met no failure was delayed or refused
}

func (l limits) check(t *testing.T, r tethertest.Report) {
	t.Helper()
	atMost := func(what string, got, limit float64) {
		if limit > 0 && got > limit {
			t.Errorf("%s is %.3f, at most %.3f", what, got, limit)
		}
	}
	atLeast := func(what string, got, limit float64) {
		if got < limit {
			t.Errorf("%s is %.4f, at least %.4f", what, got, limit)
		}
	}
	atMost("attempts per call", r.Attempts, l.attempts)
	atMost("peak in the fault", r.PeakIn, l.peakIn)
	atMost("peak after the fault", r.PeakAfter, l.peakAfter)
	atMost("wasted work", r.Waste, l.waste)
	atMost("lost demand", r.Lost, l.lost)
	atMost("herd", r.Herd, l.herd)
	atLeast("goodput", r.Goodput, l.goodput)
	atLeast("served demand", r.Served, l.served)
	atLeast("success in the fault", r.OKIn, l.okIn)
	atLeast("success after the fault", r.OKAfter, l.okAfter)
	atLeast("success", r.OK, l.ok)
	if l.recovery > 0 && (r.Recovery < 0 || r.Recovery > l.recovery) {
		t.Errorf("recovery takes %v, at most %v", r.Recovery, l.recovery)
	}
	if l.harmless && (r.Delayed > 0 || r.Refused > 0) {
		t.Errorf("%d calls that met no failure were delayed by over 10 ms, %d refused", r.Delayed, r.Refused)
	}
}

type scenario struct {
	name   string
	run    tethertest.Rehearsal
	alone  limits // an engine each
	shared limits // a hundred callers an engine
}

const s = time.Second

// The limits are what was found for three seeds and a little more. Where they fall short of what was
// wished for, docs/pacing.md says by how much and why.
var scenarios = []scenario{
	{"steady, 1 % fail", tethertest.Rehearsal{Backend: tethertest.Backend{Fail: 0.01}},
		limits{attempts: 1.011, ok: 0.9995, harmless: true}, limits{attempts: 1.011, ok: 0.9995, harmless: true}},
	{"outage", tethertest.Rehearsal{Fault: tethertest.Fault{For: 30 * s, Down: true}},
		limits{attempts: 0.40, peakIn: 1.2, peakAfter: 1.2, recovery: s, lost: 0.3, okAfter: 0.975},
		limits{attempts: 0.40, peakIn: 1.2, peakAfter: 1.2, recovery: s, lost: 0.9, okAfter: 0.98}},
	{"brown-out, deep queue", tethertest.Rehearsal{Fault: tethertest.Fault{For: 30 * s, Capacity: 0.2}},
		limits{attempts: 0.40, peakAfter: 1.2, recovery: 2500 * time.Millisecond, lost: 0.5, waste: 0.17, goodput: 0.20},
		limits{attempts: 0.40, peakAfter: 1.2, recovery: s, lost: 0.5, waste: 0.05, goodput: 0.80}},
	{"brown-out, shallow queue", tethertest.Rehearsal{Fault: tethertest.Fault{For: 30 * s, Capacity: 0.2},
		Backend: tethertest.Backend{Queue: s / 2}},
		limits{attempts: 0.40, peakAfter: 1.2, recovery: 5 * s, goodput: 0.57},
		limits{attempts: 0.40, peakAfter: 1.2, recovery: s, lost: 0.5, waste: 0.05, goodput: 0.87}},
	{"five times the demand", tethertest.Rehearsal{Fault: tethertest.Fault{For: 60 * s, Demand: 5}},
		limits{recovery: s, waste: 0.04, goodput: 0.92}, limits{recovery: s, waste: 0.03, goodput: 0.96}},
	{"closed, 429 in seconds", tethertest.Rehearsal{Fault: tethertest.Fault{For: 20 * s, Closed: 429}, Deadline: 60 * s},
		limits{herd: 1.8, okIn: 0.99, lost: 0.5}, limits{okIn: 0.99, lost: 0.3}},
	{"closed, 503 with a date", tethertest.Rehearsal{Fault: tethertest.Fault{For: 20 * s, Closed: 503, Says: tethertest.Date}, Deadline: 60 * s},
		limits{herd: 1.8, okIn: 0.99, lost: 0.5}, limits{okIn: 0.99, lost: 0.3}},
	{"latency times ten", tethertest.Rehearsal{Fault: tethertest.Fault{For: 60 * s, Extra: 540 * time.Millisecond}},
		limits{served: 0.97}, limits{served: 0.97}},
	{"a call a minute, ten minutes down", tethertest.Rehearsal{Clients: 10_000, Rate: 1. / 60, Warm: 120 * s, After: 120 * s,
		Backend: tethertest.Backend{Workers: 13}, Fault: tethertest.Fault{For: 600 * s, Down: true}},
		// Recovery is judged by the second, and 5 of 167 calls are 3 %: what is behind and who succeeds say more.
		limits{attempts: 1.2, lost: 0.5, okAfter: 0.99}, limits{lost: 1, okAfter: 0.99}},
	// The same defaults elsewhere; half the fleet where calls are most.
	{"half the load, deep brown-out", tethertest.Rehearsal{Rate: 1. / 3, Fault: tethertest.Fault{For: 30 * s, Capacity: 0.2}},
		limits{goodput: 0.35, recovery: 8 * s, lost: 1}, limits{goodput: 0.85, recovery: s, lost: 0.3}},
	{"90 % load, five times the demand", tethertest.Rehearsal{Clients: 1000, Rate: 0.6, Backend: tethertest.Backend{Workers: 40},
		Fault: tethertest.Fault{For: 60 * s, Demand: 5}},
		limits{goodput: 0.92, recovery: s, waste: 0.05}, limits{goodput: 0.96, recovery: s, waste: 0.03}},
	{"four seconds of queue, five times the demand", tethertest.Rehearsal{Clients: 1000, Backend: tethertest.Backend{Workers: 40, Queue: 4 * s},
		Fault: tethertest.Fault{For: 60 * s, Demand: 5}},
		limits{goodput: 0.84, recovery: s, waste: 0.09}, limits{goodput: 0.91, recovery: s, waste: 0.05}},
	{"constant service, deep brown-out", tethertest.Rehearsal{Fault: tethertest.Fault{For: 30 * s, Capacity: 0.2},
		Backend: tethertest.Backend{Service: tethertest.Constant(60 * time.Millisecond)}},
		limits{goodput: 0.20, recovery: 2500 * time.Millisecond, waste: 0.17}, limits{goodput: 0.80, recovery: s, waste: 0.05}},
	{"five calls a second, deep brown-out", tethertest.Rehearsal{Clients: 200, Rate: 5,
		Fault: tethertest.Fault{For: 30 * s, Capacity: 0.2}},
		limits{goodput: 0.65, recovery: 2500 * time.Millisecond, waste: 0.07}, limits{goodput: 0.80, recovery: s, waste: 0.05}},
	{"no timeout, five times the demand", tethertest.Rehearsal{Clients: 1000, Backend: tethertest.Backend{Workers: 40},
		HeaderTimeout: -1, Fault: tethertest.Fault{For: 60 * s, Demand: 5}},
		limits{goodput: 0.98, recovery: s, waste: 0.01}, limits{goodput: 0.98, recovery: s, waste: 0.01}},
}

// harmless are healthy servers, on which tether must not be felt.
var harmless = []scenario{
	{name: "9 in 10 fast, one slow", run: tethertest.Rehearsal{Backend: tethertest.Backend{Workers: 120,
		Service: tethertest.Mixture{Fast: tethertest.Constant(5 * time.Millisecond), Slow: tethertest.Constant(600 * time.Millisecond), Share: 0.1}}}},
	{name: "lognormal, sigma 1.5", run: tethertest.Rehearsal{Backend: tethertest.Backend{Workers: 120,
		Service: tethertest.Lognormal{Median: 21 * time.Millisecond, Sigma: 1.5}}}},
	{name: "200 ms more for good", run: tethertest.Rehearsal{Fault: tethertest.Fault{For: 90 * s, Extra: 200 * time.Millisecond}, After: s}},
	{name: "long polls beside short calls", run: tethertest.Rehearsal{Backend: tethertest.Backend{Polls: 0.05}, HeaderTimeout: -1,
		Deadline: 60 * s}},
	{name: "asleep for an hour", run: tethertest.Rehearsal{Fault: tethertest.Fault{For: time.Hour, Demand: 1e-9}}},
	{name: "30 % fail at once", run: tethertest.Rehearsal{Backend: tethertest.Backend{Fail: 0.3}}},
	{name: "five times the demand, and room for it", run: tethertest.Rehearsal{Backend: tethertest.Backend{Workers: 400},
		Fault: tethertest.Fault{For: 30 * s, Demand: 5}, After: 10 * s}},
	{name: "1 % lost", run: tethertest.Rehearsal{Backend: tethertest.Backend{Lose: 0.01}}},
}

func seeds() int {
	n, _ := strconv.Atoi(os.Getenv("TETHER_TEST_SEEDS"))
	return max(1, n)
}

func TestScenarios(t *testing.T) {
	wholeFleets(t)
	for _, sc := range scenarios {
		for share, limits := range map[int]limits{1: sc.alone, 100: sc.shared} {
			t.Run(fmt.Sprint(sc.name, ", ", share), func(t *testing.T) {
				t.Parallel()
				for seed := range seeds() {
					sc.run.Seed, sc.run.Share = uint64(seed+1), share
					r := tethertest.Rehearse(t, sc.run)
					t.Log(r)
					limits.check(t, r)
					if strings.Contains(sc.name, "minute") && share == 1 {
						checkQuiet(t, sc.run, r)
					}
				}
			})
		}
	}
}

// checkQuiet looks at a long outage of clients with a call a minute: their budgets are spent in its first
// two minutes, and nobody comes back in step.
func checkQuiet(t *testing.T, run tethertest.Rehearsal, r tethertest.Report) {
	t.Helper()
	count := func(from, to time.Duration) (sum tethertest.Second) {
		for _, second := range r.PerSecond[from/s : to/s] {
			sum.Asked += second.Asked
			sum.Sent += second.Sent
		}
		return sum
	}
	ends := run.Warm + run.Fault.For
	if late := count(run.Warm+120*s, ends); float64(late.Sent) > 1.01*float64(late.Asked) {
		t.Errorf("%d attempts for %d calls after the second minute", late.Sent, late.Asked)
	}
	mean := float64(run.Clients) * run.Rate * 10
	for from := ends; from+10*s <= ends+run.After; from += 10 * s {
		if sent := count(from, from+10*s).Sent; float64(sent) > 1.5*mean {
			t.Errorf("%d attempts in the ten seconds from %v after the outage, %v are usual", sent, from-ends, mean)
		}
	}
}

// TestHarmless: no call that met no failure is delayed or refused. Whole fleets are compared with the same clients
// without pacing and breaker, their retries kept.
func TestHarmless(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("many calls; TestSmallFleets is for the race detector")
	}
	for _, sc := range harmless {
		sc.run = sized(sc.run)
		for _, share := range []int{1, 100} {
			t.Run(fmt.Sprint(sc.name, ", ", share), func(t *testing.T) {
				t.Parallel()
				for seed := range seeds() {
					sc.run.Seed, sc.run.Share = uint64(seed+1), share
					sc.run.Client = nil
					r := tethertest.Rehearse(t, sc.run)
					t.Log(r)
					limits{harmless: true}.check(t, r)
					if !fleetsAreWhole() {
						continue // the 99th percentile of a small fleet is a matter of luck
					}
					sc.run.Client = unprotected
					if plain := tethertest.Rehearse(t, sc.run); r.UntouchedP99 > plain.UntouchedP99*105/100 {
						t.Errorf("p99 %v, without protection %v", r.UntouchedP99, plain.UntouchedP99)
					}
				}
			})
		}
	}
}

// TestFormsOfReturn: whatever form the server's word has, each client asks once, is silent until then, and
// the fleet comes back spread.
func TestFormsOfReturn(t *testing.T) {
	wholeFleets(t)
	for _, says := range []tethertest.Form{tethertest.RateLimit, tethertest.Epoch} { // others: above
		r := tethertest.Rehearse(t, tethertest.Rehearsal{Warm: 12 * s, After: 11 * s, Deadline: 60 * s,
			Fault: tethertest.Fault{For: 20 * s, Closed: 429, Says: says}})
		t.Log(r)
		limits{attempts: 0.102, herd: 1.8, okIn: 0.99, recovery: s}.check(t, r)
	}
}

func unprotected(base *http.Client, seed uint64) (*http.Client, error) {
	var cfg policy.Document
	cfg.Defaults.Target.CircuitBreaker = &policy.BreakerSettings{Mode: policy.Ptr(breaker.ForcedClosed)}
	cfg.Defaults.Target.Pacing = &policy.PacingSettings{Mode: policy.Ptr("off")}
	client, err := tether.NewClient(base, tether.Options{Policy: cfg, Seed: seed})
	if err != nil {
		return nil, err
	}
	return client.Client, nil
}

// TestSmallFleets is what every run and the race detector see of the above.
func TestSmallFleets(t *testing.T) {
	for _, sc := range scenarios {
		if strings.Contains(sc.name, "minute") {
			continue
		}
		sc.run.Share = 4
		sc.run.Clients = int(20 / max(sc.run.Rate, 0.5)) // that two workers can serve
		sc.run.Backend.Workers = 2
		sc.run.Warm, sc.run.After = 10*s, 10*s
		sc.run.Fault.For = min(sc.run.Fault.For, 10*s)
		r := tethertest.Rehearse(t, sc.run)
		if r.OKAfter < 0.5 && sc.run.Fault.For > 0 {
			t.Errorf("%s: %v", sc.name, r)
		}
	}
}
