package tether

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/schedule"
	"github.com/tether-go/tether/policy"
)

var (
	night    = policy.DailyWindow{From: "01:00", To: "05:00"}
	midnight = policy.DailyWindow{From: "23:00", To: "02:00"}
)

// A machine that slept through the time when its work was due draws a new time: many may have slept,
// and awake, together. Timers in tests don't stand still, so the time is set back by hand.
func TestOverslept(t *testing.T) {
	for _, c := range []struct {
		name   string
		window policy.DailyWindow
		due    time.Duration // from now, which is midnight UTC in a bubble
		atOnce bool
	}{
		{"on time", midnight, -time.Second, true},
		{"by hours", midnight, -30 * time.Minute, false},
		{"past its window", night, -time.Second, false},
		{"by hours, without a window", policy.DailyWindow{}, -30 * time.Minute, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, err := New(Options{Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				s := Schedule{Every: schedule.Day, Window: c.window}
				p := periodic{engine: e, own: s, timing: schedule.New(s.Every, s.Window), serial: 1,
					due: began.Add(c.due)}
				if err := p.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); (waited == 0) != c.atOnce || !p.timing.Open(p.now()) {
					t.Errorf("begun after %v", waited)
				}
			})
		})
	}
}

// TestClockSetBack: work that was planned by a clock far ahead isn't left undone until then.
func TestClockSetBack(t *testing.T) {
	for _, window := range []policy.DailyWindow{night, midnight} {
		for _, every := range []time.Duration{time.Hour, 3 * schedule.Day} {
			synctest.Test(t, func(t *testing.T) {
				e, err := New(Options{Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				ahead := began.Add(5 * 365 * schedule.Day)
				p := periodic{engine: e, own: Schedule{Every: every, Window: window}, timing: schedule.New(every, window),
					serial: 1, due: ahead, last: ahead.Add(-every)}
				ctx, cancel := context.WithTimeout(t.Context(), 10*365*schedule.Day)
				defer cancel()
				if err := p.wait(ctx); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited > every+2*schedule.Day || !p.timing.Open(p.now()) {
					t.Errorf("every %v, from %s: begun after %v", every, window.From, waited)
				}
			})
		}
	}
}
