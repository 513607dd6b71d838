package clock

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSamplesTellTheTime: to the nanosecond, whenever they are asked, from one that is at most a second old. A call
// that keeps one for long goes on reckoning from it.
func TestSamplesTellTheTime(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			time.Sleep(time.Duration(rng.Int64N(1e9)))
			e, made := New(), time.Now()
			kept, entered := e.Now()
			keptAt, renewed := time.Now(), 0
			for range 500 {
				before := e.sample.Load()
				time.Sleep(time.Duration(rng.ExpFloat64() * 3e8))
				r, since := e.Now()
				if now := time.Now(); !r.Time(since).Equal(now) || since != Moment(now.Sub(made)) {
					t.Fatalf("seed %d: %v and %v after, it is %v and %v", seed, r.Time(since), since, now, now.Sub(made))
				}
				if e.sample.Load() != r || (r == before) != (time.Since(before.at) < readAgain) {
					t.Fatalf("seed %d: a sample of %v ago, which was renewed: %v", seed, time.Since(before.at), r != before)
				}
				if r != before {
					renewed++
				}
				if !kept.Time(since).Equal(time.Now()) || !kept.Time(entered).Equal(keptAt) {
					t.Fatalf("seed %d: an old sample tells %v, it is %v", seed, kept.Time(since), time.Now())
				}
				if rng.IntN(50) == 0 {
					kept, entered, keptAt = r, since, time.Now()
				}
			}
			if renewed < 20 {
				t.Errorf("seed %d: %d samples prove little", seed, renewed)
			}
		})
	}
}

// TestReadAgain: not a nanosecond before a second has passed.
func TestReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New()
		first, _ := e.Now()
		time.Sleep(readAgain - 1)
		if r, since := e.Now(); r != first || since != Moment(readAgain-1) {
			t.Errorf("%v after the engine was made, another: %v", since, r != first)
		}
		time.Sleep(time.Nanosecond)
		r, since := e.Now()
		if r == first || since != Moment(readAgain) || r.moment != Moment(readAgain) || !r.at.Equal(time.Now()) {
			t.Errorf("%v after the engine was made it is %v, a second later than %v", since, r.at, first.at)
		}
	})
}

// TestSampleSeesAStep: what the wall clock said when it was read is forgotten within a second, and a step of it
// moves no time since the engine was made. A bubble's times have no monotonic clock beside the wall clock.
func TestSampleSeesAStep(t *testing.T) {
	const behind = time.Hour
	for _, age := range []time.Duration{0, readAgain} {
		e := New()
		at := time.Now().Add(-age)
		stepped := &Sample{at: at, moment: e.MomentOf(at)}
		for _, before := range []*time.Time{&e.born, &stepped.at} { // the wall clock's seconds of what was read then
			*(*uint64)(unsafe.Pointer(before)) -= uint64(behind/time.Second) << 30
		}
		if off := at.Round(0).Sub(stepped.at.Round(0)); off != behind || at.Sub(stepped.at) != 0 {
			t.Fatalf("the time is %v behind, and %v: package time has changed", off, at.Sub(stepped.at))
		}
		e.sample.Store(stepped)
		r, since := e.Now()
		if real := e.MomentOf(time.Now()); since < 0 || since > real {
			t.Errorf("%v since the engine was made, it is %v", since, real)
		}
		off := time.Now().Round(0).Sub(r.Time(since).Round(0)).Round(behind)
		if kept := age < readAgain; kept != (r == stepped) || kept != (off == behind) {
			t.Errorf("%v after the step time is %v behind", age, off)
		}
	}
}

// TestSamplesSideBySide: whoever renews it, each call has a sample of its own. The race detector is the judge.
func TestSamplesSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for range 100 {
					time.Sleep(time.Duration(i+1) * 10 * time.Millisecond)
					if r, since := e.Now(); !r.Time(since).Equal(time.Now()) || time.Since(r.at) >= readAgain {
						t.Errorf("told %v at %v, by a sample of %v", r.Time(since), time.Now(), r.at)
					}
				}
			})
		}
		wg.Wait()
	})
}
