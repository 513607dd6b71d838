package tethertest_test

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

// Fleets are tens of thousands of goroutines that wait, and scanning their stacks is a third of the work. Below
// the limit there is room for garbage.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(2 << 30)
	goleak.VerifyTestMain(m)
}
