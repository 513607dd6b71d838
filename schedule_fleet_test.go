package tether_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// runs records when periodic work begins.
type runs struct {
	mu    sync.Mutex // guards times
	times []time.Time
}

func (r *runs) add(context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, time.Now())
}

func (r *runs) all() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.times)
}

// between counts the runs from one moment up to another.
func (r *runs) between(from, to time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.times {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// busiest is the most runs that began within one of the parts of a time.
func (r *runs) busiest(from, to time.Time, part time.Duration) (most int) {
	for ; from.Before(to); from = from.Add(part) {
		most = max(most, r.between(from, from.Add(part)))
	}
	return most
}

// TestEveryAtLaunch: a fleet that starts within one second does not act together, in the first
// period or the second (law 3), nor when its period is changed under it.
func TestEveryAtLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fleet = 2000
		var r runs
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		var engines []*tether.Engine
		bounds := policy.Bounds{MinEvery: 5 * time.Second}
		began := time.Now()
		for i := range fleet {
			e := engine(t, tether.Options{Seed: uint64(i + 1), Bounds: bounds})
			engines = append(engines, e)
			clients.Go(func() { e.Every(ctx, "sync", tether.Schedule{Every: 10 * time.Second}, r.add) })
			time.Sleep(time.Second / fleet)
		}
		time.Sleep(time.Until(began.Add(31 * time.Second)))
		if n := r.between(began, began.Add(11*time.Second)); n < fleet || n > fleet*12/10 {
			t.Errorf("%d runs of %d clients in the first period", n, fleet)
		}
		r.flat(t, "launch", fleet, began, began.Add(21*time.Second), 10*time.Second)
		for i, period := range []int{20, 5} {
			changed := time.Now()
			for _, e := range engines {
				publish(t, e, i+1, fmt.Sprintf(`"schedules": {"sync": {"every": "%ds"}}`, period))
			}
			time.Sleep(30 * time.Second)
			when := fmt.Sprintf("a change to %d s", period)
			r.flat(t, when, fleet, changed, changed.Add(20*time.Second), time.Duration(period)*time.Second)
		}
		cancel()
		clients.Wait()
	})
}

// flat wants about as many runs as a fleet's period makes, and in no hundredth of the period more
// than 1.8 times the mean.
func (r *runs) flat(
	t *testing.T, when string, fleet int, from, to time.Time, period time.Duration,
) {
	t.Helper()
	mean := float64(fleet) / 100
	if most := r.busiest(from, to, period/100); float64(most) > 1.8*mean {
		t.Errorf("%s: %d runs in %v, the mean is %v", when, most, period/100, mean)
	}
	n, want := r.between(from, to), float64(fleet)*to.Sub(from).Seconds()/period.Seconds()
	if f := float64(n); f < 0.9*want || f > 1.1*want {
		t.Errorf("%s: %d runs, want about %v", when, n, want)
	}
}
