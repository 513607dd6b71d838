package ratelimit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit"
)

func concurrency(t testing.TB, most int) *ratelimit.Concurrency {
	t.Helper()
	c, err := ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{Max: most})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func take(t testing.TB, c *ratelimit.Concurrency) *ratelimit.Slot {
	t.Helper()
	s, err := c.Take()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConcurrencyChanges(t *testing.T) {
	c := concurrency(t, 2)
	a, b := take(t, c), take(t, c)
	if _, err := c.Take(); !errors.Is(err, ratelimit.ErrBusy) {
		t.Fatalf("a third of two: %v", err)
	}
	if err := c.SetPolicy(ratelimit.ConcurrencyPolicy{Max: 1}); err != nil {
		t.Fatal(err)
	}
	a.Release()
	a.Release() // counts once
	if _, err := c.Take(); !errors.Is(err, ratelimit.ErrBusy) {
		t.Fatalf("one is still under way: %v", err)
	}
	b.Release()
	take(t, c).Release()
	if err := c.SetPolicy(ratelimit.ConcurrencyPolicy{}); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if s := take(t, c); s != nil {
			t.Fatal("a slot of no limit")
		}
	}
	if taken, most := c.Status(); taken != 0 || most != 0 {
		t.Errorf("%d of %d taken", taken, most)
	}
}

// Slots out equal slots taken, in any order of releases.
func TestConcurrencyCounts(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 3))
		c := concurrency(t, 1+rng.IntN(10))
		var out []*ratelimit.Slot
		for range 200 {
			if rng.IntN(2) == 0 && len(out) > 0 {
				i := rng.IntN(len(out))
				out[i].Release()
				out = slices.Delete(out, i, i+1)
			} else if s, err := c.Take(); err == nil {
				out = append(out, s)
			}
			if taken, most := c.Status(); taken != len(out) || taken > most {
				t.Fatalf("seed %d: %d of %d taken, %d are out", seed, taken, most, len(out))
			}
		}
		runtime.KeepAlive(out)
	}
}

func TestForgottenSlotsLapse(t *testing.T) {
	c := concurrency(t, 10)
	kept := take(t, c)
	for range 9 {
		take(t, c)
	}
	runtime.GC()
	var again []*ratelimit.Slot
	for range 9 {
		again = append(again, take(t, c))
	}
	if _, err := c.Take(); !errors.Is(err, ratelimit.ErrBusy) {
		t.Errorf("those that are held: %v", err)
	}
	for _, s := range append(again, kept) {
		s.Release()
	}
	if taken, _ := c.Status(); taken != 0 {
		t.Errorf("%d taken by nobody", taken)
	}
}

func TestConcurrencyInOrderAndNeverMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := concurrency(t, 3)
		var running, most atomic.Int32
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				s, err := c.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Release()
				n := running.Add(1)
				mu.Lock()
				most.Store(max(most.Load(), n))
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				running.Add(-1)
			})
			synctest.Wait()
		}
		began := time.Now()
		all.Wait()
		if most.Load() != 3 || time.Since(began) != 10*time.Second || !slices.IsSorted(order) {
			t.Errorf("%d at once, in %v, order %v", most.Load(), time.Since(began), order)
		}
	})
}

func TestAcquireEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := concurrency(t, 1)
		s := take(t, c)
		defer s.Release()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := c.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		var all sync.WaitGroup
		waiting, stop := context.WithCancel(t.Context())
		var busy atomic.Int32
		for range 1005 {
			all.Go(func() {
				if _, err := c.Acquire(waiting); errors.Is(err, ratelimit.ErrBusy) {
					busy.Add(1)
				}
			})
		}
		synctest.Wait()
		if busy.Load() != 5 {
			t.Errorf("%d of 1,005 were refused a place in line", busy.Load())
		}
		stop()
		all.Wait()
	})
}

func TestImpossibleConcurrency(t *testing.T) {
	for _, most := range []int{-1, 1_000_000} {
		if _, err := ratelimit.NewConcurrency(ratelimit.ConcurrencyPolicy{Max: most}); err == nil {
			t.Errorf("%d is taken", most)
		}
	}
}
