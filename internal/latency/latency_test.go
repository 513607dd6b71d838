package latency

import (
	"github.com/tether-go/tether/internal/clock"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The onset of trouble must not pass for normal at a busy client, and what is normal for good must.
func TestNormalOfABusyClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Endpoints
		start := time.Now()
		answers := func(perSecond int, total, took time.Duration) (slow time.Duration) {
			for range int(total.Seconds() * float64(perSecond)) {
				time.Sleep(time.Second / time.Duration(perSecond))
				slow = n.Learn(clock.Moment(time.Since(start)), 1, took, true, false)
			}
			return slow
		}
		for _, perSecond := range []int{50, 1000} {
			n = Endpoints{}
			before := answers(perSecond, 5*time.Minute, 60*time.Millisecond)
			if before < 100*time.Millisecond || before > 200*time.Millisecond {
				t.Errorf("%d/s: slow is from %v on, with 60 ms the usual time", perSecond, before)
			}
			if after := answers(perSecond, time.Second, time.Second); after > before*13/10 {
				t.Errorf("%d/s: a second of slow answers takes it from %v to %v", perSecond, before, after)
			}
			if after := answers(perSecond, time.Minute, time.Second); after < time.Second {
				t.Errorf("%d/s: a minute of slow answers leaves it at %v", perSecond, after)
			}
		}
	})
}

// TestRoutesHaveSlotsOfTheirOwn: two routes whose hashes meet don't learn together; a fifth one joins the first.
func TestRoutesHaveSlotsOfTheirOwn(t *testing.T) {
	var n Endpoints
	taken := make(map[uint64]bool)
	for i := range uint64(4) {
		route := 7 + 32*(i+1)
		if at := n.slot(route); taken[at] || at != n.slot(route) {
			t.Errorf("route %d shares slot %d", i, at)
		} else {
			taken[at] = true
		}
	}
	if at := n.slot(7 + 32*9); at != 7 {
		t.Errorf("the fifth has slot %d", at)
	}
	if at := n.slot(^uint64(0)); at != 31 { // the sum overflows
		t.Errorf("the largest hash has slot %d", at)
	}
}
