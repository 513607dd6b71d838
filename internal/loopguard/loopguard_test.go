package loopguard

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLoopIsNamedOnceAMinute: a steady caller never is; one that asks 50 times as often is, once a minute; one that
// begins in a loop isn't, for nothing is known to be usual.
func TestLoopIsNamedOnceAMinute(t *testing.T) {
	var g Guard
	ask := func(from, to, every time.Duration) (reports int) {
		for at := from; at < to; at += every {
			if loop, _, _ := g.Beat(7, at); loop {
				reports++
			}
		}
		return reports
	}
	if n := ask(0, 2*time.Minute, time.Second); n != 0 {
		t.Errorf("a steady caller is named %d times", n)
	}
	if n := ask(2*time.Minute, 5*time.Minute, 20*time.Millisecond); n != 3 {
		t.Errorf("a loop of three minutes is named %d times", n)
	}
	g = Guard{}
	if n := ask(0, 50*time.Second, time.Millisecond); n != 0 {
		t.Errorf("a loop from the first call on is named %d times", n)
	}
}

// law 13
func TestRefusalsAreATenthOfASecondApart(t *testing.T) {
	var g Guard
	now := time.Unix(1e9, 0)
	if d := g.RefusalDelay(now); d != 0 {
		t.Errorf("a lone refusal takes %v", d)
	}
	began := now
	for range 100 {
		now = now.Add(g.RefusalDelay(now))
	}
	if took := now.Sub(began); took != 100*refusalGap {
		t.Errorf("a hundred refusals in a loop take %v", took)
	}
	if d := g.RefusalDelay(now.Add(time.Second)); d != 0 {
		t.Errorf("a refusal a second later takes %v", d)
	}
}
