package breaker

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Successes that gobreaker doesn't hear of count as long as those that it hears of.
func TestSuccessesRollAsInGobreaker(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			window := []time.Duration{minWindow, 10 * time.Second, 30*time.Second + 7, time.Hour}[seed%4]
			m := newMachine(window, func(gobreaker.Counts) bool { return false })
			all := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{Interval: window,
				BucketPeriod: m.good.period, ReadyToTrip: func(gobreaker.Counts) bool { return false }})
			for range 300 {
				time.Sleep(time.Duration(rng.ExpFloat64() * rng.ExpFloat64() * float64(window) / 30))
				if rng.IntN(4) == 0 {
					m.failure()
					_, _ = all.Execute(func() (struct{}, error) { return struct{}{}, errFailure })
				} else {
					m.success(time.Now())
					_, _ = all.Execute(func() (struct{}, error) { return struct{}{}, nil })
				}
				all.State()
				got, want := m.counts(), all.Counts()
				if got.TotalSuccesses != want.TotalSuccesses || got.TotalFailures != want.TotalFailures {
					t.Fatalf("seed %d: %+v, gobreaker alone counts %+v", seed, got, want)
				}
			}
		})
	}
}

// A clock that was read a moment ago, before another call's, loses and keeps nothing.
func TestSuccessesOfAnEarlierClock(t *testing.T) {
	now := time.Now()
	s := successes{start: now, period: time.Second, steps: 10}
	s.add(1, now.Add(5*time.Second))
	s.add(1, now.Add(4*time.Second))
	s.add(1, now.Add(-time.Second))
	for after, want := range map[time.Duration]uint32{14 * time.Second: 3, 15 * time.Second: 0} {
		rolled := s
		if rolled.roll(now.Add(after)); rolled.all != want {
			t.Errorf("%d after %v, want %d", rolled.all, after, want)
		}
	}
}

// In a room of the caller's, tickets of the closed state cost no memory, and count once each.
func TestAllowIn(t *testing.T) {
	b, err := New(Policy{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var room Room
	allocs := testing.AllocsPerRun(100, func() {
		ticket, _ := b.AllowIn(&room)
		ticket.DoneAt(time.Now(), Success)
		ticket.Done(Failure)
	})
	if counts := b.Health().Counts; allocs != 0 || counts.Successes != 101 || counts.Failures != 0 {
		t.Errorf("%v allocations, %+v", allocs, counts)
	}
}

// A breaker that closes has forgotten the successes from before it opened.
func TestSuccessesOfAnEarlierState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Policy{ConsecutiveFailures: 1, Probes: 1, OpenTime: time.Second, MaxOpenTime: time.Second}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		report := func(r Result) {
			ticket, err := b.Allow()
			if err != nil {
				t.Fatal(err)
			}
			ticket.Done(r)
		}
		for _, r := range []Result{Success, Success, Failure} {
			report(r)
		}
		time.Sleep(2 * time.Second)
		report(Success)
		report(Success)
		if h := b.Health(); h.State != Closed || h.Counts.Successes != 1 {
			t.Errorf("%+v, want one success since it closed", h)
		}
	})
}
