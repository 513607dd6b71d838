package tether

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func engineOfNow(t *testing.T) *Engine {
	t.Helper()
	e, err := New(Config{}, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestReadingsTellTheTime: to the nanosecond, whenever they are asked, from one that is at most a second old. A call
// that keeps one for long goes on reckoning from it.
func TestReadingsTellTheTime(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			time.Sleep(time.Duration(rng.Int64N(1e9)))
			e, made := engineOfNow(t), time.Now()
			kept, entered := e.clock()
			keptAt, renewed := time.Now(), 0
			for range 500 {
				before := e.reading.Load()
				time.Sleep(time.Duration(rng.ExpFloat64() * 3e8))
				r, since := e.clock()
				if now := time.Now(); !r.time(since).Equal(now) || since != now.Sub(made) {
					t.Fatalf("seed %d: %v and %v after, it is %v and %v", seed, r.time(since), since, now, now.Sub(made))
				}
				if e.reading.Load() != r || (r == before) != (time.Since(before.at) < readAgain) {
					t.Fatalf("seed %d: a reading of %v ago, which was renewed: %v", seed, time.Since(before.at), r != before)
				}
				if r != before {
					renewed++
				}
				if !kept.time(since).Equal(time.Now()) || !kept.time(entered).Equal(keptAt) {
					t.Fatalf("seed %d: an old reading tells %v, it is %v", seed, kept.time(since), time.Now())
				}
				if rng.IntN(50) == 0 {
					kept, entered, keptAt = r, since, time.Now()
				}
			}
			if renewed < 20 {
				t.Errorf("seed %d: %d readings prove little", seed, renewed)
			}
		})
	}
}

// TestReadAgain: not a nanosecond before a second has passed.
func TestReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engineOfNow(t)
		first, _ := e.clock()
		time.Sleep(readAgain - 1)
		if r, since := e.clock(); r != first || since != readAgain-1 {
			t.Errorf("%v after the engine was made, another: %v", since, r != first)
		}
		time.Sleep(time.Nanosecond)
		r, since := e.clock()
		if r == first || since != readAgain || r.since != readAgain || !r.at.Equal(time.Now()) {
			t.Errorf("%v after the engine was made it is %v, a second later than %v", since, r.at, first.at)
		}
	})
}

// TestReadingSeesAStep: what the wall clock said when it was read is forgotten within a second, and a step of it
// moves no time since the engine was made. A bubble's times have no monotonic clock beside the wall clock.
func TestReadingSeesAStep(t *testing.T) {
	const behind = time.Hour
	for _, age := range []time.Duration{0, readAgain} {
		e := engineOfNow(t)
		at := time.Now().Add(-age)
		stepped := &reading{at: at, since: at.Sub(e.born)}
		for _, before := range []*time.Time{&e.born, &stepped.at} { // the wall clock's seconds of what was read then
			*(*uint64)(unsafe.Pointer(before)) -= uint64(behind/time.Second) << 30
		}
		if off := at.Round(0).Sub(stepped.at.Round(0)); off != behind || at.Sub(stepped.at) != 0 {
			t.Fatalf("the time is %v behind, and %v: package time has changed", off, at.Sub(stepped.at))
		}
		e.reading.Store(stepped)
		r, since := e.clock()
		if real := time.Since(e.born); since < 0 || since > real {
			t.Errorf("%v since the engine was made, it is %v", since, real)
		}
		off := time.Now().Round(0).Sub(r.time(since).Round(0)).Round(behind)
		if kept := age < readAgain; kept != (r == stepped) || kept != (off == behind) {
			t.Errorf("%v after the step time is %v behind", age, off)
		}
	}
}

// TestReadingsSideBySide: whoever renews it, each call has a reading of its own. The race detector is the judge.
func TestReadingsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engineOfNow(t)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for range 100 {
					time.Sleep(time.Duration(i+1) * 10 * time.Millisecond)
					if r, since := e.clock(); !r.time(since).Equal(time.Now()) || time.Since(r.at) >= readAgain {
						t.Errorf("told %v at %v, by a reading of %v", r.time(since), time.Now(), r.at)
					}
				}
			})
		}
		wg.Wait()
	})
}
