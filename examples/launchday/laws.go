package main

import (
	"fmt"
	"strconv"
	"time"
)

// The exit status of a run. Bad flags, and a script that could not be played, end with exitError.
const (
	exitHeld   = 0
	exitBroken = 1
	exitError  = 2
	exitSlow   = 3
)

// law is one promise of tether's, judged. The plain fleet promises nothing.
type law struct {
	Name  string `json:"name"`
	Limit string `json:"limit"`
	Found string `json:"found"`
	Held  bool   `json:"held"`
}

// judge compares tether's figures with what tether promises.
func judge(f figures) []law {
	return []law{
		{"no harm in steady times", "at least 99 % answered", percent(f.Steady), f.Steady >= 0.99},
		{"no amplification", "at most 1.10 attempts per call in the outage",
			times(f.AttemptsPerCall), f.AttemptsPerCall <= 1.10},
		{"back at once", "99 % of demand served within 3 s after the outage",
			seconds(f.Recovery), f.Recovery >= 0 && f.Recovery <= 3},
		{"silence when told", "no attempt before T",
			strconv.Itoa(f.EarlyAttempts), f.EarlyAttempts == 0},
		{"kill switch", "no attempt while killed",
			strconv.Itoa(f.KilledAttempts), f.KilledAttempts == 0},
	}
}

// machine says whether this machine kept up with the script.
type machine struct {
	Worst  time.Duration `json:"worstDelayNanoseconds"`
	Late   float64       `json:"lateShare"`   // of the calls: started more than grace late
	Steady float64       `json:"steadyShare"` // of the plain fleet's calls in the steady phase
	// Unaccepted counts the times that a backend could not accept a connection.
	Unaccepted int `json:"unaccepted"`
}

// tooSlow gives the reason why nothing can be said on this machine, or "". A pause longer than
// grace can make an attempt that left in time look late, so it excuses a broken law, but it
// can't make a broken one look held.
func (m machine) tooSlow(broken bool) string {
	switch {
	case m.Unaccepted > 0:
		return "not enough file descriptors (see ulimit -n): take fewer -clients, less -capacity"
	case m.Steady < 0.99:
		return fmt.Sprintf("only %s of the plain fleet's calls were answered before the outage",
			percent(m.Steady))
	case m.Late > 0.01:
		return fmt.Sprintf("%s of the calls started more than %v late", percent(m.Late), grace)
	case broken && m.Worst > grace:
		return fmt.Sprintf("a law seems broken, but the program was stopped for %v in between",
			m.Worst.Round(time.Millisecond))
	}
	return ""
}

// conclude gives the exit status of a run and a sentence for it.
func conclude(laws []law, m machine) (status int, verdict string) {
	broken := 0
	for _, l := range laws {
		if !l.Held {
			broken++
		}
	}
	if reason := m.tooSlow(broken > 0); reason != "" {
		return exitSlow, "this machine could not tell: " + reason
	}
	if broken > 0 {
		return exitBroken, fmt.Sprintf("%d of %d laws broken", broken, len(laws))
	}
	return exitHeld, "all laws held"
}
