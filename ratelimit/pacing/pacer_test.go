package pacing_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit/pacing"
)

const (
	quick  = 50 * time.Millisecond
	lately = 200 * time.Millisecond // from when on an answer is slow
)

// TestPacerSteps plays what one client of half a call a second learns. A step says what an attempt
// brought, or how long nothing did; behind it stands what the pace must be then, in calls a second
// (0: not paced).
func TestPacerSteps(t *testing.T) {
	for name, script := range map[string]string{
		"a lone timeout paces nobody":            "timeout 0, good 0, timeout 0, good 0",
		"a lone refused connection paces nobody": "refused 0, good 0, refused 0",
		"two timeouts pace":                      "timeout 0, timeout 0.05-0.09",
		"and a good answer ends the accident":    "timeout 0, timeout 0.05-0.09, good 0",
		"after which two more pace again":        "timeout 0, timeout 0.05-0.09, good 0, timeout 0, timeout 0.05-0.09",
		"three timeouts are none":                "timeout 0, timeout 0.05-0.09, timeout 0.06-0.08, good 0.2-0.6",
		"refused connections are probed oftener": "refused 0, refused 0.12-0.15, refused 0.12-0.15, good 0.5-0.75",
		"a refusal by the server paces at once":  "overloaded 0.25-0.4, overloaded 0.05-0.09",
		"slow answers never pace":                "slow 0, slow 0, slow 0, slow 0",
		"nor fast failures, which nobody tells":  "ignored 0, ignored 0, ignored 0",
		"slow answers slow a paced client":       "refused 0, refused 0.1-0.15, good 0.5-0.75, slow 0.08-0.35",
		"what was learnt is forgotten with time": "timeout 0, timeout 0.05-0.09, timeout 0.06-0.08, pause 0.15-0.25",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate(t, pacing.Policy{}, 1)
				asks(g, 2*time.Second, 5*time.Minute)
				for i, step := range split(script) {
					what, want, _ := strings.Cut(step, " ")
					play(g, what)
					low, high := 0.0, 0.0
					if n, _ := fmt.Sscanf(want, "%g-%g", &low, &high); n != 2 {
						fmt.Sscanf(want, "%g", &low)
						high = low
					}
					if _, pace := g.Status(); pace < low || pace > high {
						t.Fatalf("step %d, %s: pace %.3f/s", i+1, step, pace)
					}
				}
			})
		})
	}
}

func split(script string) []string { return strings.Split(script, ", ") }

func play(g *pacing.Gate, what string) {
	switch what {
	case "good":
		g.Good(quick, lately)
	case "slow":
		g.Good(3*lately/2, lately)
	case "timeout":
		g.Failed(pacing.TimedOut)
	case "refused":
		g.Failed(pacing.Refused)
	case "overloaded":
		g.Failed(pacing.Overloaded)
	case "ignored":
		g.Ignored()
	case "pause":
		time.Sleep(time.Minute)
	}
	time.Sleep(time.Second)
}

// TestPacerShares: whatever the client's rate, one failure in ten calls paces nobody, and when all
// fail it comes down to probes that are at least one in 25 s and at most one a second for a lone
// caller, within three seconds or three failures; good answers bring it all back.
func TestPacerShares(t *testing.T) {
	for _, perSecond := range []float64{1. / 60, 0.5, 2, 10, 100, 1000} {
		for _, kind := range []pacing.Failure{pacing.Refused, pacing.TimedOut, pacing.Overloaded} {
			t.Run(fmt.Sprint(perSecond, "/s, kind ", kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					gap := time.Duration(float64(time.Second) / perSecond)
					g := gate(t, pacing.Policy{}, 1)
					asks(g, gap, max(time.Minute, 20*gap))
					for i := range 200 {
						g.Ask()
						if _, err := g.Take(0); err != nil && kind != pacing.Overloaded {
							t.Fatalf("call %d of a healthy server: %v", i, err)
						}
						if i%10 == 5 {
							g.Failed(kind)
						} else {
							g.Good(quick, lately)
						}
						time.Sleep(gap)
					}
					fails := 0
					for began := time.Now(); fails < 3 || time.Since(began) < 3*time.Second; fails++ {
						g.Failed(kind)
						time.Sleep(min(gap, time.Second))
					}
					if _, pace := g.Status(); pace < 1./25 || pace > 1.05 {
						t.Errorf("after %d failures in a row the pace is %v/s", fails, pace)
					}
					for range 2000 {
						pass(g, 0)
						g.Good(quick, lately)
					}
					if _, pace := g.Status(); pace != 0 {
						t.Errorf("still paced at %v/s after 2,000 good answers", pace)
					}
				})
			})
		}
	}
}

// TestPacerRandom: no sequence of outcomes makes a pace that is no number, none, or above what the
// client asked for several times over.
func TestPacerRandom(t *testing.T) {
	words := []string{"good", "slow", "timeout", "refused", "overloaded", "ignored", "pause"}
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			g := gate(t, pacing.Policy{}, seed)
			for range 200 {
				g.Ask()
				play(g, words[rng.IntN(len(words))])
				_, pace := g.Status()
				if paced := g.Paced(); paced != (pace > 0) || !(pace >= 0 && pace < 1000) {
					t.Fatalf("seed %d: pace %v, paced %v", seed, pace, paced)
				}
				if retryAt, err := g.Take(1); err != nil && time.Until(retryAt) > 2*time.Minute {
					t.Fatalf("seed %d: the next call leaves in %v", seed, time.Until(retryAt))
				}
			}
		})
	}
}
