package schedule

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tether-go/tether/policy"
)

// at is a moment of 24 November 2026 in UTC, or of a day after it.
func at(clock string, days int) time.Time {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		panic(err)
	}
	return time.Date(2026, 11, 24+days, t.Hour(), t.Minute(), 0, 0, time.UTC)
}

var (
	night    = policy.DailyWindow{From: "01:00", To: "05:00"}
	midnight = policy.DailyWindow{From: "23:00", To: "02:00"}
)

func TestFirstAndNext(t *testing.T) {
	whole := policy.DailyWindow{}
	for _, c := range []struct {
		name    string
		every   time.Duration
		window  policy.DailyWindow
		now     time.Time
		draw    float64
		isFirst bool
		want    time.Time
	}{
		{"first: anywhere in the period", time.Hour, whole, at("12:00", 0), 0.5, true, at("12:30", 0)},
		{"next: a tenth sooner", time.Hour, whole, at("12:00", 0), 0, false, at("12:54", 0)},
		{"next: on average a period", time.Hour, whole, at("12:00", 0), 0.5, false, at("13:00", 0)},
		{"first: before the window", Day, night, at("00:00", 0), 0.5, true, at("03:00", 0)},
		{"first: after the window", Day, night, at("05:00", 0), 0.5, true, at("03:00", 1)},
		{"first: at its opening", Day, night, at("01:00", 0), 0.5, true, at("03:00", 0)},
		{"first: in time", Day, night, at("02:00", 0), 0.5, true, at("04:00", 0)},
		{"first: no squeezing in", Day, night, at("04:00", 0), 0.5, true, at("03:00", 1)},
		{"first: over a short period", time.Hour, night, at("00:00", 0), 0.5, true, at("01:30", 0)},
		{"first: short period, late", time.Hour, night, at("04:45", 0), 0.5, true, at("01:30", 1)},
		{"first: short period, in time", time.Hour, night, at("04:15", 0), 0.5, true, at("04:45", 0)},
		{"next: every night", Day, night, at("01:00", 0), 0.25, false, at("02:00", 1)},
		{"next: every night, from its end", Day, night, at("04:59", 0), 0, false, at("01:00", 1)},
		{"next: every other night", 2 * Day, night, at("04:00", 0), 0.25, false, at("02:00", 2)},
		{"next: once a night for 6 h", 6 * time.Hour, night, at("01:00", 0), 0.25, false, at("02:00", 1)},
		{"next: within the night", time.Hour, night, at("01:00", 0), 0.5, false, at("02:00", 0)},
		{"next: not past its end", time.Hour, night, at("04:30", 0), 0.5, false, at("01:30", 1)},
		{"midnight: before it", Day, midnight, at("22:00", 0), 0.5, true, at("00:30", 1)},
		{"midnight: evening", Day, midnight, at("23:30", 0), 0.5, true, at("01:00", 1)},
		{"midnight: morning", Day, midnight, at("00:15", 1), 0.5, true, at("01:45", 1)},
		{"midnight: morning, late", Day, midnight, at("01:00", 1), 0.5, true, at("00:30", 2)},
		{"midnight: after it", Day, midnight, at("02:00", 1), 0, true, at("23:00", 1)},
		{"midnight: next, from the evening", Day, midnight, at("23:10", 0), 0.5, false, at("00:30", 2)},
		{"midnight: next, from the morning", Day, midnight, at("01:50", 1), 0.5, false, at("00:30", 2)},
	} {
		timing := New(c.every, c.window)
		draw := func() float64 { return c.draw }
		got := timing.Next(c.now, draw)
		if c.isFirst {
			got = timing.First(c.now, draw)
		}
		if d := got.Sub(c.want); d < -time.Second || d > time.Second {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// What a long run missed is not made up for, and its phase stays.
func TestAfterALongRun(t *testing.T) {
	hourly, nightly := New(time.Hour, policy.DailyWindow{}), New(Day, night)
	half := func() float64 { return 0.5 }
	if got := hourly.After(at("12:10", 0), at("15:30", 0), half); !got.Equal(at("16:10", 0)) {
		t.Error(got)
	}
	if got := hourly.After(at("12:10", 0), at("13:10", 0), half); !got.Equal(at("14:10", 0)) {
		t.Error("due at once:", got)
	}
	if got := nightly.After(at("03:00", 0), at("12:00", 1), half); !got.Equal(at("03:00", 2)) {
		t.Error(got)
	}
}

// Whatever the schedule, a run is due inside of its window, after the one before, and on average no
// more often than the period or the window says. A day has 24 h, also where clocks are put forward.
func TestTimingProperty(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	berlin := time.FixedZone("CET", 3600)
	for range 300 {
		w := policy.DailyWindow{}
		if opens, width := rng.IntN(24*60), 15+rng.IntN(24*60-15); rng.IntN(3) > 0 {
			of := func(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60%24, minutes%60) }
			w = policy.DailyWindow{From: of(opens), To: of(opens + width)}
		}
		every := time.Duration(1+rng.IntN(3*24*60)) * time.Minute
		timing := New(every, w)
		start := at("00:00", 0).Add(time.Duration(rng.Int64N(int64(Day))))
		due := timing.First(start.In(berlin), rng.Float64)
		if due.Before(start) || due.Sub(start) > every+2*Day {
			t.Fatalf("%v %+v: first at %v, begun at %v", every, w, due, start)
		}
		if w == (policy.DailyWindow{}) && due.Sub(start) > every {
			t.Fatalf("%v: first after %v", every, due.Sub(start))
		}
		const runs = 1000
		begun := due
		for range runs {
			if !timing.Open(due) {
				t.Fatalf("%v %+v: due at %v", every, w, due)
			}
			next := timing.Next(due, rng.Float64)
			if !next.After(due) {
				t.Fatalf("%v %+v: due at %v, then at %v", every, w, due, next)
			}
			if timing.Width > 0 && every >= timing.Width && timing.opening(next).Equal(timing.opening(due)) {
				t.Fatalf("%v %+v: twice in one window: %v, %v", every, w, due, next)
			}
			due = next
		}
		mean := due.Sub(begun) / runs
		if mean < every*95/100 || w == (policy.DailyWindow{}) && mean > every*105/100 {
			t.Fatalf("%v %+v: %v apart on average", every, w, mean)
		}
	}
}

// A nightly run is never left out, and is spread over the whole window.
func TestNightlyIsEveryNight(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	timing := New(Day, night)
	due := timing.First(at("12:00", 0), rng.Float64)
	var quarters [4]int
	for n := range 1000 {
		opens := at("01:00", n+1)
		if since := due.Sub(opens); since < 0 || since >= 4*time.Hour {
			t.Fatalf("night %d: %v", n, due)
		}
		quarters[due.Sub(opens)/time.Hour]++
		due = timing.Next(due, rng.Float64)
	}
	for _, n := range quarters {
		if n < 200 || n > 300 {
			t.Fatalf("runs by hour of the window: %v", quarters)
		}
	}
}
