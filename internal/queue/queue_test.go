package queue

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tether-go/tether/criticality"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestQueueOrder: whatever comes and goes, the turn is among the most critical that wait, the oldest's or,
// when these can't all be served in time, the newest's.
func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		var q Queue
		var all []*Waiter
		for step := range 5000 {
			switch {
			case len(all) == 0 || rng.IntN(5) < 3 && len(all) < 50:
				level := criticality.Level(rng.IntN(3) - 1)
				w, ok := q.Enter(level, uint64(rng.IntN(1000)), time.Now().Add(time.Duration(rng.IntN(20))*time.Second))
				if !ok {
					t.Fatal("the queue is full")
				}
				all = append(all, w)
			default:
				i := rng.IntN(len(all))
				q.Leave(all[i])
				all = slices.Delete(all, i, i+1)
			}
			if len(all) == 0 {
				continue
			}
			rate := float64(rng.IntN(4))
			slices.SortStableFunc(all, func(a, b *Waiter) int {
				return cmp.Or(cmp.Compare(b.level, a.level), cmp.Compare(a.order, b.order))
			})
			top := slices.IndexFunc(all, func(w *Waiter) bool { return w.level != all[0].level })
			if top < 0 {
				top = len(all)
			}
			want := all[0]
			if newest := all[top-1]; rate > 0 && float64(top)/rate > time.Until(newest.until).Seconds() {
				want = newest
			}
			turns := 0
			for _, w := range all {
				turn, others, displaced := q.Turn(w, rate)
				if displaced || others != len(all)-1 {
					t.Fatalf("step %d: displaced %v, %d others of %d", step, displaced, others, len(all))
				}
				if turn {
					turns++
					if w.level != want.level || w.order != want.order {
						t.Fatalf("step %d: the turn of %v %d, want %v %d", step, w.level, w.order, want.level, want.order)
					}
				}
			}
			if turns != 1 {
				t.Fatalf("step %d: %d have their turn", step, turns)
			}
			for level := criticality.Sheddable; level <= criticality.Critical; level++ {
				n := 0
				for _, w := range all {
					if w.level >= level {
						n++
					}
				}
				if got := q.Ahead(level); got != n {
					t.Fatalf("step %d: %d ahead of %v, want %d", step, got, level, n)
				}
			}
		}
	})
}

// TestQueueFull: a full line takes nobody but who is more critical than its last, which gives way.
func TestQueueFull(t *testing.T) {
	var q Queue
	until := time.Now().Add(time.Hour)
	var sheddable []*Waiter
	for i := range maxWaiting {
		level := criticality.Default
		if i%1000 == 999 {
			level = criticality.Sheddable
		}
		w, ok := q.Enter(level, uint64(i), until)
		if !ok {
			t.Fatal(i, "were too many")
		}
		if level == criticality.Sheddable {
			sheddable = append(sheddable, w)
		}
	}
	if _, ok := q.Enter(criticality.Sheddable, 1, until); ok {
		t.Error("an older sheddable call displaced another")
	}
	gone := func() (n int) {
		for _, w := range sheddable {
			if _, _, displaced := q.Turn(w, 0); displaced {
				n++
			}
		}
		return n
	}
	for i, level := range []criticality.Level{criticality.Default, criticality.Critical} {
		if _, ok := q.Enter(level, 9000, until); !ok || gone() != i+1 {
			t.Errorf("%v: taken %v, %d displaced, want %d", level, ok, gone(), i+1)
		}
	}
	if _, _, displaced := q.Turn(sheddable[0], 0); !displaced {
		t.Error("the oldest sheddable is not gone")
	}
	select {
	case <-sheddable[1].wake:
	default:
		t.Error("the displaced one sleeps on")
	}
	if _, ok := q.Enter(criticality.Default, 9001, until); ok {
		t.Error("a default call displaced one")
	}
	if _, ok := q.Enter(criticality.Critical, 9001, until); !ok || q.length.Load() != maxWaiting {
		t.Errorf("a critical call displaced nobody, or the length is %d", q.length.Load())
	}
	q.Leave(sheddable[1]) // which is gone already
	if got := q.length.Load(); got != maxWaiting {
		t.Errorf("%d wait", got)
	}
}
