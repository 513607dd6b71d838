package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/ratelimit"
)

// A gate that was held before it could know the usual rate learns it while it paces.
func TestYoungGateLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, ratelimit.Policy{}, 1)
		asks(g, time.Second, 2*time.Second)
		g.Hold(0)
		asks(g, 100*time.Millisecond, 8*time.Second)
		if _, rate := g.Status(); rate < 5 || rate > 11 {
			t.Errorf("calls return at %.1f a second, 10 are asked for", rate)
		}
	})
}
