package tethertest_test

import (
	"fmt"
	"testing"

	"github.com/tether-go/tether/tethertest"
)

func TestCriticality(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("whole fleets")
	}
	for _, share := range []int{1, 100} {
		for name, run := range map[string]tethertest.Rehearsal{
			"a fifth critical, half sheddable, five times the demand": {Critical: 0.2, Sheddable: 0.5, Fault: tethertest.Fault{For: 60 * s, Demand: 5}},
			"half critical, half sheddable, twice the demand":         {Critical: 0.5, Sheddable: 0.5, Fault: tethertest.Fault{For: 60 * s, Demand: 2}},
		} {
			t.Run(fmt.Sprint(name, ", ", share), func(t *testing.T) {
				t.Parallel()
				for seed := range seeds() {
					run.Seed, run.Share = uint64(seed+1), share
					r := tethertest.Rehearse(t, run)
					t.Log(r)
					t.Log(r.OKInBy)
				}
			})
		}
	}
}
