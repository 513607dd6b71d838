package target

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestStagesAreInOrder: a stage that is asked earlier has a smaller number, from 1; the root's Stage has the same.
func TestStagesAreInOrder(t *testing.T) {
	for i, s := range []Stage{StageKill, StageHold, StageBreaker, StagePacing, StageRate, StageConcurrency, StageQueue} {
		if int(s) != i+1 {
			t.Errorf("stage %d is number %d", s, i+1)
		}
	}
}
