package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit"
)

func limiter(t testing.TB, perSecond float64, burst int, phase float64) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.NewLimiter(ratelimit.LimitPolicy{PerSecond: perSecond, Burst: burst},
		ratelimit.LimiterOptions{Rand: func() float64 { return phase }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// taken is how many calls leave at this moment.
func taken(l *ratelimit.Limiter) (n int) {
	for n < 1e5 {
		if _, err := l.Take(); err != nil {
			return n
		}
		n++
	}
	return n
}

func TestLimiterSteps(t *testing.T) {
	type step struct {
		at   time.Duration
		push *ratelimit.LimitPolicy // before the calls
		want int                    // calls that leave
		next time.Duration          // when the next may
	}
	push := func(perSecond float64, burst int) *ratelimit.LimitPolicy {
		return &ratelimit.LimitPolicy{PerSecond: perSecond, Burst: burst}
	}
	for name, test := range map[string]struct {
		perSecond float64
		burst     int
		steps     []step
	}{
		"one call at the start, then a phase, then the rate": {2, 10, []step{
			{0, nil, 1, 750 * time.Millisecond}, {700 * time.Millisecond, nil, 0, 750 * time.Millisecond},
			{750*time.Millisecond + 1, nil, 1, 1250 * time.Millisecond}}},
		"saves a burst at most": {2, 3, []step{
			{0, nil, 1, 750 * time.Millisecond}, {time.Hour, nil, 3, time.Hour + 500*time.Millisecond}}},
		"a burst by default": {2.5, 0, []step{{0, nil, 1, 600 * time.Millisecond}, {time.Hour, nil, 3, time.Hour + 400*time.Millisecond}}},
		"a larger burst gives nothing": {1, 10, []step{
			{0, nil, 1, 1500 * time.Millisecond}, {9500 * time.Millisecond, push(1, 1000), 9, 10500 * time.Millisecond}}},
		"a smaller one keeps its part": {1, 10, []step{
			{0, nil, 1, 1500 * time.Millisecond}, {8500 * time.Millisecond, push(1, 5), 4, 8500*time.Millisecond + time.Second}}},
		"a faster one shortens what is owed": {0.1, 1, []step{
			{0, nil, 1, 15 * time.Second}, {5 * time.Second, push(1, 1), 0, 6 * time.Second}}},
		"the same again changes nothing": {1, 10, []step{
			{0, nil, 1, 1500 * time.Millisecond}, {500 * time.Millisecond, push(1, 10), 0, 1500 * time.Millisecond}}},
		"off and on starts anew, with one": {1, 10, []step{
			{time.Hour, push(0, 0), 1e5, 0}, {2 * time.Hour, push(1, 10), 1, 2*time.Hour + 1500*time.Millisecond}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, began := limiter(t, test.perSecond, test.burst, 0.5), time.Now()
				for _, s := range test.steps {
					time.Sleep(time.Until(began.Add(s.at)))
					if s.push != nil {
						if err := l.SetPolicy(*s.push); err != nil {
							t.Fatal(err)
						}
					}
					if n := taken(l); n != s.want {
						t.Fatalf("at %v: %d calls, want %d", s.at, n, s.want)
					}
					next := l.ReadyAt(0)
					if got := next.Sub(began).Round(time.Microsecond); s.next != 0 && got != s.next {
						t.Fatalf("at %v: the next at %v, want %v", s.at, got, s.next)
					}
				}
			})
		})
	}
}

// However it is asked, given back and changed, no more leaves than the highest limits allow.
func TestLimiterNeverExceeds(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			policy := func() ratelimit.LimitPolicy {
				return ratelimit.LimitPolicy{PerSecond: 0.1 + 5*rng.Float64(), Burst: rng.IntN(8)}
			}
			first := policy()
			l, err := ratelimit.NewLimiter(first, ratelimit.LimiterOptions{Rand: rng.Float64})
			if err != nil {
				t.Fatal(err)
			}
			most, fastest, left, began := first.WithDefaults().Burst, first.PerSecond, 0, time.Now()
			for range 300 {
				switch rng.IntN(8) {
				case 0:
					p := policy()
					most, fastest = max(most, p.WithDefaults().Burst), max(fastest, p.PerSecond)
					if err := l.SetPolicy(p); err != nil {
						t.Fatal(err)
					}
				case 1:
					if _, err := l.Take(); err == nil {
						l.Untake()
					}
				case 2:
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				default:
					if _, err := l.Take(); err == nil {
						left++
					}
				}
				if allowed := float64(most) + 1 + fastest*time.Since(began).Seconds(); float64(left) > allowed {
					t.Fatalf("seed %d: %d calls left in %v, %v allowed", seed, left, time.Since(began), allowed)
				}
			}
		})
	}
}

// A fleet that starts together sends one call each, and its second ones spread over a whole period.
func TestLimiterFleetStartsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 2000
		rng, began := rand.New(rand.NewPCG(1, 2)), time.Now()
		fleet := make([]*ratelimit.Limiter, clients)
		for i := range fleet {
			fleet[i] = limiter(t, 0.1, 10, rng.Float64())
			if n := taken(fleet[i]); n != 1 {
				t.Fatalf("%d calls at the start", n)
			}
		}
		var perSecond [20]int
		for _, l := range fleet {
			perSecond[int(l.ReadyAt(0).Sub(began).Seconds())]++
		}
		if slices.Max(perSecond[:]) > clients/10*13/10 || slices.Max(perSecond[:10]) > 0 {
			t.Errorf("second calls by second: %v", perSecond)
		}
	})
}

func TestLimiterWaitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 1, 1, 0)
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				if err := l.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
			synctest.Wait()
		}
		short, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		if err := l.Wait(short); !errors.Is(err, ratelimit.ErrLimited) || time.Since(began) > 0 {
			t.Errorf("a deadline that can't be met: %v after %v", err, time.Since(began))
		}
		all.Wait()
		if !slices.IsSorted(order) || time.Since(began).Round(time.Millisecond) != 4*time.Second {
			t.Errorf("order %v after %v", order, time.Since(began))
		}
	})
}

func TestLimiterWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, began := limiter(t, 0.001, 1, 0), time.Now()
		taken(l)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := l.Wait(ctx); !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("cancelled: %v after %v", err, time.Since(began))
		}
		time.AfterFunc(time.Second, func() {
			if err := l.SetPolicy(ratelimit.LimitPolicy{}); err != nil {
				t.Error(err)
			}
		})
		if err := l.Wait(t.Context()); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("lifted: %v after %v", err, time.Since(began))
		}
	})
}

func TestImpossibleLimits(t *testing.T) {
	for _, p := range []ratelimit.LimitPolicy{{PerSecond: -1}, {PerSecond: math.NaN()}, {PerSecond: math.Inf(1)},
		{PerSecond: 1e-9}, {PerSecond: 1, Burst: -1}, {Burst: 1e9}} {
		if _, err := ratelimit.NewLimiter(p, ratelimit.LimiterOptions{}); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}

func TestLimiterUntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, 1, 3, 0)
		time.Sleep(time.Hour)
		taken(l)
		l.Untake()
		if n := taken(l); n != 1 {
			t.Errorf("one given back, %d leave", n)
		}
		for range 10 {
			l.Untake()
		}
		if n := taken(l); n != 3 {
			t.Errorf("more given back than were taken: %d leave, more than a burst", n)
		}
	})
}
