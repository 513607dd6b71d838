package tethertest_test

import (
	"cmp"
	"os"
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"

	"github.com/tether-go/tether/tethertest"
)

// Fleets are tens of thousands of goroutines that wait, and scanning their stacks is a third of the work. Below
// the limit there is room for garbage.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(2 << 30)
	goleak.VerifyTestMain(m)
}

// wholeFleets skips a test that takes minutes, unless it is asked for. TestSmallFleets and a tenth of the
// healthy fleets are played in every run.
func wholeFleets(t *testing.T) {
	t.Helper()
	if testing.Short() || raceDetector || !fleetsAreWhole() {
		t.Skip("whole fleets take minutes: TETHER_FLEETS=1 plays them, as .ci/run does")
	}
}

func fleetsAreWhole() bool { return os.Getenv("TETHER_FLEETS") == "1" }

// sized returns the fleet itself, or without TETHER_FLEETS=1 a tenth of it before a tenth of the backend.
func sized(r tethertest.Rehearsal) tethertest.Rehearsal {
	if fleetsAreWhole() {
		return r
	}
	r.Clients = cmp.Or(r.Clients, 2000) / 10
	r.Backend.Workers = cmp.Or(r.Backend.Workers, 80) / 10
	return r
}
