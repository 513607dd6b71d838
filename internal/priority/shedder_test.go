package priority

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/ratelimit/pacing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fastAnswer = 50 * time.Millisecond
	slowFrom   = 400 * time.Millisecond
)

// TestShedder: who gives way to whom, and since when.
func TestShedder(t *testing.T) {
	type step func(*Shedder)
	wait := func(by time.Duration) step { return func(*Shedder) { time.Sleep(by) } }
	ask := func(c criticality.Level) step {
		return func(d *Shedder) { d.Ask(c); time.Sleep(100 * time.Millisecond) }
	}
	fail := func(kind pacing.Failure) step {
		return func(d *Shedder) { d.Failed(kind); time.Sleep(time.Second) }
	}
	good := func(took time.Duration) step {
		return func(d *Shedder) { d.Good(took, slowFrom); time.Sleep(time.Second) }
	}
	timeout, busy, refused := fail(pacing.TimedOut), fail(pacing.Overloaded), fail(pacing.Refused)
	fast, slow := good(fastAnswer), good(2*slowFrom)
	for name, tc := range map[string]struct {
		steps []step
		yield map[criticality.Level]bool
	}{
		"nothing has failed":                {[]step{ask(criticality.Critical), ask(criticality.Sheddable), slow, slow, slow, slow}, nil},
		"a lone timeout":                    {[]step{ask(criticality.Critical), fast, timeout}, nil},
		"lone timeouts between answers":     {[]step{ask(criticality.Critical), timeout, fast, timeout, fast, timeout}, nil},
		"two timeouts":                      {[]step{ask(criticality.Critical), timeout, timeout}, map[criticality.Level]bool{criticality.Default: true, criticality.Sheddable: true}},
		"slow, then a timeout":              {[]step{ask(criticality.Critical), slow, timeout}, map[criticality.Level]bool{criticality.Default: true, criticality.Sheddable: true}},
		"one answer that says overloaded":   {[]step{ask(criticality.Critical), busy}, map[criticality.Level]bool{criticality.Default: true, criticality.Sheddable: true}},
		"refused connections cost nothing":  {[]step{ask(criticality.Critical), refused, refused, refused}, nil},
		"sheddable gives way to default":    {[]step{ask(criticality.Sheddable), ask(criticality.Default), busy}, map[criticality.Level]bool{criticality.Sheddable: true}},
		"nobody more critical asks":         {[]step{ask(criticality.Sheddable), ask(criticality.Sheddable), busy, busy}, nil},
		"nor lately":                        {[]step{ask(criticality.Critical), busy, wait(2 * deferMemory), busy}, nil},
		"criticality is nobody's word here": {[]step{ask(criticality.Default), busy, busy}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := New(rand.New(rand.NewPCG(1, 1)).Float64)
				for _, s := range tc.steps {
					s(d)
				}
				for c := criticality.Sheddable; c <= criticality.Critical; c++ {
					if got := d.Pace(c) > 0; got != tc.yield[c] {
						t.Errorf("%v gives way: %v", c, got)
					}
				}
			})
		})
	}
}

// TestShedderEnds: calls that give way are never kept back for good, and once the server is well all leave
// again, those who waited at the usual rate and not together.
func TestShedderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(rand.New(rand.NewPCG(1, 1)).Float64)
		for range 60 { // one a second of each
			d.Ask(criticality.Critical)
			d.Ask(criticality.Sheddable)
			time.Sleep(time.Second)
		}
		for range 20 {
			d.Failed(pacing.TimedOut)
		}
		if got := d.Pace(criticality.Sheddable); got != deferLeast {
			t.Errorf("%v a second leave after 20 failures, want %v", got, deferLeast)
		}
		if retryAt, ok := d.Take(criticality.Sheddable, 1); ok || time.Until(retryAt) > 55*time.Second {
			t.Errorf("taken %v, or to wait for %v", ok, time.Until(retryAt))
		}
		left := 0
		began := time.Now()
		for d.Pace(criticality.Sheddable) > 0 && time.Since(began) < 3*time.Minute {
			if time.Since(began)%time.Second == 0 {
				d.Ask(criticality.Critical)
				d.Ask(criticality.Sheddable)
			}
			if time.Since(began)%(250*time.Millisecond) == 0 {
				d.Good(fastAnswer, slowFrom)
			}
			waiting := max(0, 10+int(time.Since(began).Seconds())-left) // ten did before
			if _, ok := d.Take(criticality.Sheddable, waiting); ok {
				left++
			}
			if since := time.Since(began).Seconds(); float64(left) > 2+1.3*since {
				t.Fatalf("%d left within %.1f s", left, since)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("calls gave way for %v after the server was well", took)
		}
	})
}

// TestShedderFollowsDemand: long after the trouble more may leave than was usual before it, as fast as answers
// allow, and accidents don't count as trouble.
func TestShedderFollowsDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(rand.New(rand.NewPCG(1, 1)).Float64)
		d.Ask(criticality.Critical)
		d.Ask(criticality.Sheddable)
		d.Failed(pacing.Overloaded)
		began := time.Now()
		for i := 0; time.Since(began) < 4*time.Minute; i++ {
			if i%20 == 0 {
				d.Ask(criticality.Critical)
				d.Good(fastAnswer, slowFrom)
			}
			if i%600 == 0 {
				d.Failed(pacing.TimedOut)
			}
			d.Ask(criticality.Sheddable)
			if _, ok := d.Take(criticality.Sheddable, 1); ok {
				d.Good(fastAnswer, slowFrom)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if rate := d.Pace(criticality.Sheddable); rate < 20 || rate > 20*deferMost*1.2 {
			t.Errorf("%v leave a second of 20", rate)
		}
	})
}

// TestShedderReturns: some time after others have begun to give way, the next more critical call is told to
// return, once; if that was in vain, after a longer time.
func TestShedderReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(rand.New(rand.NewPCG(1, 1)).Float64)
		d.Ask(criticality.Critical)
		d.Ask(criticality.Sheddable)
		returns := func(within time.Duration) (after time.Duration) {
			t.Helper()
			for began := time.Now(); time.Since(began) < within; time.Sleep(100 * time.Millisecond) {
				if d.Ask(criticality.Sheddable) {
					t.Error("those that give way return")
				}
				if d.Ask(criticality.Critical) {
					return time.Since(began)
				}
			}
			return -1
		}
		if after := returns(time.Minute); after >= 0 {
			t.Errorf("calls return after %v, nothing has failed", after)
		}
		d.Failed(pacing.Overloaded)
		if after := returns(time.Minute); after < returnFirst/2 || after > returnFirst*3/2+100*time.Millisecond {
			t.Errorf("calls return after %v", after)
		}
		if after := returns(20 * time.Second); after >= 0 {
			t.Errorf("calls return again after %v", after)
		}
		d.Failed(pacing.Overloaded)
		if after := returns(time.Minute); after < returnLonger*returnFirst/2 || after > returnLonger*returnFirst*3/2+100*time.Millisecond {
			t.Errorf("calls return in vain after %v", after)
		}
		for range 3 {
			d.Failed(pacing.Overloaded)
			returns(time.Minute)
		}
		d.Failed(pacing.Overloaded)
		if after := returns(time.Minute); after < returnLast/2 || after > returnLast*3/2+100*time.Millisecond {
			t.Errorf("calls return in vain at last after %v", after)
		}
		time.Sleep(2 * deferMemory)
		d.Ask(criticality.Critical)
		d.Failed(pacing.Overloaded)
		if after := returns(time.Minute); after > returnFirst*3/2+100*time.Millisecond {
			t.Errorf("new trouble begins with %v", after)
		}
	})
}
