package tethertest_test

import (
	"fmt"
	"testing"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/tethertest"
)

// TestCriticality: in a surge critical calls are served first. With a hundred callers an engine all of them
// are; an engine for one caller has few calls to choose from, and docs/pacing.md says how far it gets.
func TestCriticality(t *testing.T) {
	wholeFleets(t)
	for _, sc := range []struct {
		name                        string
		demand, critical, sheddable float64
		alone, shared               float64 // of critical calls that succeed, at least
		more                        float64 // than of sheddable ones
	}{
		{"a fifth critical, half sheddable, five times the demand", 5, 0.2, 0.5, 0.90, 0.99, 0.6},
		{"half critical, half sheddable, twice the demand", 2, 0.5, 0.5, 0.86, 0.99, 0.25},
	} {
		for share, least := range map[int]float64{1: sc.alone, 100: sc.shared} {
			t.Run(fmt.Sprint(sc.name, ", ", share), func(t *testing.T) {
				t.Parallel()
				for seed := range seeds() {
					r := tethertest.Rehearse(t, tethertest.Rehearsal{Seed: uint64(seed + 1), Share: share,
						Clients: 500, Backend: tethertest.Backend{Workers: 20}, After: 30 * s,
						Critical: sc.critical, Sheddable: sc.sheddable, Fault: tethertest.Fault{For: 60 * s, Demand: sc.demand}})
					critical, sheddable := r.OKInBy[criticality.Critical], r.OKInBy[criticality.Sheddable]
					t.Log(r)
					t.Log(r.OKInBy)
					if critical < least || critical-sheddable < sc.more {
						t.Errorf("%.1f %% of the critical calls succeed, %.1f %% of the sheddable", 100*critical, 100*sheddable)
					}
					limits{goodput: 0.8, waste: 0.08, peakAfter: 1.3}.check(t, r)
				}
			})
		}
	}
}

// TestCriticalityHarmsNobody: on a healthy server it changes nothing, for any class.
func TestCriticalityHarmsNobody(t *testing.T) {
	wholeFleets(t)
	for _, share := range []int{1, 100} {
		for _, backend := range []tethertest.Backend{{Fail: 0.01, Workers: 20}, {Workers: 100}} {
			r := tethertest.Rehearse(t, tethertest.Rehearsal{Share: share, Clients: 500, Warm: 10 * s, After: 30 * s,
				Backend: backend, Critical: 0.2, Sheddable: 0.5, Fault: tethertest.Fault{For: 30 * s, Demand: float64(backend.Workers) / 20}})
			t.Log(r)
			limits{harmless: true}.check(t, r)
		}
	}
}
