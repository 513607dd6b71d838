package pacing

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestCalmSteps: a word and whether the gate is calm after it.
func TestCalmSteps(t *testing.T) {
	words := map[string]func(*Gate){
		"new":         func(*Gate) {},
		"ask":         (*Gate).Ask,
		"take":        func(g *Gate) { g.Take(0) },
		"untake":      (*Gate).Untake,
		"ignored":     (*Gate).Ignored,
		"turned-away": (*Gate).TurnedAway,
		"look":        func(g *Gate) { g.Status(); g.Usual(); g.Doubt(); g.Paced() },
		"refused":     func(g *Gate) { g.Failed(Refused) },
		"timeout":     func(g *Gate) { g.Failed(TimedOut) },
		"overloaded":  func(g *Gate) { g.Failed(Overloaded) },
		"good":        func(g *Gate) { g.Good(50*time.Millisecond, 200*time.Millisecond) },
		"slow":        func(g *Gate) { g.Good(time.Second, 200*time.Millisecond) },
		"hold":        func(g *Gate) { g.Hold(10 * time.Second) },
		"hold-none":   func(g *Gate) { g.Hold(0) },
		"remember":    (*Gate).Remember,
		"resume":      (*Gate).Resume,
		"recovered":   (*Gate).Recovered,
		"off":         func(g *Gate) { _ = g.SetPolicy(Policy{PacingOff: true}) },
		"on":          func(g *Gate) { _ = g.SetPolicy(Policy{}) },
		"11s":         func(*Gate) { time.Sleep(11 * time.Second) },
		"1m":          func(*Gate) { time.Sleep(time.Minute) },
	}
	for _, script := range []string{
		"new yes, ask yes, take yes, untake yes, take yes, ignored yes, turned-away yes, look yes, good yes, slow yes",
		"take yes, refused no, good yes",
		"take yes, timeout no, slow no, ignored no, good yes",
		"overloaded no, good yes",
		"timeout no, 1m no, take yes", // what was learnt has lapsed
		"timeout no, timeout no, good yes, timeout no",
		"timeout no, timeout no, timeout no, good no", // no accident: calls return one by one
		"hold no, good no, 11s no, take no, good no, 11s no, take yes",
		"hold-none no, 11s no, take no, good no, 11s no, take yes",
		"resume no, 11s no, take no, good no, 11s no, take yes",
		"recovered no, take no, 11s no, good no, 11s no, take yes",
		"remember no, good no, take no, resume no, 11s no, take no, good no, 11s no, take yes",
		"remember no, 1m no, take yes",
		"off yes, timeout yes, refused yes, hold no, good no, 11s no, take yes",
		"timeout no, off no, take yes",
		"off yes, resume no, on no, off no, take yes",
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newTwins(t, 1).one
			for range 60 {
				time.Sleep(time.Second)
				g.Ask()
				g.Take(0)
				g.Good(50*time.Millisecond, 200*time.Millisecond)
			}
			for step := range strings.SplitSeq(script, ", ") {
				word, want, _ := strings.Cut(step, " ")
				words[word](g)
				if g.Calm() != (want == "yes") {
					t.Fatalf("%s: calm is %v after %s", script, g.Calm(), word)
				}
			}
		})
	}
}

// TestCalmNeedsAll: each of what may keep a call back, or must hear of the next good answer, is enough.
func TestCalmNeedsAll(t *testing.T) {
	for what, change := range map[string]func(*Gate){
		"paced":    func(g *Gate) { g.pacer.paced = true },
		"failing":  func(g *Gate) { g.pacer.failing = true },
		"strikes":  func(g *Gate) { g.pacer.strikes = 1 },
		"usual":    func(g *Gate) { g.usual = 1 },
		"kept":     func(g *Gate) { g.kept = true },
		"held":     func(g *Gate) { g.until = time.Now().Add(1) },
		"was held": func(g *Gate) { g.until = time.Now() },
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newTwins(t, 1).one
			if change(g); g.Calm() != (what == "was held") {
				t.Errorf("%s: calm is %v", what, g.Calm())
			}
		})
	}
}

// TestCalmPasses: while a gate is calm any number of calls passes, whatever came before.
func TestCalmPasses(t *testing.T) {
	calm := 0
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			w := newTwins(t, seed)
			for range 300 {
				time.Sleep(time.Duration(w.rng.ExpFloat64() * 1e9))
				if w.rng.IntN(8) == 0 {
					w.trouble()
				}
				w.call()
				if !w.many.Calm() {
					continue
				}
				calm++
				for range w.rng.IntN(500) {
					for _, g := range []*Gate{w.one, w.many} {
						if retryAt, err := g.Take(w.rng.IntN(3)); err != nil {
							t.Fatalf("seed %d: calm, and kept back until %v: %v", seed, retryAt, err)
						}
					}
				}
			}
		})
	}
	if calm < 2000 {
		t.Errorf("%d calm times prove little", calm)
	}
}
