package ratelimit_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit"
)

// traffic asks so many times a second for a while, and sends what leaves at once; an answer takes as long as
// took says of the n-th call. It returns how many were sent, and whether an answer began to pace meanwhile.
func traffic(g *ratelimit.Gate, perSecond int, total time.Duration, took func(n int) time.Duration) (sent int, began bool) {
	var mu sync.Mutex
	answered := false
	var wg sync.WaitGroup
	for n := range int(total.Seconds() * float64(perSecond)) {
		g.Ask()
		if _, err := g.Take(0); err == nil {
			sent++
			wg.Go(func() {
				time.Sleep(took(n))
				paced := g.Good(took(n), 300*time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				answered = answered || paced
			})
		} else {
			g.TurnedAway()
		}
		time.Sleep(time.Second / time.Duration(perSecond))
	}
	mu.Lock()
	began = answered
	mu.Unlock()
	wg.Wait()
	return sent, began
}

func constant(d time.Duration) func(int) time.Duration {
	return func(int) time.Duration { return d }
}

// A surge that brings nothing but slow answers is what made them slow, and is paced before anything fails.
// Neither a surge nor slowness is reason enough alone.
func TestSurge(t *testing.T) {
	const usual = 50
	slow := constant(400 * time.Millisecond)
	for _, test := range []struct {
		name      string
		policy    ratelimit.Policy
		perSecond int
		took      func(int) time.Duration
		paced     bool
	}{
		{"a surge, slow answers", ratelimit.Policy{}, 5 * usual, slow, true},
		{"a surge, fast answers", ratelimit.Policy{}, 5 * usual, constant(60 * time.Millisecond), false},
		{"a surge, one answer in ten is fast", ratelimit.Policy{}, 5 * usual, func(n int) time.Duration {
			return []time.Duration{60 * time.Millisecond, 400 * time.Millisecond}[min(n%10, 1)]
		}, false},
		{"the usual demand, slow answers", ratelimit.Policy{}, usual, slow, false},
		{"pacing is off", ratelimit.Policy{PacingOff: true}, 5 * usual, slow, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate(t, test.policy, 1)
				traffic(g, usual, time.Minute, constant(60*time.Millisecond))
				sent, began := traffic(g, test.perSecond, time.Second, test.took)
				if began != test.paced || began && !g.Paced() {
					t.Errorf("pacing began: %v, is on: %v; want %v", began, g.Paced(), test.paced)
				}
				if !test.paced && sent != test.perSecond {
					t.Errorf("%d of %d calls left at once", sent, test.perSecond)
				}
			})
		})
	}
}

// Where the answers stay slow, they keep nobody under the usual rate: it may be the server's new normal.
func TestSurgeStaysSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const usual = 50
		g := gate(t, ratelimit.Policy{}, 1)
		traffic(g, usual, time.Minute, constant(60*time.Millisecond))
		traffic(g, 5*usual, 2*time.Second, constant(800*time.Millisecond))
		if !g.Paced() {
			t.Fatal("the surge is not paced")
		}
		for range 5 {
			if sent, _ := traffic(g, 5*usual, 2*time.Second, constant(800*time.Millisecond)); sent < 2*usual*95/100 {
				t.Errorf("%d calls left in two seconds, %d are usual", sent, 2*usual)
			}
		}
	})
}

// A gate that was held before it could know the usual rate learns it while it paces.
func TestYoungGateLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, ratelimit.Policy{}, 1)
		asks(g, time.Second, 2*time.Second)
		g.Hold(0)
		asks(g, 100*time.Millisecond, 8*time.Second)
		if _, rate := g.Status(); rate < 5 || rate > 11 {
			t.Errorf("calls return at %.1f a second, 10 are asked for", rate)
		}
	})
}
