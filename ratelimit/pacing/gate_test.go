package pacing_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit/pacing"
)

func gate(t testing.TB, policy pacing.Policy, seed uint64) *pacing.Gate {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	g, err := pacing.NewGate(policy, pacing.Options{Rand: rng.Float64})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// asks makes a call every gap for a while, so that the gate knows the client's usual rate.
func asks(g *pacing.Gate, gap, total time.Duration) {
	for range total / gap {
		g.Ask()
		time.Sleep(gap)
	}
}

// pass waits until the gate lets a call through.
func pass(g *pacing.Gate, waiting int) {
	for {
		retryAt, err := g.Take(waiting)
		if err == nil {
			return
		}
		time.Sleep(time.Until(retryAt))
	}
}

func TestGateHolds(t *testing.T) {
	for _, test := range []struct {
		name string
		hold []time.Duration // one after the other, a second apart
		most time.Duration
		want time.Duration // from the first on
	}{
		{"as long as told", []time.Duration{20 * time.Second}, 0, 20 * time.Second},
		{"the later of two", []time.Duration{20 * time.Second, 5 * time.Second}, 0, 20 * time.Second},
		{"the longer of two", []time.Duration{5 * time.Second, 20 * time.Second}, 0, 21 * time.Second},
		{"capped by default", []time.Duration{1000 * time.Hour}, 0, time.Hour},
		{"capped by policy", []time.Duration{1000 * time.Hour}, time.Minute, time.Minute},
		{"the largest number there is", []time.Duration{math.MaxInt64}, 0, time.Hour},
		{"a negative one", []time.Duration{-5 * time.Second}, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate(t, pacing.Policy{MaxHold: test.most}, 1)
				began := time.Now()
				for i, wait := range test.hold {
					if i > 0 {
						time.Sleep(time.Second)
					}
					g.Hold(wait)
				}
				until := began.Add(test.want)
				for time.Now().Before(until) {
					retryAt, err := g.Take(0)
					if !errors.Is(err, pacing.ErrHeld) || !retryAt.Equal(until) {
						t.Fatalf("after %v: %v, %v, want held until %v", time.Since(began), retryAt, err, until)
					}
					time.Sleep(max(time.Until(until)/2, time.Nanosecond))
				}
				if _, err := g.Take(0); errors.Is(err, pacing.ErrHeld) {
					t.Error("still held")
				}
			})
		})
	}
}

func TestGateReturnsAtTheUsualRate(t *testing.T) {
	for _, perSecond := range []float64{0.5, 5, 50} {
		synctest.Test(t, func(t *testing.T) {
			g := gate(t, pacing.Policy{}, 1)
			asks(g, time.Duration(float64(time.Second)/perSecond), 60*time.Second)
			g.Hold(20 * time.Second)
			pass(g, 1000)
			began := time.Now()
			const sends = 100
			for range sends {
				pass(g, 1000) // always somebody waits, no answer is back yet
			}
			rate := sends / time.Since(began).Seconds()
			if rate > 1.1*perSecond*1.02 || rate < 0.95*perSecond {
				t.Errorf("usual rate %v/s: returns at %.2f/s, want at most 1.1 times", perSecond, rate)
			}
		})
	}
}

func TestGateGrowsByGoodAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, pacing.Policy{}, 1)
		asks(g, time.Second, 60*time.Second)
		g.Hold(10 * time.Second)
		pass(g, 10)
		_, before := g.Status()
		for range 5 {
			g.Good(10*time.Millisecond, 50*time.Millisecond)
			time.Sleep(time.Second)
		}
		if _, after := g.Status(); after <= before*1.05 || after > before*1.2 {
			t.Errorf("five good answers moved the rate from %.2f to %.2f/s", before, after)
		}
	})
}

// TestGateSpreadsAFleet: clients told the same second do not return together (law 3), and nobody
// returns before it (law 2).
func TestGateSpreadsAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 3_000
		at := make(chan time.Duration, clients)
		began := time.Now()
		for i := range clients {
			go func() {
				g := gate(t, pacing.Policy{}, uint64(i))
				for range 10 {
					g.Ask()
					time.Sleep(2 * time.Second)
				}
				g.Hold(time.Until(began.Add(60 * time.Second)))
				pass(g, 1)
				at <- time.Since(began)
			}()
		}
		first, tenths := time.Duration(math.MaxInt64), make([]int, 20)
		for range clients {
			d := <-at
			first = min(first, d)
			tenths[min(19, int((d-60*time.Second)/(100*time.Millisecond)))]++
		}
		if first < 60*time.Second {
			t.Errorf("the first returned after %v, before it was allowed", first)
		}
		// At 0.5 calls/s the phase is spread over 1/0.55 s = 1.8 s: 165 a tenth, fair deviation 13.
		if most := slices.Max(tenths); most > 220 {
			t.Errorf("%d of %d clients returned in the same 100 ms", most, clients)
		}
	})
}

func TestGateUntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, pacing.Policy{}, 1)
		asks(g, time.Second, 30*time.Second)
		g.Resume()
		pass(g, 1)
		g.Untake()
		if _, err := g.Take(1); err != nil {
			t.Errorf("what was given back can't be taken: %v", err)
		}
	})
}

func TestGatePolicyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, pacing.Policy{}, 1)
		until := g.Hold(30 * time.Minute)
		if err := g.SetPolicy(pacing.Policy{MaxHold: time.Minute, PacingOff: true}); err != nil {
			t.Fatal(err)
		}
		if retryAt, err := g.Take(0); err == nil || !retryAt.Equal(until) {
			t.Errorf("a lower ceiling changed a hold: %v, %v", retryAt, err)
		}
		time.Sleep(30 * time.Minute)
		for range 100 {
			if _, err := g.Take(9); err != nil {
				t.Fatalf("pacing is off and yet: %v", err)
			}
		}
		if g.SetPolicy(pacing.Policy{MaxHold: time.Millisecond}) == nil {
			t.Error("a ceiling of 1 ms was accepted")
		}
	})
}

// TestGateProperty: whatever happens, nothing passes before a hold's end, and paced calls are never
// faster than the paced rate plus one.
func TestGateProperty(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			g := gate(t, pacing.Policy{}, seed)
			var held time.Time
			passed := 0
			for range 3000 {
				switch rng.IntN(8) {
				case 0:
					g.Ask()
				case 1:
					if until := g.Hold(time.Duration(rng.IntN(9000)) * time.Millisecond); until.After(held) {
						held = until
					}
				case 2:
					g.Resume()
				case 3:
					g.Good(time.Duration(rng.IntN(2000))*time.Millisecond, time.Second)
				case 4:
					g.Failed(pacing.Failure(rng.IntN(3)))
				case 5:
					g.Untake()
				case 6:
					time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
				case 7:
					retryAt, err := g.Take(rng.IntN(3))
					if err == nil {
						passed++
						if time.Now().Before(held) {
							t.Fatalf("seed %d: a call passed %v before the hold's end", seed, time.Until(held))
						}
					} else if !retryAt.After(time.Now()) {
						t.Fatalf("seed %d: refused (%v) and told to try again in %v", seed, err, time.Until(retryAt))
					}
				}
			}
			if passed == 0 {
				t.Fatalf("seed %d passed nothing: it proves nothing", seed)
			}
		})
	}
}

func TestNewGateRefusesTheImpossible(t *testing.T) {
	if _, err := pacing.NewGate(pacing.Policy{MaxHold: -1}, pacing.Options{}); err == nil {
		t.Error("a negative ceiling was accepted")
	}
	if _, err := pacing.NewGate(pacing.Policy{}, pacing.Options{}); err != nil {
		t.Error(err)
	}
}
