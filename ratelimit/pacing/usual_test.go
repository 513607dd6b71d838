package pacing_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit/pacing"
)

// A gate that was held before it could know the usual rate goes on learning it: fast answers may bring it
// there. What was asked for meanwhile doesn't do so by itself, it may be distress.
func TestYoungGateLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, pacing.Policy{}, 1)
		asks(g, time.Second, 2*time.Second)
		g.Hold(8 * time.Second)
		g.Status() // settles what is usual, as far as is known
		asks(g, 100*time.Millisecond, 8*time.Second)
		if _, rate := g.Status(); rate > 1.5 {
			t.Errorf("calls return at %.1f a second, about one was usual", rate)
		}
		for range 600 {
			g.Ask()
			if _, err := g.Take(1); err == nil {
				g.Good(60*time.Millisecond, 300*time.Millisecond)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if _, rate := g.Status(); rate < 5 || rate > 13 { // at most 1.2 times what a meter of few calls reads
			t.Errorf("calls leave at %.1f a second, 10 are asked for", rate)
		}
	})
}

// A minute after the last failure slow answers may be the server's new normal: the usual rate then has the
// room that it needs among the attempts under way.
func TestRoomForANewNormal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const usual = 50
		g := gate(t, pacing.Policy{}, 1)
		var wg sync.WaitGroup
		calls := func(total, took time.Duration) (sent int) {
			for range int(total.Seconds() * usual) {
				g.Ask()
				if _, err := g.Take(1); err == nil {
					sent++
					wg.Go(func() {
						time.Sleep(took)
						g.Good(took, 300*time.Millisecond)
					})
				}
				time.Sleep(time.Second / usual)
			}
			return sent
		}
		calls(time.Minute, 60*time.Millisecond)
		for range 2 * usual {
			g.Take(1)
			g.Failed(pacing.TimedOut)
		}
		if !g.Paced() {
			t.Fatal("nothing is paced")
		}
		calls(5*time.Minute, 800*time.Millisecond) // forgets an e-fold a minute, from a probe a second
		if sent := calls(10*time.Second, 800*time.Millisecond); sent < 10*usual*9/10 {
			t.Errorf("%d calls left in ten seconds, %d are usual", sent, 10*usual)
		}
		wg.Wait()
	})
}

// Law 4: what left before a kill and ends well after it doesn't make the client forget what was usual: callers
// in distress ask far more often.
func TestRememberedThroughLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, pacing.Policy{}, 1)
		asks(g, time.Second, time.Minute)
		if _, err := g.Take(0); err != nil {
			t.Fatal(err)
		}
		g.Remember()
		g.Good(60*time.Millisecond, 300*time.Millisecond)
		asks(g, 10*time.Millisecond, 30*time.Second)
		g.Resume()
		if _, rate := g.Status(); rate > 2 {
			t.Errorf("calls return at %.1f a second, one was usual", rate)
		}
	})
}
