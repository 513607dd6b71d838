package tethertest_test

import (
	"net/http"
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/tethertest"
)

// limited makes clients with an adaptive concurrency limit, paced or not.
func limited(pacing string) func(*http.Client, uint64) (*http.Client, error) {
	return func(base *http.Client, seed uint64) (*http.Client, error) {
		var cfg policy.Document
		cfg.Defaults.Target.Concurrency = &policy.ConcurrencySettings{Mode: policy.Ptr("adaptive")}
		cfg.Defaults.Target.Pacing = &policy.PacingSettings{Mode: policy.Ptr(pacing)}
		client, err := tether.NewClient(base, tether.Options{Policy: cfg, Seed: seed})
		if err != nil {
			return nil, err
		}
		return client.Client, nil
	}
}

// An adaptive limit is of use by itself to instances with a hundred callers, and nowhere in the way.
func TestAdaptiveConcurrency(t *testing.T) {
	wholeFleets(t)
	surge := tethertest.Rehearsal{Share: 100, Fault: tethertest.Fault{For: 60 * s, Demand: 5}}
	brownout := tethertest.Rehearsal{Share: 100, Fault: tethertest.Fault{For: 30 * s, Capacity: 0.2}}
	// Without pacing, to see the limit alone; it is 2 % and 4 % without both.
	run := []scenario{
		{"surge", surge, limits{}, limits{goodput: 0.88}},
		{"brown-out", brownout, limits{}, limits{goodput: 0.78}},
	}
	for i := range run {
		run[i].run.Client = limited("off")
	}
	for _, sc := range harmless {
		if sc.name != "200 ms more for good" && sc.name != "1 % lost" && sc.name != "lognormal, sigma 1.5" {
			continue // nothing is lost there, and so nothing learnt
		}
		sc.run.Client, sc.shared = limited("auto"), limits{harmless: true}
		run = append(run, sc)
	}
	for _, sc := range run {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			sc.run.Share = 100
			r := tethertest.Rehearse(t, sc.run)
			t.Log(r)
			sc.shared.check(t, r)
		})
	}
}
