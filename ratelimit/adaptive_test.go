package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit"
)

func adaptive(t testing.TB, most int) *ratelimit.Concurrency {
	t.Helper()
	c, err := ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{Max: most, Adaptive: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func limitOf(c *ratelimit.Concurrency) int {
	_, most := c.Status()
	return most
}

// serve lets so many calls be under way at once, again and again for a time: each takes what took says, and
// is lost where that is negative.
func serve(t testing.TB, c *ratelimit.Concurrency, callers int, d time.Duration, took func() time.Duration) (refused int) {
	t.Helper()
	for ends := time.Now().Add(d); time.Now().Before(ends); {
		var slots []*ratelimit.Slot
		for range callers {
			s, err := c.Take()
			if err != nil {
				refused++
				continue
			}
			slots = append(slots, s)
		}
		longest := 10 * time.Millisecond
		for _, s := range slots {
			if d := took(); d < 0 {
				c.Lost()
			} else {
				c.Answered(d, 0)
				longest = max(longest, d)
			}
			s.Release()
		}
		time.Sleep(longest)
	}
	return refused
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// In calm the limit is the policy's, whatever answers take and however that changes (law 10).
func TestAdaptiveCalm(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for name, took := range map[string]func() time.Duration{
		"two kinds": func() time.Duration {
			if rng.IntN(10) == 0 {
				return 600 * time.Millisecond
			}
			return 5 * time.Millisecond
		},
		"a heavy tail": func() time.Duration {
			return min(time.Minute, time.Duration(float64(20*time.Millisecond)*rng.ExpFloat64()*rng.ExpFloat64()*rng.ExpFloat64()))
		},
		"one in a hundred is lost": func() time.Duration {
			if rng.IntN(100) == 0 {
				return -1
			}
			return 20 * time.Millisecond
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := adaptive(t, 50)
				if refused := serve(t, c, 50, 3*time.Minute, took); refused != 0 || limitOf(c) != 50 {
					t.Errorf("%d refused, limit %d", refused, limitOf(c))
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := adaptive(t, 50)
		refused := serve(t, c, 10, time.Minute, always(5*time.Millisecond))
		refused += serve(t, c, 50, time.Minute, always(205*time.Millisecond)) // a step, for good
		if refused != 0 {
			t.Errorf("a step of the latency: %d refused", refused)
		}
	})
}

// A server of ten workers in front of which fifty calls wait: half of those are lost. The limit comes down to
// about what the workers do, and back at once when the losses have ended.
func TestAdaptiveFallsAndLifts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := adaptive(t, 50)
		const service = 50 * time.Millisecond
		serve(t, c, 10, time.Minute, always(service))
		overload := func() time.Duration { // as many as are under way share the workers
			taken, _ := c.Status()
			rounds := time.Duration(taken/10 + 1)
			if rounds > 3 {
				return -1
			}
			return rounds * service
		}
		serve(t, c, 50, 20*time.Second, overload)
		if got := limitOf(c); got < 8 || got > 30 {
			t.Errorf("in the overload the limit is %d, workers are ten", got)
		}
		serve(t, c, 50, 29*time.Second, always(service))
		if got := limitOf(c); got != 50 {
			t.Errorf("after it the limit is %d", got)
		}
	})
}

// One whose answers stay slow for good after the losses is free again half a minute after the last.
func TestAdaptiveForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := adaptive(t, 100)
		serve(t, c, 50, time.Minute, always(10*time.Millisecond))
		serve(t, c, 50, time.Second, always(-1))
		serve(t, c, 50, 15*time.Second, always(300*time.Millisecond))
		if got := limitOf(c); got > 20 {
			t.Errorf("slow answers after losses: the limit is %d", got)
		}
		serve(t, c, 50, 17*time.Second, always(300*time.Millisecond))
		if got := limitOf(c); got != 100 {
			t.Errorf("half a minute later the limit is %d", got)
		}
	})
}

// A client of few calls has the fixed limit, and so has one that none answers any more.
func TestAdaptiveOfFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := adaptive(t, 8)
		for range 100 {
			c.Lost()
			time.Sleep(2 * time.Second)
		}
		if got := limitOf(c); got != 8 {
			t.Errorf("half a call a second: the limit is %d", got)
		}
		for range 20 {
			c.Lost()
			time.Sleep(100 * time.Millisecond)
		}
		if got := limitOf(c); got != 1 {
			t.Errorf("all are lost: the limit is %d", got)
		}
		time.Sleep(11 * time.Second)
		c.Lost()
		if got := limitOf(c); got != 8 {
			t.Errorf("after a time of none the limit is %d", got)
		}
	})
}

// What is learnt outlives every change of the policy; none raises what trouble
// has brought down, and a fixed limit is fixed at once.
func TestAdaptiveChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := adaptive(t, 50)
		set := func(most int, adaptive bool) int {
			t.Helper()
			if err := c.SetPolicy(ratelimit.ConcurrencyPolicy{Max: most, Adaptive: adaptive}); err != nil {
				t.Fatal(err)
			}
			return limitOf(c)
		}
		if got := set(60, true); got != 60 {
			t.Errorf("in calm: %d", got)
		}
		serve(t, c, 50, time.Minute, always(10*time.Millisecond))
		serve(t, c, 50, time.Second, always(-1))
		fallen := limitOf(c)
		if fallen >= 25 {
			t.Fatalf("the limit is %d", fallen)
		}
		for _, step := range []struct {
			most     int
			adaptive bool
			want     int
		}{{200, true, fallen}, {0, true, fallen}, {1, true, 1}, {50, true, 1}, {40, false, 40}, {0, false, 0}, {30, true, 1}} {
			if got := set(step.most, step.adaptive); got != step.want {
				t.Errorf("%+v: the limit is %d", step, got)
			}
		}
		serve(t, c, 1, 40*time.Second, always(10*time.Millisecond))
		if got := limitOf(c); got != 30 {
			t.Errorf("after a calm the limit is %d", got)
		}
	})
}

// Whatever is told, the limit stays between 1 and Max, and in the fixed mode it is Max.
func TestAdaptiveBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 7))
		c := adaptive(t, 20)
		most, adapts := 20, true
		for range 20_000 {
			switch rng.IntN(12) {
			case 0:
				c.Answered(time.Duration(rng.Uint64()), time.Duration(rng.Uint64()))
			case 1:
				most, adapts = 1+rng.IntN(40), rng.IntN(4) > 0
				if err := c.SetPolicy(ratelimit.ConcurrencyPolicy{Max: most, Adaptive: adapts}); err != nil {
					t.Fatal(err)
				}
			case 2, 3, 4:
				c.Lost()
			case 5:
				time.Sleep(time.Duration(rng.Int64N(int64(time.Minute))))
			default:
				c.Answered(time.Duration(rng.Int64N(int64(time.Second))), time.Duration(rng.Int64N(int64(time.Second))))
				time.Sleep(time.Duration(rng.Int64N(int64(50 * time.Millisecond))))
			}
			if got := limitOf(c); got < 1 || got > most || !adapts && got != most {
				t.Fatalf("the limit is %d of %d", got, most)
			}
		}
	})
}

// A limit that falls while calls are lost.
func ExampleConcurrency_Answered() {
	limit, err := ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{Max: 100, Adaptive: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 20 {
		slot, err := limit.Take()
		if err != nil {
			fmt.Println(err) // busy: wait, or refuse the call
			continue
		}
		began := time.Now()
		// ... make the call; where it is lost for overload: limit.Lost()
		limit.Answered(time.Since(began), 0)
		slot.Release()
	}
	underWay, most := limit.Status()
	fmt.Println(underWay, "of", most)
	// Output: 0 of 100
}

// A client that makes little use of a fallen limit learns nothing about a higher one.
func TestAdaptiveUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := adaptive(t, 100)
		serve(t, c, 50, time.Minute, always(10*time.Millisecond))
		serve(t, c, 50, 2*time.Second, always(-1))
		serve(t, c, 2, 20*time.Second, always(10*time.Millisecond))
		if got := limitOf(c); got > 7 {
			t.Errorf("two calls at a time have raised the limit to %d", got)
		}
	})
}

// Where long answers hold all places of a limit that has fallen, time lets one call more leave, and no other
// before something has come of it.
func TestAdaptiveBesideStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := adaptive(t, 100)
		var streams []*ratelimit.Slot
		for range 3 {
			s, err := c.Take()
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, s)
		}
		for range 30 {
			c.Lost()
			time.Sleep(100 * time.Millisecond)
		}
		if _, err := c.Take(); err == nil || limitOf(c) > 3 {
			t.Fatalf("the limit is %d", limitOf(c))
		}
		time.Sleep(31 * time.Second)
		one, err := c.Take()
		if err != nil {
			t.Fatalf("half a minute later: %v", err)
		}
		if _, err := c.Take(); err == nil {
			t.Error("a second one may leave too")
		}
		for range 20 {
			c.Lost()
			time.Sleep(10 * time.Millisecond)
		}
		one.Release()
		if limitOf(c) > 3 {
			t.Errorf("that was lost, and the limit is %d", limitOf(c))
		}
		for _, s := range streams {
			s.Release()
		}
	})
}

// An outcome is told by what it does to the limit: an answer may complete the count by which it falls, and a
// loss may end the pause that lifts it.
func TestAdaptiveTurnIsWhatTheLimitDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := adaptive(t, 40)
		if turn := c.Answered(10*time.Millisecond, 0); turn != ratelimit.Steady {
			t.Fatalf("the first answer: %v", turn)
		}
		slots := make([]*ratelimit.Slot, 30)
		for i := range slots {
			s, err := c.Take()
			if err != nil {
				t.Fatal(err)
			}
			slots[i] = s
		}
		for range 20 {
			if turn := c.Lost(); turn != ratelimit.Steady {
				t.Fatalf("a loss within the first step: %v", turn)
			}
		}
		time.Sleep(200 * time.Millisecond)
		if turn := c.Answered(10*time.Millisecond, 0); turn != ratelimit.Falls || limitOf(c) >= 30 {
			t.Errorf("an answer after 20 losses: %v, limit %d", turn, limitOf(c))
		}
		for _, s := range slots {
			s.Release()
		}
		time.Sleep(time.Minute)
		if turn := c.Lost(); turn != ratelimit.Lifted || limitOf(c) != 40 {
			t.Errorf("a loss after a quiet minute: %v, limit %d", turn, limitOf(c))
		}
	})
}
