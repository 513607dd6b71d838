package eventqueue

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNoListener(t *testing.T) {
	for _, q := range []*Queue[int]{nil, {}, New[int](1, nil)} {
		q.Push(1)
		q.Push(2)
		q.Deliver()
		if q.Enabled() || q.Dropped() != 0 {
			t.Error("a queue without a listener keeps something")
		}
	}
}

func TestOldestMakesRoom(t *testing.T) {
	for limit, want := range map[int][]int{3: {2, 3, 4}, 1: {4}, 0: {4}, -1: {4}, 9: {0, 1, 2, 3, 4}} {
		var heard []int
		q := New(limit, func(i int) { heard = append(heard, i) })
		for i := range 5 {
			q.Push(i)
		}
		q.Deliver()
		if !slices.Equal(heard, want) || q.Dropped() != uint64(5-len(want)) {
			t.Errorf("limit %d: heard %v, %d dropped", limit, heard, q.Dropped())
		}
	}
}

// TestOrder pushes from many goroutines under one lock, as the users of a queue do.
func TestOrder(t *testing.T) {
	const pushers, each = 20, 1000
	var (
		mu    sync.Mutex // guards next, and orders the events
		next  int
		heard []int // needs no lock: the queue hands over one event at a time
	)
	q := New(pushers*each, func(i int) { heard = append(heard, i) })
	var done sync.WaitGroup
	for range pushers {
		done.Go(func() {
			for range each {
				mu.Lock()
				q.Push(next)
				next++
				mu.Unlock()
				q.Deliver()
			}
		})
	}
	done.Wait()
	if len(heard) != pushers*each || !slices.IsSorted(heard) {
		t.Errorf("heard %d events, in order: %v", len(heard), slices.IsSorted(heard))
	}
}

func TestSlowListenerHoldsUpOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		var heard []int
		q := New(10, func(i int) {
			<-goOn
			heard = append(heard, i)
		})
		q.Push(0)
		go q.Deliver()
		synctest.Wait()
		for i := range 5 {
			q.Push(1 + i)
			q.Deliver() // returns at once
		}
		close(goOn)
		synctest.Wait()
		if want := []int{0, 1, 2, 3, 4, 5}; !slices.Equal(heard, want) {
			t.Errorf("heard %v", heard)
		}
	})
}

func TestListenerCallsBack(t *testing.T) {
	var q *Queue[int]
	var heard []int
	q = New(10, func(i int) {
		heard = append(heard, i)
		if i < 5 {
			q.Push(i + 1)
			q.Deliver()
			if len(heard) != i+1 {
				t.Error("an event was delivered inside another")
			}
		}
		q.Dropped()
	})
	q.Push(0)
	q.Deliver()
	if len(heard) != 6 {
		t.Errorf("heard %v", heard)
	}
}

func TestListenerPanicsAndExits(t *testing.T) {
	var heard []int
	q := New(10, func(i int) {
		heard = append(heard, i)
		switch i {
		case 0:
			panic("listener")
		case 1:
			runtime.Goexit()
		}
	})
	for i := range 4 {
		q.Push(i)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		q.Deliver()
	}()
	<-exited
	q.Deliver() // takes over from the goroutine that ended
	if want := []int{0, 1, 2, 3}; !slices.Equal(heard, want) {
		t.Errorf("heard %v", heard)
	}
}
