package tether

import (
	"cmp"
	"github.com/tether-go/tether/criticality"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestLineOrder: whatever comes and goes, the turn is among the most critical that wait, the oldest's or,
// when these can't all be served in time, the newest's.
func TestLineOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		var l line
		var all []*waiter
		for step := range 5000 {
			switch {
			case len(all) == 0 || rng.IntN(5) < 3 && len(all) < 50:
				class := criticality.Level(rng.IntN(3) - 1)
				w, ok := l.enter(class, uint64(rng.IntN(1000)), time.Now().Add(time.Duration(rng.IntN(20))*time.Second))
				if !ok {
					t.Fatal("the line is full")
				}
				all = append(all, w)
			default:
				i := rng.IntN(len(all))
				l.leave(all[i])
				all = slices.Delete(all, i, i+1)
			}
			if len(all) == 0 {
				continue
			}
			rate := float64(rng.IntN(4))
			slices.SortStableFunc(all, func(a, b *waiter) int {
				return cmp.Or(cmp.Compare(b.class, a.class), cmp.Compare(a.order, b.order))
			})
			top := slices.IndexFunc(all, func(w *waiter) bool { return w.class != all[0].class })
			if top < 0 {
				top = len(all)
			}
			want := all[0]
			if newest := all[top-1]; rate > 0 && float64(top)/rate > time.Until(newest.until).Seconds() {
				want = newest
			}
			turns := 0
			for _, w := range all {
				turn, others, displaced := l.turn(w, rate)
				if displaced || others != len(all)-1 {
					t.Fatalf("step %d: displaced %v, %d others of %d", step, displaced, others, len(all))
				}
				if turn {
					turns++
					if w.class != want.class || w.order != want.order {
						t.Fatalf("step %d: the turn of %v %d, want %v %d", step, w.class, w.order, want.class, want.order)
					}
				}
			}
			if turns != 1 {
				t.Fatalf("step %d: %d have their turn", step, turns)
			}
			for class := criticality.Sheddable; class <= criticality.Critical; class++ {
				n := 0
				for _, w := range all {
					if w.class >= class {
						n++
					}
				}
				if got := l.ahead(class); got != n {
					t.Fatalf("step %d: %d ahead of %v, want %d", step, got, class, n)
				}
			}
		}
	})
}

// TestLineFull: a full line takes nobody but who is more critical than its last, which gives way.
func TestLineFull(t *testing.T) {
	var l line
	until := time.Now().Add(time.Hour)
	var sheddable []*waiter
	for i := range maxWaiting {
		class := criticality.Default
		if i%1000 == 999 {
			class = criticality.Sheddable
		}
		w, ok := l.enter(class, uint64(i), until)
		if !ok {
			t.Fatal(i, "were too many")
		}
		if class == criticality.Sheddable {
			sheddable = append(sheddable, w)
		}
	}
	if _, ok := l.enter(criticality.Sheddable, 1, until); ok {
		t.Error("an older sheddable call displaced another")
	}
	gone := func() (n int) {
		for _, w := range sheddable {
			if _, _, displaced := l.turn(w, 0); displaced {
				n++
			}
		}
		return n
	}
	for i, class := range []criticality.Level{criticality.Default, criticality.Critical} {
		if _, ok := l.enter(class, 9000, until); !ok || gone() != i+1 {
			t.Errorf("%v: taken %v, %d displaced, want %d", class, ok, gone(), i+1)
		}
	}
	if _, _, displaced := l.turn(sheddable[0], 0); !displaced {
		t.Error("the oldest sheddable is not gone")
	}
	select {
	case <-sheddable[1].wake:
	default:
		t.Error("the displaced one sleeps on")
	}
	if _, ok := l.enter(criticality.Default, 9001, until); ok {
		t.Error("a default call displaced one")
	}
	if _, ok := l.enter(criticality.Critical, 9001, until); !ok || l.length.Load() != maxWaiting {
		t.Errorf("a critical call displaced nobody, or the length is %d", l.length.Load())
	}
	l.leave(sheddable[1]) // which is gone already
	if got := l.length.Load(); got != maxWaiting {
		t.Errorf("%d wait", got)
	}
}
