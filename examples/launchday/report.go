package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// figures is what the footnote defines, for one fleet.
type figures struct {
	Calls            int     `json:"calls"`
	Answered         int     `json:"answered"`
	Refused          int     `json:"refusedUnsent"`
	Steady           float64 `json:"steadyAnswered"`
	AttemptsPerCall  float64 `json:"outageAttemptsPerCall"`
	PeakIn           float64 `json:"outagePeakLoad"`
	PeakAfter        float64 `json:"recoveryPeakLoad"`
	Recovery         int     `json:"secondsToRecover"` // -1: not within the phase
	AfterOutage      float64 `json:"recoveryAnswered"`
	SurgePeak        float64 `json:"surgePeakLoad"`
	SurgeGoodput     float64 `json:"surgeGoodput"`
	SurgeRecovery    int     `json:"secondsToRecoverFromSurge"` // -1: not within the phase
	AfterSurge       float64 `json:"afterSurgeAnswered"`
	EarlyAttempts    int     `json:"attemptsBeforeT"`
	PeakAfterT       float64 `json:"afterTPeakLoad"`
	KilledAttempts   int     `json:"attemptsWhileKilled"`
	KilledInFlight   int     `json:"inFlightAtKill"`
	ReleasedAnswered float64 `json:"releaseAnswered"`
	Wasted           float64 `json:"wastedWork"`
}

const footnote = `
Load is what the backend counted itself: requests, and in the outage the connections it reset.
Capacity is what its workers can serve. Both fleets made the same calls at the same times.

calls answered        those that started in the phase and were answered before their deadline
                      of %v (the last second of the steady phase is left out)
attempts per call     attempts at the backend in the outage / calls started in it
peak load             attempts in the busiest second / capacity
goodput               answers to callers who were still there / what capacity and demand allowed
time to recover       whole seconds until the first of three seconds running in which goodput,
                      old calls and new ones together, was 99 %% of demand
wasted work           share of the served requests whose caller had gone, in the whole run
attempts before T     attempts of a client that the backend had told to stay away until T
attempts while killed attempts after the kill switch had reached the last client
                      (a "no" needs %v to be heard: attempts within it were in flight)
`

// share is a/b, and 1 where nothing was to be done.
func share(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

func sum(of []int, p phase) int {
	total := 0
	for _, n := range of[p.From:p.To] {
		total += n
	}
	return total
}

// peak is the busiest second of a phase, over capacity.
func peak(seconds []tally, p phase, capacity int) float64 {
	most := 0
	for _, t := range seconds[p.From:p.To] {
		most = max(most, t.attempts)
	}
	return float64(most) / float64(capacity)
}

// recovery finds the first of three seconds running in which the backend served 99 % of demand,
// and returns how many seconds of p passed before; -1 if there is none. What ends just after a
// second began just before it, so a single second may be 5 % short and only all three may not.
func recovery(calls, good []int, p phase) int {
	for from := p.From; from+3 <= p.To; from++ {
		three := phase{From: from, To: from + 3}
		back := share(sum(good, three), sum(calls, three)) >= 0.99
		for second := from; second < from+3; second++ {
			back = back && share(good[second], calls[second]) >= 0.95
		}
		if back {
			return from - p.From
		}
	}
	return -1
}

// possible is what a backend could serve in a phase.
func possible(calls []int, p phase, capacity int) int {
	total := 0
	for _, n := range calls[p.From:p.To] {
		total += min(n, capacity)
	}
	return total
}

// measure works the figures out. The slices calls and answered are by second of the call's start.
func measure(phases []phase, capacity int, calls, answered []int, refused int, c counts) figures {
	steady, outage := find(phases, "steady"), find(phases, "outage")
	steady.To-- // its last calls may end in the outage
	after, surge := find(phases, "recovery"), find(phases, "surge")
	afterSurge, release := find(phases, "after surge"), find(phases, "release")
	whole := phase{To: length(phases)}
	attempts, good, wasted := make([]int, whole.To), make([]int, whole.To), 0
	for second, t := range c.seconds[:whole.To] {
		attempts[second], good[second] = t.attempts, t.good
		wasted += t.wasted
	}
	f := figures{
		Calls:            sum(calls, whole),
		Answered:         sum(answered, whole),
		Refused:          refused,
		Steady:           share(sum(answered, steady), sum(calls, steady)),
		AttemptsPerCall:  share(sum(attempts, outage), sum(calls, outage)),
		PeakIn:           peak(c.seconds, outage, capacity),
		PeakAfter:        peak(c.seconds, after, capacity),
		Recovery:         recovery(calls, good, after),
		AfterOutage:      share(sum(answered, after), sum(calls, after)),
		SurgePeak:        peak(c.seconds, surge, capacity),
		SurgeGoodput:     share(sum(good, surge), possible(calls, surge, capacity)),
		SurgeRecovery:    recovery(calls, good, afterSurge),
		AfterSurge:       share(sum(answered, afterSurge), sum(calls, afterSurge)),
		EarlyAttempts:    c.early,
		PeakAfterT:       peak(c.seconds, find(phases, "after T"), capacity),
		KilledAttempts:   c.killed,
		KilledInFlight:   c.inFlight,
		ReleasedAnswered: share(sum(answered, release), sum(calls, release)),
	}
	if served := sum(good, whole) + wasted; served > 0 {
		f.Wasted = float64(wasted) / float64(served)
	}
	return f
}

// second is what became of the calls that started in a second, and what the backend counted in it.
type second struct {
	Calls    int `json:"calls"`
	Answered int `json:"answered"`
	Attempts int `json:"attempts"`
	Good     int `json:"good"`
	Wasted   int `json:"wasted"`
	Refused  int `json:"refused"` // 503
}

func bySecond(calls, answered []int, c counts) []second {
	all := make([]second, len(calls))
	for i, t := range c.seconds[:len(calls)] {
		all[i] = second{calls[i], answered[i], t.attempts, t.good, t.wasted, t.refused}
	}
	return all
}

// report is all that a run found. Its JSON is the output of -json.
type report struct {
	Clients  int      `json:"clients"`
	Capacity int      `json:"capacity"`
	Seed     uint64   `json:"seed"`
	Script   []phase  `json:"script"`
	Plain    figures  `json:"plain"`
	Tether   figures  `json:"tether"`
	Steering steering `json:"steering"`
	// What the figures were made of.
	PlainSeconds  []second `json:"plainSeconds"`
	TetherSeconds []second `json:"tetherSeconds"`
	Machine       machine  `json:"machine"`
	Laws          []law    `json:"laws"`
	Verdict       string   `json:"verdict"`
	Exit          int      `json:"exit"`
}

func (r *report) json(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func (r *report) table(w io.Writer) {
	p, t := r.Plain, r.Tether
	row := func(name, plain, tether string) {
		fmt.Fprintf(w, "%-32s %14s %10s\n", name, plain, tether)
	}
	row("", "plain retries", "tether")
	row("steady: calls answered", percent(p.Steady), percent(t.Steady))
	row("outage: attempts per call", times(p.AttemptsPerCall), times(t.AttemptsPerCall))
	row("  peak load, in it", times(p.PeakIn), times(t.PeakIn))
	row("  peak load, after it", times(p.PeakAfter), times(t.PeakAfter))
	row("  calls answered, after it", percent(p.AfterOutage), percent(t.AfterOutage))
	row("  time to recover", seconds(p.Recovery), seconds(t.Recovery))
	row("surge: peak load", times(p.SurgePeak), times(t.SurgePeak))
	row("  goodput in it", percent(p.SurgeGoodput), percent(t.SurgeGoodput))
	row("  calls answered, after it", percent(p.AfterSurge), percent(t.AfterSurge))
	row("  time to recover", seconds(p.SurgeRecovery), seconds(t.SurgeRecovery))
	row("retry-after: attempts before T", strconv.Itoa(p.EarlyAttempts), strconv.Itoa(t.EarlyAttempts))
	row("  peak load, after it", times(p.PeakAfterT), times(t.PeakAfterT))
	row("kill: attempts while killed", strconv.Itoa(p.KilledAttempts), strconv.Itoa(t.KilledAttempts))
	row("  in flight when it came", strconv.Itoa(p.KilledInFlight), strconv.Itoa(t.KilledInFlight))
	row("release: calls answered", percent(p.ReleasedAnswered), percent(t.ReleasedAnswered))
	r.Steering.table(row)
	row("whole run: calls", strconv.Itoa(p.Calls), strconv.Itoa(t.Calls))
	row("  answered in time", strconv.Itoa(p.Answered), strconv.Itoa(t.Answered))
	row("  refused by the client itself", strconv.Itoa(p.Refused), strconv.Itoa(t.Refused))
	row("  wasted work", percent(p.Wasted), percent(t.Wasted))

	fmt.Fprintf(w, footnote, patience, grace)
	fmt.Fprint(w, steeredNotes())
	fmt.Fprintln(w)
	for _, l := range r.Laws {
		held := "held  "
		if !l.Held {
			held = "BROKEN"
		}
		fmt.Fprintf(w, "%s  %s: %s (found %s)\n", held, l.Name, l.Limit, l.Found)
	}
	fmt.Fprintf(w, "machine: calls started at worst %v late, %s of them over %v\n",
		r.Machine.Worst.Round(time.Millisecond), percent(r.Machine.Late), grace)
	fmt.Fprintln(w, r.Verdict)
}

func percent(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }
func times(x float64) string   { return fmt.Sprintf("%.2f", x) }

func seconds(n int) string {
	if n < 0 {
		return "not seen"
	}
	return fmt.Sprintf("%d s", n)
}
