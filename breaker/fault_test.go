package breaker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errTest = errors.New("no answer")

// bare is gobreaker as it is, with an open time of a second. The tests of its faults show what the
// parts around it are for: when one of them fails, that part may no longer be needed.
func bare(settings gobreaker.Settings) *gobreaker.TwoStepCircuitBreaker[bool] {
	settings.Timeout = time.Second
	return gobreaker.NewTwoStepCircuitBreaker[bool](settings)
}

func TestHungProbeDoesNotWedge(t *testing.T) {
	tripAtOnce := func(c gobreaker.Counts) bool { return true }
	synctest.Test(t, func(t *testing.T) {
		fault := bare(gobreaker.Settings{ReadyToTrip: tripAtOnce})
		done, _ := fault.Allow()
		done(errTest)
		time.Sleep(2 * time.Second)
		if _, err := fault.Allow(); err != nil { // a probe that never reports
			t.Fatal(err)
		}
		time.Sleep(1000 * time.Hour)
		if _, err := fault.Allow(); !errors.Is(err, gobreaker.ErrTooManyRequests) {
			t.Errorf("gobreaker no longer wedges: %v", err)
		}

		b := mustNew(t, Policy{ConsecutiveFailures: 1}, Options{})
		fail(b, 1)
		time.Sleep(2 * time.Second)
		if _, err := b.Allow(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1000 * time.Hour)
		if ticket, err := b.Allow(); err != nil || !ticket.Probe() {
			t.Errorf("wedged: %v", err)
		}
	})
}

func TestCallLongerThanTheWindowCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 10 * time.Second
		fault := bare(gobreaker.Settings{Interval: window, BucketPeriod: time.Second})
		b := mustNew(t, Policy{Window: window, ConsecutiveFailures: 1000}, Options{})
		for range 100 {
			done, err := fault.Allow()
			if err != nil {
				t.Fatal(err)
			}
			ticket, err := b.Allow()
			if err != nil {
				break
			}
			go func() {
				time.Sleep(window + time.Second)
				done(errTest)
				ticket.Done(Failure)
			}()
		}
		time.Sleep(2 * window)
		if got := fault.Counts().TotalFailures; got != 0 {
			t.Errorf("gobreaker now counts %d of 100 long calls", got)
		}
		if got := b.Health().Opened; got != 1 {
			t.Errorf("opened %d times, want once", got)
		}
	})
}

func TestCountsRollWithoutCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := bare(gobreaker.Settings{Interval: time.Minute, BucketPeriod: time.Second})
		done, _ := fault.Allow()
		done(errTest)
		b := mustNew(t, Policy{}, Options{})
		fail(b, 1)
		time.Sleep(time.Hour)
		if got := fault.Counts().TotalFailures; got != 1 {
			t.Errorf("gobreaker's counts now roll: %d", got)
		}
		if got := b.Health().Counts.Failures; got != 0 {
			t.Errorf("an hour later %d failures are in the window", got)
		}
	})
}

// TestHalfOpenEnds has every way in which a probe may fail to report. Half-open must end within
// the lease and the open time that follows, or the slot must be free at once.
func TestHalfOpenEnds(t *testing.T) {
	allow := func(b *Breaker) Ticket {
		ticket, err := b.Allow()
		if err != nil {
			t.Error(err)
		}
		return ticket
	}
	hang := func() error { time.Sleep(time.Hour); return nil }
	exit := func() error { runtime.Goexit(); return nil }
	for name, test := range map[string]struct {
		probe  func(*Breaker)
		atOnce bool // the slot is free at once
	}{
		"forgotten":         {func(b *Breaker) { allow(b) }, false},
		"hang":              {func(b *Breaker) { t := allow(b); hang(); t.Done(Success) }, false},
		"hang in Do":        {func(b *Breaker) { b.Do(hang) }, false},
		"panic":             {func(b *Breaker) { allow(b); panic("probe") }, false},
		"panic in Do":       {func(b *Breaker) { b.Do(func() error { panic("probe") }) }, true},
		"Goexit":            {func(b *Breaker) { allow(b); runtime.Goexit() }, false},
		"Goexit in Do":      {func(b *Breaker) { b.Do(exit) }, true},
		"cancelled in Do":   {func(b *Breaker) { b.Do(func() error { return context.Canceled }) }, true},
		"ignored":           {func(b *Breaker) { allow(b).Done(Ignored) }, true},
		"an unknown result": {func(b *Breaker) { allow(b).Done(Result(99)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := mustNew(t, Policy{}, Options{})
				fail(b, 5)
				time.Sleep(2 * time.Second)
				go func() {
					defer func() { _ = recover() }()
					test.probe(b)
				}()
				synctest.Wait()
				if test.atOnce {
					if ticket, err := b.Allow(); err != nil || !ticket.Probe() || b.State() != HalfOpen {
						t.Errorf("the slot isn't free: %v, %v", err, b.State())
					}
					return
				}
				if _, err := b.Allow(); !errors.Is(err, ErrOpen) {
					t.Errorf("two probes out: %v", err)
				}
				time.Sleep(10 * time.Second)
				if got := b.State(); got != Open {
					t.Errorf("%v when the lease was over", got)
				}
				time.Sleep(5 * time.Second)
				if ticket, err := b.Allow(); err != nil || !ticket.Probe() {
					t.Errorf("no probe after the open time: %v", err)
				}
				time.Sleep(time.Hour) // until the one that hangs reports
				synctest.Wait()
				if got := b.State(); got == Closed {
					t.Error("a lapsed probe closed the breaker")
				}
			})
		})
	}
}

func TestDo(t *testing.T) {
	other := fmt.Errorf("backend: %w", &OpenError{})
	for name, test := range map[string]struct {
		err  error
		want Counts
	}{
		"nil":               {nil, Counts{Successes: 1}},
		"an error":          {errTest, Counts{Failures: 1, ConsecutiveFailures: 1}},
		"a deadline":        {context.DeadlineExceeded, Counts{Failures: 1, ConsecutiveFailures: 1}},
		"cancelled":         {fmt.Errorf("get: %w", context.Canceled), Counts{}},
		"another's refusal": {other, Counts{}},
	} {
		b := mustNew(t, Policy{}, Options{})
		if got := b.Do(func() error { return test.err }); got != test.err {
			t.Errorf("%s: returned %v", name, got)
		}
		if got := b.Health().Counts; got != test.want {
			t.Errorf("%s: counted %+v, want %+v", name, got, test.want)
		}
	}

	b := mustNew(t, Policy{}, Options{})
	func() {
		defer func() {
			if got := recover(); got != "fn" {
				t.Errorf("recovered %v", got)
			}
		}()
		b.Do(func() error { panic("fn") })
	}()
	if got := b.Health().Counts; got != (Counts{}) {
		t.Errorf("a panic counted as %+v", got)
	}
	fail(b, 5)
	err := b.Do(func() error { t.Error("called while open"); return nil })
	if !errors.Is(err, ErrOpen) || err.Error() != "breaker: open" {
		t.Errorf("refused with %v", err)
	}
}

// TestOwnCancellations shows that callers who leave can't open a breaker.
func TestOwnCancellations(t *testing.T) {
	b := mustNew(t, Policy{}, Options{})
	for range 1000 {
		b.Do(func() error { return context.Canceled })
	}
	if got := b.State(); got != Closed {
		t.Errorf("%v after 1,000 cancelled calls", got)
	}
}

func TestForcedHealth(t *testing.T) {
	b := mustNew(t, Policy{}, Options{})
	fail(b, 5)
	if err := b.SetPolicy(Policy{Mode: ForcedClosed}); err != nil {
		t.Fatal(err)
	}
	if h := b.Health(); h.Mode != ForcedClosed || h.State != Open || !h.RetryAt.IsZero() {
		t.Errorf("a breaker that had opened and is forced closed says %+v", h)
	}
}

func TestZeroTicket(t *testing.T) {
	var ticket Ticket
	ticket.Done(Failure)
	if ticket.Probe() {
		t.Error("the zero ticket is a probe")
	}
}

// TestMonotonic runs on the real clock, because a bubble's has no monotonic reading.
func TestMonotonic(t *testing.T) {
	b := mustNew(t, Policy{}, Options{})
	fail(b, 5)
	if at := b.Health().RetryAt; at == at.Round(0) {
		t.Error("RetryAt has no monotonic reading, so a step of the wall clock would matter")
	}
}

// TestRandIsCalledUnlocked would hang if it weren't.
func TestRandIsCalledUnlocked(t *testing.T) {
	var b *Breaker
	calls := 0
	b = mustNew(t, Policy{}, Options{Rand: func() float64 {
		if calls++; b != nil {
			b.State()
		}
		return 0
	}})
	fail(b, 5)
	if calls < 2 {
		t.Errorf("Rand was called %d times", calls)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		Closed.String():          "closed",
		HalfOpen.String():        "half-open",
		State(9).String():        "unknown",
		Cause(0).String():        "unknown",
		FailureRatio.String():    "failure ratio",
		ProbesSucceeded.String(): "probes succeeded",
		Cause(9).String():        "unknown",
		Failure.String():         "failure",
		Fault.String():           "fault",
		Result(9).String():       "unknown",

		(&OpenError{}).Error():              "breaker: open",
		(&OpenError{Probing: true}).Error(): "breaker: open, probes are out",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
