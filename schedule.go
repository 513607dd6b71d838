package tether

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tether-go/tether/internal/jsondoc"
	"github.com/tether-go/tether/internal/schedule"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// Schedule says how often periodic work is to be done, where no document says otherwise.
type Schedule struct {
	// Every is the mean time between the beginnings of two runs. From 1 s to 720 h; required. It is
	// also the shortest period that a document may ask for, unless Bounds.MinEvery or the
	// application's own document says otherwise.
	Every time.Duration
	// Window is when runs may begin. Default the whole day.
	Window policy.DailyWindow
	// Target is the host that the work calls, written as in [Call].Host, with the port where it
	// isn't the scheme's default. While a kill covers the whole host, or the host has asked for
	// silence, runs are skipped. Default none: only a kill that covers every call skips runs.
	Target string
}

func (s Schedule) validate(name string, fn func(context.Context)) error {
	var problems []policy.Problem
	add := func(path, problem, hint string) {
		problems = append(problems, policy.Problem{Path: path, Problem: problem, Hint: hint})
	}
	if name == "" {
		add("name", "is empty", "name the work as documents shall")
	}
	problems = append(problems, policy.ScheduleProblems("Schedule", s.Every, s.Window)...)
	if strings.Contains(s.Target, "/") || strings.Contains(s.Target, "*") {
		add("Schedule.Target", "is not a host", `write a host such as "api.example.com"`)
	}
	if fn == nil {
		add("fn", "is nil", "pass the work to do")
	}
	if len(problems) > 0 {
		return &policy.Error{Problems: problems}
	}
	return nil
}

// PanicError is a panic of scheduled work.
type PanicError struct {
	// Value is what the work panicked with.
	Value any
	// Stack is where, as debug.Stack writes it.
	Stack []byte
}

// Error says what the work panicked with.
func (e *PanicError) Error() string {
	return fmt.Sprintf("tether: scheduled work panicked: %v", e.Value)
}

// Every does periodic work until ctx ends, and returns ctx's error; a *[policy.Error] at once if the
// name is empty or the schedule impossible. It blocks: the caller owns the goroutine.
//
// The first run comes after a random part of the period, so that a fleet that starts together does
// not act together; later ones a period apart, each up to a tenth sooner or later. Within a window
// that is no longer than the period there is at most one run, at a random moment of it. Runs never
// overlap; those that were missed because one took long are not made up for.
//
// The newest document in force may change period and window, by name. A new period takes effect at
// once, in proportion: a client halfway through the old one is halfway through the new.
//
// A run is skipped, with an [EventSkipped], while a kill covers s.Target or the server asked for
// silence; the next is due a period later as usual. A panic of fn is reported as an [EventPanic],
// and the work goes on with its next run. fn's context is ctx: no kill cuts short a run that has
// begun.
//
// Every may be called for any number of schedules, and for one name more than once; each call keeps
// its own time.
func (e *Engine) Every(
	ctx context.Context, name string, s Schedule, fn func(context.Context),
) error {
	if err := s.validate(name, fn); err != nil {
		return err
	}
	p := periodic{engine: e, name: name, own: s}
	for {
		if err := p.wait(ctx); err != nil {
			return err
		}
		if !p.skip() {
			p.run(ctx, fn)
		}
		p.last = p.due
		p.due = p.timing.After(p.last, p.now(), e.rand)
	}
}

// periodic is one call of Every. It belongs to one goroutine.
type periodic struct {
	engine *Engine
	name   string
	own    Schedule

	timing schedule.Timing
	serial uint64    // of the configuration that timing is from; 0: none yet
	due    time.Time // when the next run is
	last   time.Time // when the one before was due; zero: there was none
}

// now is the time that the work goes by: a window's is the wall clock's, and what has none must not
// notice when that is set.
func (p *periodic) now() time.Time {
	if p.timing.Width > 0 {
		return time.Now().Round(0)
	}
	return time.Now()
}

// longestSleep bounds one sleep before a window: timers stand still while a machine is suspended,
// and a window could pass unseen.
const longestSleep = 10 * time.Minute

// wait sleeps until the work is due under the newest configuration. It returns ctx's error when
// that ends, even if the work is due as well.
func (p *periodic) wait(ctx context.Context) error {
	for {
		config := p.engine.config.Load()
		p.follow(config)
		left := p.due.Sub(p.now())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case p.timing.Width > 0 && (p.overslept(-left) || left > p.timing.Longest()):
			p.due = p.timing.First(p.now(), p.engine.rand)
			continue
		case left <= 0:
			return nil
		}
		if p.timing.Width > 0 {
			left = min(left, longestSleep)
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-config.replaced:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// overslept tells whether the machine was suspended when the work was due: many may wake together,
// so each draws a new time.
func (p *periodic) overslept(late time.Duration) bool {
	return late >= 0 && (late > time.Minute || !p.timing.Open(p.now()))
}

// follow brings the timing up to a newer configuration.
func (p *periodic) follow(config *current) {
	if config.serial == p.serial {
		return
	}
	first := p.serial == 0
	p.serial = config.serial
	old := p.timing
	p.timing = p.resolve(config)
	now := p.now()
	switch {
	case first:
		p.due = p.timing.First(now, p.engine.rand)
	case p.timing == old:
	case p.timing.Width == 0 && old.Width == 0:
		left := float64(max(0, p.due.Sub(now)))
		p.due = now.Add(time.Duration(left * float64(p.timing.Every) / float64(old.Every)))
	default:
		p.move(now)
	}
}

// move finds a new time after the window has changed. It counts from the last run, so that a change
// gives nobody another run today who has had one.
func (p *periodic) move(now time.Time) {
	p.due = time.Time{}
	if !p.last.IsZero() && !p.last.After(now) {
		p.due = p.timing.Next(p.last, p.engine.rand)
	}
	if !p.due.After(now) || !p.timing.Open(p.due) {
		p.due = p.timing.First(now, p.engine.rand)
	}
}

// resolve lays the document over the application's own document, and that over the Schedule. It tells
// when the document's period is shorter than the application allows.
func (p *periodic) resolve(config *current) schedule.Timing {
	own, pushed := p.engine.local.Schedules[p.name], config.pushed.Schedules[p.name]
	every, window := p.own.Every, p.own.Window
	if own.Every != nil {
		every = *own.Every
	}
	for _, w := range []*policy.DailyWindow{own.Window, pushed.Window} {
		if w != nil {
			window = *w
		}
	}
	bounds := &p.engine.opts.Bounds
	asked := every
	if pushed.Every != nil {
		asked = *pushed.Every
	}
	given := bounds.Every(asked, &every)
	if pushed.Every != nil && given != asked {
		note := policy.ClampNote(jsondoc.Join("schedules", p.name)+".every",
			jsondoc.FormatDuration(asked), jsondoc.FormatDuration(given))
		p.engine.emit(Event{Kind: EventNote, Version: config.version(),
			Note: note.Path + ": " + note.Text})
	}
	return schedule.New(given, window)
}

// run does the work once. A panic ends the run and nothing else; runtime.Goexit is the caller's,
// whose goroutine this is.
func (p *periodic) run(ctx context.Context, fn func(context.Context)) {
	defer func() {
		if value := recover(); value != nil {
			p.engine.emit(Event{Kind: EventPanic, Target: p.own.Target, Note: p.name,
				Err: &PanicError{value, debug.Stack()}})
		}
	}()
	fn(ctx)
}

// skip tells whether the run that is due must not be, and reports it.
func (p *periodic) skip() bool {
	refused := RejectedError{Target: p.own.Target, ServerAsked: true}
	if refused.Target == "" {
		refused.Target = p.name
	}
	if kill := p.engine.config.Load().KilledHost(p.own.Target, time.Now()); kill != nil {
		refused.Stage, refused.Reason = StageKill, ErrKilled
		refused.RetryAt, refused.Note = kill.Until, kill.Reason
	} else if until := p.engine.targets.HeldUntil(p.own.Target); !until.IsZero() {
		refused.Stage, refused.Reason, refused.RetryAt = StageHold, pacing.ErrHeld, until
	} else {
		return false
	}
	p.engine.emit(Event{Kind: EventSkipped, Target: p.own.Target, Stage: refused.Stage,
		Until: refused.RetryAt, Note: p.name, Err: &refused})
	return true
}
