package decay

import (
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExp(t *testing.T) {
	for x := 1e-12; x < 100; x *= 1.01 {
		if got, want := Exp(x), math.Exp(-x); math.Abs(got-want) > 2.3e-16*want { // the last bit
			t.Errorf("Exp(%v) is %v, want %v", x, got, want)
		}
	}
}

func TestOf(t *testing.T) {
	for since, want := range map[time.Duration]float64{-time.Hour: 1, 0: 1, time.Second: math.Exp(-0.1)} {
		if got := Of(since, 10*time.Second); got != want {
			t.Errorf("%v of 10s leave %v, want %v", since, got, want)
		}
	}
}
