package pacing_test

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit/pacing"
)

// What is counted at once leaves a gate as what is asked, taken and answered one by one.
func TestGateCountsAtOnce(t *testing.T) {
	const perTick, tick, took = 5, 100 * time.Millisecond, 20 * time.Millisecond
	for name, end := range map[string]func(*pacing.Gate){
		"held":        func(g *pacing.Gate) { g.Hold(time.Second) },
		"failing":     func(g *pacing.Gate) { fail(g, 500, pacing.TimedOut) },
		"refusing":    func(g *pacing.Gate) { fail(g, 500, pacing.Refused) },
		"overloaded":  func(g *pacing.Gate) { fail(g, 3, pacing.Overloaded) },
		"all is well": func(*pacing.Gate) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gates := [2]*pacing.Gate{}
				for i := range gates {
					g, err := pacing.NewGate(pacing.Policy{}, pacing.Options{Rand: func() float64 { return 0.5 }})
					if err != nil {
						t.Fatal(err)
					}
					gates[i] = g
					g.Ask()
					g.Take(7) // that many waited in a trouble which is over
					g.Good(took, 0)
					if !g.Calm() {
						t.Fatal("the gate is not calm")
					}
				}
				for range 600 {
					time.Sleep(tick)
					for range perTick {
						gates[0].Ask()
						if _, err := gates[0].Take(0); err != nil {
							t.Fatal(err)
						}
						gates[0].Good(took, time.Second)
					}
					gates[1].CountAt(time.Now(), perTick, perTick, took)
				}
				var wg sync.WaitGroup
				for _, g := range gates {
					wg.Go(func() { end(g) })
				}
				wg.Wait()
				for range 50 {
					time.Sleep(tick)
					var passed [2]int
					var rates [2]float64
					for i, g := range gates {
						for range perTick {
							if _, err := g.Take(0); err == nil {
								g.Good(took, time.Second)
								passed[i]++
							}
						}
						_, rates[i] = g.Status()
					}
					if passed[0] != passed[1] || math.Abs(rates[0]-rates[1]) > 0.01*rates[0] {
						t.Fatalf("%v pass and may leave a second, counted at once %v: %v", passed[0], passed[1], rates)
					}
				}
			})
		})
	}
}

func fail(g *pacing.Gate, times int, kind pacing.Failure) {
	for range times {
		time.Sleep(10 * time.Millisecond)
		g.Failed(kind)
	}
}
