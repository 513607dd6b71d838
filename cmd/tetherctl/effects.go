package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tether-go/tether/policy"
)

// maxKill is where clients cap a kill unless their program allows more.
const maxKill = 24 * time.Hour

// effects says what a document does to clients that a publisher must not overlook: the kills first.
func effects(cfg policy.Document, now time.Time) (lines []string) {
	for i, k := range cfg.Kill {
		name := k.Name
		if name == "" {
			name = fmt.Sprint(i)
		}
		if left := k.Until.Sub(now); left > 0 {
			lines = append(lines, fmt.Sprintf("stops %s for %s (kill %s)", reach(k.Match), span(min(left, maxKill)), name))
		}
	}
	for _, member := range slices.Sorted(maps.Keys(cfg.Audience)) {
		lines = append(lines, fmt.Sprintf("reaches only clients whose audience has %s %q", member, cfg.Audience[member]))
	}
	for _, s := range cfg.Stages {
		if s.Percent >= 100 {
			lines = append(lines, fmt.Sprintf("reaches every client that it selects (stage %s, 100 %%)", s.Name))
		}
	}
	return lines
}

// reach says which calls a match selects.
func reach(m policy.Match) string {
	calls, host := "every call", m.Host
	if len(m.Method) > 0 {
		calls = "every " + strings.Join(m.Method, " or ") + " call"
	}
	if host == "" {
		host = "every host"
	}
	switch {
	case m.GRPCMethod != "":
		return fmt.Sprintf("%s of %s to %s", calls, m.GRPCMethod, host)
	case m.Path != "":
		return fmt.Sprintf("%s to %s below %s", calls, host, m.Path)
	}
	return calls + " to " + host
}

// span writes a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d >= 100*time.Minute:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d >= 100*time.Second:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
