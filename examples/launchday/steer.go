package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tether-go/tether/policy"
)

// edition is what a steered act publishes.
type edition int

const (
	first      edition = iota
	calmer             // periodic work rarer, a rule without retries
	pathKilled         // and a kill of one path
	malformed          // as calmer, but with a mistake, and without the kill
	released           // as calmer: the kill is lifted
)

const documentName = "launchday"

// compose writes an edition for one backend.
func compose(e edition, version uint64, host string, killUntil time.Time) policy.Document {
	c := policy.Document{Document: documentName, Version: version}
	if e == first {
		return c
	}
	attempts := 1
	if e == malformed {
		attempts = 0 // "no retries", somebody meant
	}
	c.Schedules = map[string]policy.ScheduleSettings{workName: {Every: policy.Ptr(calmPeriod)}}
	c.Rules = []policy.Rule{{
		Name:  "search",
		Match: policy.Match{Host: host, Path: searchPath},
		Call: policy.CallSettings{
			RetryPolicy: &policy.RetrySettings{MaxAttempts: &attempts},
		},
	}}
	if e == pathKilled {
		c.Kill = []policy.Kill{{
			Name:   "export",
			Match:  policy.Match{Host: host, Path: exportPath},
			Until:  killUntil.UTC().Truncate(time.Second),
			Reason: "the script of launchday says so",
		}}
	}
	return c
}

// look is both backends' counts at one moment.
type look struct{ plain, tether visitCounts }

func (s *show) look() look {
	now := time.Now()
	return look{s.plain.backend.visits.until(now), s.tether.backend.visits.until(now)}
}

// looks are the moments between which the steered acts are measured.
type looks struct {
	warm   look   // periodic work has run for a second
	before look   // the first push comes
	calm   look   // it has reached the last client
	killed look   // the kill has, and what was in flight has arrived
	after  look   // the kill is lifted
	bad    uint64 // the version of the bad document
	kept   int    // clients that refused it and keep the last good one
}

// steer enters a steered act. It waits until what it publishes has reached every client, at most
// until the act ends.
func (s *show) steer(ctx context.Context, p phase) error {
	s.version++
	end := s.start.Add(time.Duration(p.To) * time.Second)
	s.tell("version %d: %s", s.version, p.act.told)
	push, err := s.publish(p.act.edition, end.Add(time.Minute))
	if err != nil {
		return err
	}
	if p.act.edition == first {
		s.running.Go(func() { s.config.run(ctx) })
	}
	ending, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	select {
	case <-push.everybody:
		return s.reached(ctx, push, p.act.edition)
	case <-ending.Done():
		s.tell("not every client has heard of it by now")
		return ctx.Err()
	}
}

func (s *show) publish(e edition, killUntil time.Time) (*push, error) {
	document := compose(e, uint64(s.version), s.tether.backend.address, killUntil)
	return s.config.publish(document)
}

// reached is called when the last client has heard of a push.
func (s *show) reached(ctx context.Context, push *push, e edition) error {
	verb := "took"
	if e == malformed {
		verb = "refused"
	}
	s.tell("the last of %d clients %s it %.2f s after it was published",
		len(s.tether.clients), verb, push.last.Sub(push.published).Seconds())
	switch e {
	case first:
		return s.beginWork(ctx)
	case calmer:
		for _, f := range []*fleet{s.plain, s.tether} {
			f.backend.visits.forbidRepeats(int(f.numbers.Load()))
		}
		s.looks.calm = s.look()
	case pathKilled:
		if err := sleepUntil(ctx, time.Now().Add(grace)); err != nil {
			return err
		}
		s.looks.killed = s.look()
	}
	return nil
}

// beginWork starts the periodic work of both fleets, and waits for a second: some clients still
// return from the kill before.
func (s *show) beginWork(ctx context.Context) error {
	s.tell("every client calls %s each %v, and %s fails one call in %d",
		syncPath, workPeriod, searchPath, failEvery)
	for _, f := range []*fleet{s.plain, s.tether} {
		s.running.Go(func() { f.work(ctx) })
	}
	err := sleepUntil(ctx, time.Now().Add(time.Second))
	s.looks.warm = s.look()
	return err
}

// steered leaves a steered act.
func (s *show) steered(e edition) {
	now := s.look()
	switch e {
	case first:
		s.looks.before = now
	case calmer:
		before := between(s.looks.warm.tether, s.looks.before.tether)
		after := between(s.looks.calm.tether, now.tether)
		s.tell("%s %.0f/s before, %.0f/s now; repeats of %s %.1f/s before, %.1f/s now",
			syncPath, before.sync, after.sync, searchPath, before.repeats, after.repeats)
	case malformed:
		s.looks.after = now
		good := uint64(s.version - 1)
		s.looks.bad = uint64(s.version)
		s.looks.kept = s.config.keeping(good, s.looks.bad)
		since := s.looks.killed.tether
		s.tell("%d of %d clients keep version %d; since its kill, %d attempts at %s",
			s.looks.kept, len(s.tether.clients), good, now.tether.export-since.export, exportPath)
	}
}

// rates are visits a second.
type rates struct{ sync, repeats float64 }

func between(from, to visitCounts) rates {
	span := to.at.Sub(from.at).Seconds()
	if from.at.IsZero() || span <= 0 {
		return rates{}
	}
	return rates{float64(to.sync-from.sync) / span, float64(to.repeats-from.repeats) / span}
}

func (s *show) tell(format string, args ...any) {
	if s.story != nil {
		s.story(fmt.Sprintf(format, args...))
	}
}
