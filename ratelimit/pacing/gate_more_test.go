package pacing_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit/pacing"
)

// TestLateOutcomesKeepTheReturn: what was under way when a hold began ends during it, in whatever way;
// the return after the hold is paced all the same.
func TestLateOutcomesKeepTheReturn(t *testing.T) {
	for _, late := range []string{"timeout, good", "good", "refused, good", "timeout, timeout, good", "overloaded, good"} {
		t.Run(late, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate(t, pacing.Policy{}, 1)
				asks(g, 2*time.Second, 5*time.Minute)
				for range 6 {
					g.Take(0)
				}
				until := g.Hold(20 * time.Second)
				for _, what := range split(late) {
					play(g, what)
				}
				time.Sleep(time.Until(until))
				passed := 0
				for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(100 * time.Millisecond) {
					if _, err := g.Take(10); err == nil {
						passed++
						g.Good(quick, lately)
					}
				}
				if passed < 1 || passed > 7 { // usual: 5
					t.Errorf("%d calls in the 10 s after the hold", passed)
				}
			})
		})
	}
}

// TestForgottenAttempts: attempts that never report keep others back for a moment, not for good.
func TestForgottenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, pacing.Policy{}, 1)
		asks(g, 100*time.Millisecond, time.Minute)
		for range 100 {
			g.Take(0)
			g.Good(quick, lately)
		}
		for range 500 {
			g.Take(0) // forgotten
		}
		for range 30 {
			g.Failed(pacing.Refused)
			time.Sleep(200 * time.Millisecond)
		}
		began := time.Now()
		for range 200 {
			pass(g, 5)
			g.Good(quick, lately)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("200 calls of a client that makes 10 a second took %v", took)
		}
	})
}

// TestPacingOff: failures teach nothing then, and a hold is kept.
func TestPacingOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, pacing.Policy{PacingOff: true}, 1)
		asks(g, time.Second, time.Minute)
		for range 50 {
			if g.Failed(pacing.TimedOut) || g.Paced() {
				t.Fatal("paced, though pacing is off")
			}
		}
		if _, err := g.Take(0); err != nil {
			t.Fatal(err)
		}
		g.Hold(time.Minute)
		if _, err := g.Take(0); !errors.Is(err, pacing.ErrHeld) {
			t.Errorf("a hold is not kept: %v", err)
		}
	})
}

// TestAccidentAfterAHold: a hold that is over changes nothing of what two timeouts may mean.
func TestAccidentAfterAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, pacing.Policy{}, 1)
		asks(g, 2*time.Second, 5*time.Minute)
		g.Hold(time.Second)
		for range 5 {
			pass(g, 0)
			g.Good(quick, lately)
		}
		if g.Paced() {
			t.Fatal("the return doesn't end")
		}
		time.Sleep(10 * time.Second)
		play(g, "timeout")
		play(g, "timeout")
		if !g.Paced() {
			t.Error("two timeouts pace nobody")
		}
		if play(g, "good"); g.Paced() {
			t.Error("two timeouts that met pace the client in spite of a good answer")
		}
	})
}
