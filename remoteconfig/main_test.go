package remoteconfig_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wholeFleets tells whether fleets have all their clients and runs all their days, which takes minutes:
// TETHER_FLEETS=1 asks for it, as .ci/run does. Else fewer clients show the same.
func wholeFleets() bool {
	return os.Getenv("TETHER_FLEETS") == "1" && !testing.Short() && !raceDetector()
}

// sized is a number of clients or days, or the smaller one that will do.
func sized[N any](whole, small N) N {
	if wholeFleets() {
		return whole
	}
	return small
}
