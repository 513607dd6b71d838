package breaker

import (
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var got []Event
		b := mustNew(t, Policy{}, Options{
			Rand:    func() float64 { return 0.5 },
			Observe: func(e Event) { got = append(got, e) },
		})
		b.Do(func() error { return nil })
		fail(b, 5)
		time.Sleep(time.Second)
		b.Allow() // forgotten: its lease ends at 11 s
		time.Sleep(time.Minute)
		fail(b, 1)
		time.Sleep(4 * time.Second)
		b.Do(func() error { return nil })

		at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
		counted := Counts{Successes: 1, Failures: 5, ConsecutiveFailures: 5}
		want := []Event{
			{Seq: 1, From: Closed, To: Open, Cause: ConsecutiveFailures, At: at(0), RetryAt: at(1),
				Counts: counted},
			{Seq: 2, From: Open, To: HalfOpen, Cause: OpenTimeOver, At: at(1)},
			{Seq: 3, From: HalfOpen, To: Open, Cause: ProbeLapsed, At: at(11), RetryAt: at(13)},
			{Seq: 4, From: Open, To: HalfOpen, Cause: OpenTimeOver, At: at(13)},
			{Seq: 5, From: HalfOpen, To: Open, Cause: ProbeFailed, At: at(61), RetryAt: at(65)},
			{Seq: 6, From: Open, To: HalfOpen, Cause: OpenTimeOver, At: at(65)},
			{Seq: 7, From: HalfOpen, To: Closed, Cause: ProbesSucceeded, At: at(65)},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

func TestRatioEvent(t *testing.T) {
	var got Event
	b := mustNew(t, Policy{ConsecutiveFailures: 100}, Options{Observe: func(e Event) { got = e }})
	fail(b, 20)
	want := Counts{Failures: 20, ConsecutiveFailures: 20}
	if got.Cause != FailureRatio || got.Counts != want {
		t.Errorf("got %+v", got)
	}
}

// TestManyTransitions has 20,000 changes of state made by 16 callers at once, each heard in order
// by an observer that calls every method of the breaker.
func TestManyTransitions(t *testing.T) {
	const transitions = 20_000
	synctest.Test(t, func(t *testing.T) {
		var b *Breaker
		policy := Policy{
			ConsecutiveFailures: 2, OpenTime: time.Millisecond, MaxOpenTime: 2 * time.Millisecond,
		}
		seq := uint64(0)
		last := Closed
		b = mustNew(t, policy, Options{Observe: func(e Event) {
			if e.Seq != seq+1 || e.From != last {
				t.Errorf("event %+v after %d, %v", e, seq, last)
			}
			seq, last = e.Seq, e.To
			b.State()
			b.Health()
			if ticket, err := b.Allow(); err == nil {
				ticket.Probe()
				ticket.Done(Ignored)
			}
			b.Do(func() error { return nil })
			if err := b.SetPolicy(policy); err != nil {
				t.Error(err)
			}
		}})
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				for b.Health().Opened < transitions/2 {
					fail(b, 2)
					time.Sleep(time.Millisecond)
				}
			})
		}
		callers.Wait()
		if h := b.Health(); seq < transitions || h.Dropped != 0 || h.State != last {
			t.Errorf("%d events, the last %v; %+v", seq, last, h)
		}
	})
}

func TestObserverPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := 0
		b := mustNew(t, Policy{}, Options{Observe: func(Event) { heard++; panic("observer") }})
		fail(b, 5)
		time.Sleep(2 * time.Second)
		b.Do(func() error { return nil })
		if heard != 3 || b.State() != Closed {
			t.Errorf("heard %d events, %v", heard, b.State())
		}
	})
}

// TestSlowObserver has an observer that hangs in its first event while the others go on; all is
// heard in order once it goes on, but for what is too much to keep.
func TestSlowObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		var heard []uint64
		b := mustNew(t, Policy{}, Options{Observe: func(e Event) {
			if heard = append(heard, e.Seq); e.Seq == 1 {
				<-goOn
			}
		}})
		go fail(b, 5) // delivers, and so hangs
		synctest.Wait()
		const rounds = 200
		for range rounds {
			time.Sleep(10 * time.Second)
			b.Do(func() error { return nil })
			fail(b, 5)
		}
		if got := b.Health().Opened; got != rounds+1 {
			t.Fatalf("opened %d times", got)
		}
		close(goOn)
		synctest.Wait()
		const pushed = 3 * rounds
		if got := b.Health().Dropped; got != pushed-eventLimit {
			t.Errorf("%d events dropped", got)
		}
		if len(heard) != 1+eventLimit || heard[eventLimit] != pushed+1 {
			t.Errorf("heard %d events, the last is %d", len(heard), heard[len(heard)-1])
		}
		for i, seq := range heard[1:] {
			if seq != pushed+1-eventLimit+uint64(i)+1 {
				t.Fatalf("event %d is %d", i+1, seq)
			}
		}
	})
}

// TestConcurrentPolicies changes the policy while calls run.
func TestConcurrentPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := Policy{ConsecutiveFailures: maxCount} // the ratio stays below a half
		b := mustNew(t, policy, Options{})
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				for n := range 1000 {
					ticket, err := b.Allow()
					if err == nil {
						ticket.Done(Result(1 + (n+i)%3/2)) // a third are failures
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		all.Go(func() {
			for n := range 100 {
				policy.Window = time.Duration(1+n%3) * 10 * time.Second
				policy.Probes = 1 + n%2
				if err := b.SetPolicy(policy); err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		all.Wait()
		h := b.Health()
		if h.State != Closed || h.Counts.Successes+h.Counts.Failures != 10_000 {
			t.Errorf("counts were lost: %+v", h)
		}
	})
}

// TestCarriedCounts shows what a new window keeps of a large volume: the ratio.
func TestCarriedCounts(t *testing.T) {
	b := mustNew(t, Policy{FailureRatio: 1}, Options{})
	for range 20_000 {
		fail(b, 1)
		for range 3 {
			ticket, _ := b.Allow()
			ticket.Done(Success)
		}
	}
	if err := b.SetPolicy(Policy{FailureRatio: 1, Window: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if got := b.Health().Counts; got != (Counts{Successes: 7500, Failures: 2500}) {
		t.Errorf("carried %+v", got)
	}
}
