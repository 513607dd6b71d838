package tether_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// events keeps what an engine reports of some kinds.
type events struct {
	mu   sync.Mutex // guards seen
	seen []tether.Event
}

func (e *events) observe(event tether.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, event)
}

func (e *events) of(kind tether.EventKind) (some []tether.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.seen {
		if event.Kind == kind {
			some = append(some, event)
		}
	}
	return some
}

// every runs Every in the background of a bubble, and returns what ends it and gives its error.
func every(
	t *testing.T, e *tether.Engine, s tether.Schedule, fn func(context.Context),
) (end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Every(ctx, "sync", s, fn) }()
	return func() error { cancel(); return <-done }
}

func publish(t *testing.T, e *tether.Engine, version int, members string) {
	t.Helper()
	document := fmt.Sprintf(`{"schema": 1, "document": "shop-app", "version": %d, %s}`,
		version, members)
	if _, err := e.Apply([]byte(document)); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFollowsTheDocument: the newest document has the period, at once and in proportion;
// within what the code allows.
func TestEveryFollowsTheDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r runs
		var seen events
		e := engine(t, tether.Options{Observe: seen.observe})
		end := every(t, e, tether.Schedule{Every: 10 * time.Minute}, r.add)
		hour := func() int {
			from := time.Now()
			time.Sleep(time.Hour)
			return r.between(from, time.Now())
		}
		check := func(when string, got, least, most int) {
			if got < least || got > most {
				t.Errorf("%s: %d runs an hour", when, got)
			}
		}
		check("by the code", hour(), 5, 7)
		publish(t, e, 1, `"schedules": {"sync": {"every": "1800s"}}`)
		check("calmer", hour(), 1, 3)
		publish(t, e, 2, `"schedules": {"sync": {"every": "10s"}}`)
		check("bolder than the code", hour(), 5, 7)
		notes := seen.of(tether.EventNote)
		const note = "schedules.sync.every: asked 10s, given 600s"
		if len(notes) != 1 || notes[0].Note != note || notes[0].Version != 2 {
			t.Errorf("notes %+v", notes)
		}
		publish(t, e, 3, `"schedules": {"sync": {"every": "2592000s"}}`)
		check("once a month", hour(), 0, 1)
		before := time.Now()
		publish(t, e, 4, `"schedules": {"other": {"every": "1s"}}`)
		check("the document is silent", hour(), 5, 7)
		if n := r.between(before, before.Add(time.Second)); n > 0 {
			t.Errorf("%d runs at once after a change", n)
		}
		if err := end(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestEveryInItsWindow: runs begin inside the window in force, also when it spans midnight, and a
// moved window gives no second run on the same day.
func TestEveryInItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r runs
		e := engine(t, tether.Options{})
		s := tether.Schedule{Every: 24 * time.Hour}
		s.Window = policy.DailyWindow{From: "23:00", To: "02:00"}
		end := every(t, e, s, r.add)
		time.Sleep(10 * 24 * time.Hour)
		for _, at := range r.all() {
			if h := at.UTC().Hour(); h != 23 && h > 1 {
				t.Errorf("a run at %v", at.UTC())
			}
		}
		if n := len(r.all()); n < 9 || n > 11 {
			t.Errorf("%d runs in 10 days", n)
		}
		for range 24 * 60 { // until the last run of this night was
			if r.between(time.Now().Add(-time.Hour), time.Now()) > 0 {
				break
			}
			time.Sleep(time.Minute)
		}
		moved := time.Now()
		publish(t, e, 1, `"schedules": {"sync": {"window": {"from": "03:00", "to": "04:00"}}}`)
		time.Sleep(12 * time.Hour)
		if n := r.between(moved, time.Now()); n > 0 {
			t.Errorf("%d more runs on the day of the change", n)
		}
		time.Sleep(10 * 24 * time.Hour)
		if n := r.between(moved, time.Now()); n < 9 || n > 11 {
			t.Errorf("%d runs in 10 days", n)
		}
		for _, at := range r.all() {
			if at.After(moved) && at.UTC().Hour() != 3 {
				t.Errorf("a run at %v", at.UTC())
			}
		}
		end()
	})
}

// TestEverySkips: a kill makes runs be skipped, each with an event, and its end brings no run of
// its own (law 4).
func TestEverySkips(t *testing.T) {
	const kill = `"kill": [{"match": {%s}, "until": "2100-01-01T00:00:00Z", "reason": "down"}]`
	for _, c := range []struct {
		name, target, match string
		skips               bool
	}{
		{"every call", "a.example", ``, true},
		{"every call, no target", "", ``, true},
		{"the host", "a.example", `"host": "a.example"`, true},
		{"the host's usual port", "a.example", `"host": "a.example:443"`, true},
		{"its domain", "a.example", `"host": "*.example"`, true},
		{"another port", "a.example:8443", `"host": "a.example:443"`, false},
		{"another host", "a.example", `"host": "b.example"`, false},
		{"a host, no target", "", `"host": "a.example"`, false},
		{"a part of the host", "a.example", `"host": "a.example", "path": "/v1"`, false},
		{"a method", "a.example", `"method": ["GET"]`, false},
		{"all of its paths", "a.example", `"host": "a.example", "path": "/"`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r runs
				var seen events
				e := engine(t, tether.Options{Observe: seen.observe})
				end := every(t, e, tether.Schedule{Every: time.Minute, Target: c.target}, r.add)
				time.Sleep(10 * time.Minute)
				killed := time.Now()
				publish(t, e, 1, fmt.Sprintf(kill, c.match))
				time.Sleep(10 * time.Minute)
				released := time.Now()
				publish(t, e, 2, `"label": "up again"`)
				synctest.Wait()
				skipped := seen.of(tether.EventSkipped)
				ran, at := r.between(killed, released), r.between(released, released.Add(time.Millisecond))
				if c.skips != (ran == 0) || c.skips != (len(skipped) >= 9 && len(skipped) <= 11) {
					t.Errorf("%d runs and %d skipped in ten minutes", ran, len(skipped))
				}
				if at > 0 {
					t.Errorf("the release brought %d runs", at)
				}
				for _, s := range skipped {
					refused := rejected(t, s.Err)
					if !errors.Is(s.Err, tether.ErrKilled) || s.Stage != tether.StageKill || s.Note != "sync" ||
						!refused.ServerAsked || refused.Note != "down" || refused.Target == "" || s.Until.IsZero() {
						t.Errorf("%+v", s)
					}
				}
				time.Sleep(10 * time.Minute)
				if n := r.between(released, time.Now()); n < 9 || n > 11 {
					t.Errorf("%d runs in ten minutes after the release", n)
				}
				end()
			})
		})
	}
}

func TestEverySkipsWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r runs
		var seen events
		e := engine(t, tether.Options{Observe: seen.observe})
		end := every(t, e, tether.Schedule{Every: time.Minute, Target: "A.example:443"}, r.add)
		elsewhere := tether.Schedule{Every: time.Minute, Target: "b.example"}
		other := every(t, e, elsewhere, nothing)
		time.Sleep(5 * time.Minute)
		held := time.Now()
		hold := tether.Outcome{Class: tether.Overloaded, Status: 503, Final: true, Err: errQuery,
			Hint: hint.Hint{Wait: 5 * time.Minute}}
		e.Do(t.Context(), tether.Call{Scheme: "https", Host: "a.example"},
			func(context.Context, *tether.Permit) tether.Outcome { return hold })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		skipped := seen.of(tether.EventSkipped)
		if n := r.between(held, time.Now()); n > 0 || len(skipped) < 4 || len(skipped) > 6 {
			t.Errorf("%d runs and %d skipped during a hold", n, len(skipped))
		}
		for _, s := range skipped {
			if !errors.Is(s.Err, pacing.ErrHeld) || s.Stage != tether.StageHold ||
				s.Target != "A.example:443" || !s.Until.After(held) {
				t.Errorf("%+v", s)
			}
		}
		time.Sleep(5 * time.Minute)
		if n := r.between(held, time.Now()); n < 3 {
			t.Errorf("%d runs after the hold", n)
		}
		end()
		other()
	})
}

// TestEveryRuns: runs don't overlap, nothing that was missed is made up for, and a panic ends
// nothing but its run.
func TestEveryRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r runs
		var seen events
		running := 0
		e := engine(t, tether.Options{Observe: seen.observe})
		s := tether.Schedule{Every: time.Minute, Target: "a.example"}
		end := every(t, e, s, func(ctx context.Context) {
			if running++; running > 1 {
				t.Error("two runs at once")
			}
			defer func() { running-- }()
			r.add(ctx)
			switch len(r.times) {
			case 3:
				time.Sleep(10*time.Minute + 30*time.Second)
			case 5:
				panic("boom")
			}
		})
		time.Sleep(time.Hour)
		end()
		synctest.Wait()
		if n := len(r.times); n < 45 || n > 52 {
			t.Errorf("%d runs in an hour, ten minutes of which one took", n)
		}
		for i := 1; i < len(r.times); i++ {
			gap := r.times[i].Sub(r.times[i-1])
			if i == 3 && (gap < 630*time.Second || gap > 690*time.Second) ||
				i > 4 && (gap < 54*time.Second || gap > 66*time.Second) {
				t.Errorf("run %d came %v after the one before", i+1, gap)
			}
		}
		panics := seen.of(tether.EventPanic)
		var err *tether.PanicError
		if len(panics) != 1 || panics[0].Note != "sync" || panics[0].Target != "a.example" ||
			!errors.As(panics[0].Err, &err) || err.Value != "boom" ||
			!strings.Contains(string(err.Stack), "TestEveryRuns") || !strings.Contains(err.Error(), "boom") {
			t.Errorf("panics %+v", panics)
		}
	})
}

func nothing(context.Context) {}

func TestEveryEnds(t *testing.T) {
	everySecond := tether.Schedule{Every: time.Second}
	t.Run("with its context, before a run that is due", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ran := 0
			e := engine(t, tether.Options{})
			err := e.Every(ctx, "sync", everySecond, func(context.Context) {
				ran++
				cancel()
				time.Sleep(time.Minute)
			})
			if !errors.Is(err, context.Canceled) || ran != 1 {
				t.Errorf("%d runs, %v", ran, err)
			}
		})
	})
	t.Run("with its deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			e := engine(t, tether.Options{})
			err := e.Every(ctx, "sync", tether.Schedule{Every: 720 * time.Hour}, nothing)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("with its goroutine", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen events
			ended := make(chan struct{})
			e := engine(t, tether.Options{Observe: seen.observe})
			go func() {
				defer close(ended)
				e.Every(t.Context(), "sync", everySecond, func(context.Context) { runtime.Goexit() })
			}()
			<-ended
			if n := len(seen.of(tether.EventPanic)); n > 0 {
				t.Errorf("Goexit was called a panic %d times", n)
			}
		})
	})
}

func TestEveryRefusesTheImpossible(t *testing.T) {
	good := tether.Schedule{Every: time.Minute}
	inWindow := func(from, to string) tether.Schedule {
		return tether.Schedule{Every: time.Hour, Window: policy.DailyWindow{From: from, To: to}}
	}
	e := engine(t, tether.Options{})
	for _, c := range []struct {
		name string
		s    tether.Schedule
		fn   func(context.Context)
		path string
	}{
		{"", good, nothing, "name"},
		{"sync", good, nil, "fn"},
		{"sync", tether.Schedule{}, nothing, "Schedule.Every"},
		{"sync", tether.Schedule{Every: time.Millisecond}, nothing, "Schedule.Every"},
		{"sync", tether.Schedule{Every: 721 * time.Hour}, nothing, "Schedule.Every"},
		{"sync", tether.Schedule{Every: time.Hour, Target: "https://a.example"}, nothing,
			"Schedule.Target"},
		{"sync", tether.Schedule{Every: time.Hour, Target: "*.example"}, nothing, "Schedule.Target"},
		{"sync", inWindow("01:00", "01:14"), nothing, "Schedule.Window.to"},
		{"sync", inWindow("", "01:14"), nothing, "Schedule.Window.from"},
	} {
		err := e.Every(t.Context(), c.name, c.s, c.fn)
		var refused *policy.Error
		if !errors.As(err, &refused) || len(refused.Problems) != 1 || refused.Problems[0].Path != c.path {
			t.Errorf("%q %+v: %v, want a problem of %s", c.name, c.s, err, c.path)
		}
	}
}
