package tether

import (
	"testing"

	"github.com/tether-go/tether/internal/target"
)

// TestNumbersAreTheTargets: the root converts a target's stages and kinds by number.
func TestNumbersAreTheTargets(t *testing.T) {
	for of, is := range map[Stage]target.Stage{StageKill: target.StageKill, StageHold: target.StageHold,
		StageBreaker: target.StageBreaker, StagePacing: target.StagePacing, StageRate: target.StageRate,
		StageConcurrency: target.StageConcurrency, StageQueue: target.StageQueue, stageCount: target.Stages} {
		if int(of) != int(is) {
			t.Errorf("%v is %d, the target's %d", of, of, is)
		}
	}
	for of, is := range map[Class]target.Kind{Ignored: target.Ignored, Healthy: target.Healthy,
		Transient: target.Transient, Overloaded: target.Overloaded} {
		if int(of) != int(is) {
			t.Errorf("%v is %d, the target's %d", of, of, is)
		}
	}
}
