package main

import (
	"fmt"
	"strconv"
	"time"
)

// steered is what the steered acts did to one fleet.
type steered struct {
	SyncBefore       float64 `json:"syncPerSecondBefore"`
	SyncAfter        float64 `json:"syncPerSecondAfter"`
	RepeatsBefore    float64 `json:"searchRepeatsPerSecondBefore"`
	RepeatsAfter     float64 `json:"searchRepeatsPerSecondAfter"`
	Disobedient      int     `json:"searchRepeatsNotAllowed"`
	KilledAttempts   int     `json:"attemptsAtKilledPath"`
	OthersAnswered   float64 `json:"otherPathsAnsweredMeanwhile"`
	ReleasedAnswered float64 `json:"releasedPathAnswered"`
}

// steering is what the config server saw.
type steering struct {
	Plain   steered  `json:"plain"`
	Tether  steered  `json:"tether"`
	Clients int      `json:"clients"`
	Pushes  []spread `json:"pushes"`
	Calmed  bool     `json:"pushArrivedWithinItsAct"` // or else nothing after it was measured
	Bad     uint64   `json:"badVersion"`
	Kept    int      `json:"clientsThatKeptTheLastGoodDocument"`
	Polls   float64  `json:"peakPolls"`
}

const steeredFootnote = `
Periodic work is %[1]s, every %[2]v in each client; of the calls in its acts a third goes to each of
%[3]s, which fails one in %[4]d, %[5]s, which is killed, and %[6]s. Clients poll each %[7]v, which is
the shortest that a program can compile in, so that the story is short; usual are 5 minutes.

after the push        from when it had reached the last client until the kill was lifted
repeats not allowed   repeats of calls that began after the push had reached the last client
time to last client   from publishing until the last client had taken or refused the document
peak polls            polls in the busiest second / clients, each of which was due once; without
                      the first two, in which clients without a document make one poll more
`

func (s *show) steering() steering {
	l := s.looks
	of := func(f *fleet, warm, before, calm, killed, after visitCounts) steered {
		was, is := between(warm, before), between(calm, after)
		answered := func(path string, p phase) float64 {
			calls := perSecond(s.plan, len(f.answered), path)
			return share(sum(loadAll(f.byPath[path]), p), sum(calls, p))
		}
		kill, lifted := find(s.phases, "path kill"), find(s.phases, "path back")
		kill.To = find(s.phases, "bad push").To // it stays killed
		lifted.From = min(lifted.From+2, lifted.To)
		return steered{
			SyncBefore: was.sync, SyncAfter: is.sync,
			RepeatsBefore: was.repeats, RepeatsAfter: is.repeats,
			Disobedient:      after.disobedient,
			KilledAttempts:   after.export - killed.export,
			OthersAnswered:   answered(rootPath, kill),
			ReleasedAnswered: answered(exportPath, lifted),
		}
	}
	return steering{
		Plain: of(s.plain, l.warm.plain, l.before.plain, l.calm.plain, l.killed.plain,
			l.after.plain),
		Tether: of(s.tether, l.warm.tether, l.before.tether, l.calm.tether, l.killed.tether,
			l.after.tether),
		Clients: len(s.config.watchers),
		Pushes:  s.config.spreads(),
		Calmed:  !l.calm.tether.at.IsZero(),
		Bad:     l.bad,
		Kept:    l.kept,
		Polls:   s.config.peakPolls(),
	}
}

// The limits of the steered acts. The last two are shares of few calls, 160 and 40 in the default
// run: one that is late is 0.6 % and 2.5 %.
const (
	slowestSpread = 1.1*float64(pollInterval/time.Second) + 0.15 // the jitter, and time to fetch
	calmShare     = 0.2                                          // of the work before, for a 15th
	mostPolls     = 1.2
	leastOthers   = 0.95
	leastReleased = 0.90
)

// verdicts finds the bad document among the pushes, and counts the refusals of all others.
func (s steering) verdicts() (bad spread, others int) {
	for _, p := range s.Pushes {
		if p.Version == s.Bad {
			bad = p
		} else {
			others += p.Refused
		}
	}
	return bad, others
}

// slowest is the longest time that a push took to reach everybody; -1 if one did not.
func (s steering) slowest() float64 {
	slowest := 0.0
	for _, p := range s.Pushes {
		if p.Seconds < 0 {
			return -1
		}
		slowest = max(slowest, p.Seconds)
	}
	return slowest
}

// judge compares what the config server saw with what tether promises. What was not there before a
// push proves nothing by its absence after it.
func (s steering) judge() []law {
	t, slowest := s.Tether, s.slowest()
	bad, others := s.verdicts()
	return []law{
		{"pushes arrive", fmt.Sprintf("with every client within %.2f s", slowestSpread),
			fmt.Sprintf("%.2f s", slowest), slowest >= 0 && slowest <= slowestSpread},
		{"periodic work follows", "at most a fifth after a push to a fifteenth",
			fmt.Sprintf("%.0f/s, then %.0f/s", t.SyncBefore, t.SyncAfter),
			s.Calmed && t.SyncBefore > 0 && t.SyncAfter <= calmShare*t.SyncBefore},
		{"retries follow", "no repeat that a rule forbids",
			fmt.Sprintf("%.1f/s, then %d in all", t.RepeatsBefore, t.Disobedient),
			s.Calmed && t.RepeatsBefore > 0 && t.Disobedient == 0},
		{"kill of a path", fmt.Sprintf("no attempt at it, %.0f %% of other calls answered",
			100*leastOthers),
			fmt.Sprintf("%d and %s", t.KilledAttempts, percent(t.OthersAnswered)),
			t.KilledAttempts == 0 && t.OthersAnswered >= leastOthers},
		{"release of a path", fmt.Sprintf("%.0f %% of its calls answered", 100*leastReleased),
			percent(t.ReleasedAnswered), t.ReleasedAnswered >= leastReleased},
		{"bad document", "refused once, and the last one kept, by every client",
			fmt.Sprintf("%d, %d of %d", bad.Refused, s.Kept, s.Clients),
			bad.Refused == s.Clients && bad.Told == s.Clients && s.Kept == s.Clients &&
				others == 0},
		{"flat polls", fmt.Sprintf("at most %.1f of what is due in any second", mostPolls),
			times(s.Polls), s.Polls > 0 && s.Polls <= mostPolls},
	}
}

func (s steering) table(row func(name, plain, tether string)) {
	p, t := s.Plain, s.Tether
	rate := func(x float64) string { return fmt.Sprintf("%.1f/s", x) }
	row("push: periodic work before", rate(p.SyncBefore), rate(t.SyncBefore))
	row("  periodic work after", rate(p.SyncAfter), rate(t.SyncAfter))
	row("  repeats of one path, before", rate(p.RepeatsBefore), rate(t.RepeatsBefore))
	row("  repeats after", rate(p.RepeatsAfter), rate(t.RepeatsAfter))
	row("  repeats not allowed", strconv.Itoa(p.Disobedient), strconv.Itoa(t.Disobedient))
	row("path kill: attempts at the path", strconv.Itoa(p.KilledAttempts),
		strconv.Itoa(t.KilledAttempts))
	row("  other calls answered", percent(p.OthersAnswered), percent(t.OthersAnswered))
	row("path back: calls answered", percent(p.ReleasedAnswered), percent(t.ReleasedAnswered))
	for _, push := range s.Pushes {
		verb, took := "took", "not seen"
		if push.Refused > 0 {
			verb = "refused"
		}
		if push.Seconds >= 0 {
			took = fmt.Sprintf("%.2f s", push.Seconds)
		}
		row(fmt.Sprintf("version %d: last of %d %s it", push.Version, push.Told, verb), "-", took)
	}
	row("config server: peak polls", "-", times(s.Polls))
}

func steeredNotes() string {
	return fmt.Sprintf(steeredFootnote, syncPath, workPeriod, searchPath, failEvery, exportPath,
		rootPath, pollInterval)
}
