package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tether-go/tether/policy"
)

// A document can be valid and hurt all the same. lint says where, for so many clients; what it says is
// advice: the clients' own bounds are what holds.
func lint(cfg policy.Document, clients int, now time.Time) []policy.Problem {
	l := &linter{clients: float64(clients), now: now}
	l.document(cfg)
	l.settings("defaults", cfg.Defaults)
	for i, r := range cfg.Rules {
		l.settings(fmt.Sprintf("rules[%d]", i), policy.Settings{Call: r.Call, Target: r.Target})
	}
	for i, k := range cfg.Kill {
		l.kill(fmt.Sprintf("kill[%d]", i), k)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Schedules)) {
		if s := cfg.Schedules[name]; s.Every != nil && *s.Every < time.Minute {
			l.warn(fmt.Sprintf("schedules[%q].every", name), l.rate(*s.Every),
				"is that what the server behind this work can stand?")
		}
	}
	return l.found
}

type linter struct {
	clients float64
	now     time.Time
	found   []policy.Problem
}

func (l *linter) warn(path, problem, hint string) {
	l.found = append(l.found, policy.Problem{Path: path, Problem: problem, Hint: hint})
}

// rate says what one request of each client in every interval makes together.
func (l *linter) rate(every time.Duration) string {
	return fmt.Sprintf("%.0f clients every %v are %.0f requests a second", l.clients, every,
		l.clients/every.Seconds())
}

// busyServer is a million clients that poll once a minute, in requests a second: more needs a server
// that was built for it.
const busyServer = 1e6 / 60

func (l *linter) document(cfg policy.Document) {
	if cfg.PollInterval != nil && l.clients/cfg.PollInterval.Seconds() > busyServer {
		l.warn("pollInterval", l.rate(*cfg.PollInterval), "5 min is usual; a nudge tells active clients sooner")
	}
	switch interval := 5 * time.Minute; {
	case cfg.Expires.IsZero():
		l.warn("expires", "is missing: a copy of this document can be given to clients for ever",
			"name a day by which you will have published again")
	default:
		if cfg.PollInterval != nil {
			interval = *cfg.PollInterval
		}
		if cfg.Expires.Sub(l.now) < 3*interval {
			l.warn("expires", fmt.Sprintf("is less than three polls of %v away: clients that are late don't adopt it",
				interval), "")
		}
	}
}

func (l *linter) kill(path string, k policy.Kill) {
	switch left := k.Until.Sub(l.now); {
	case left <= 0:
		l.warn(path+".until", "is over: the kill does nothing", "name a time to come, or remove it")
	case left > 24*time.Hour:
		l.warn(path+".until", "is more than 24 h away, which is where clients cap it by default",
			"publish again to renew it")
	}
	if k.Reason == "" {
		l.warn(path+".reason", "is missing: whoever is refused isn't told why", "")
	}
	if k.Match.Host == "" && k.Match.Path == "" && k.Match.GRPCMethod == "" && len(k.Match.Method) == 0 {
		l.warn(path+".match", "is empty: it stops every call to every host", "name the host")
	}
}

func (l *linter) settings(path string, s policy.Settings) {
	l.call(path+".call", s.Call)
	l.target(path+".target", s.Target)
}

func (l *linter) call(path string, c policy.CallSettings) {
	if set(c.AttemptTimeout) && *c.AttemptTimeout < 100*time.Millisecond {
		l.warn(path+".attemptTimeout", fmt.Sprintf("is %v: slow networks and handshakes take longer, and each such attempt is work for nothing",
			*c.AttemptTimeout), "")
	}
	if set(c.Timeout) && set(c.AttemptTimeout) && *c.AttemptTimeout >= *c.Timeout {
		l.warn(path+".attemptTimeout", "is not below the call's timeout: it ends nothing", "")
	}
	if r := c.RetryPolicy; r != nil {
		if r.MaxAttempts != nil && *r.MaxAttempts > 5 {
			l.warn(path+".retryPolicy.maxAttempts", fmt.Sprintf("is %d: callers wait for what will not come",
				*r.MaxAttempts), "3 is the default")
		}
		if set(r.InitialBackoff) && *r.InitialBackoff < 50*time.Millisecond {
			l.warn(path+".retryPolicy.initialBackoff", fmt.Sprintf("is %v: repeats come while the cause still lasts",
				*r.InitialBackoff), "250 ms is the default")
		}
	}
	if h := c.HedgingPolicy; h != nil && set(h.HedgingDelay) && *h.HedgingDelay < 10*time.Millisecond {
		l.warn(path+".hedgingPolicy.hedgingDelay", fmt.Sprintf("is %v: most calls would be sent twice if the budget let them",
			*h.HedgingDelay), "take a quantile of the route's answers")
	}
}

func (l *linter) target(path string, t policy.TargetSettings) {
	if b := t.RetryBudget; b != nil && b.Ratio != nil && *b.Ratio > 0.2 {
		l.warn(path+".retryBudget.ratio", fmt.Sprintf("is %v: retries without a budget, nearly: a failing server gets %.0f %% more load",
			*b.Ratio, math.Round(100**b.Ratio)), "0.1 is the default")
	}
	if p := t.Pacing; p != nil && p.Mode != nil && string(*p.Mode) == "off" {
		l.warn(path+".pacing.mode", "is off: nothing slows clients of an overloaded server", "")
	}
	if b := t.CircuitBreaker; b != nil {
		if b.Mode != nil && (strings.HasPrefix(string(*b.Mode), "forced") || string(*b.Mode) == "observe-only") {
			l.warn(path+".circuitBreaker.mode", fmt.Sprintf("is %s, and has no end of its own", *b.Mode), "")
		}
		if set(b.MaxOpenTime) && *b.MaxOpenTime > 30*time.Second {
			l.warn(path+".circuitBreaker.maxOpenTime", fmt.Sprintf("is %v: clients find so late that the server is back",
				*b.MaxOpenTime), "1.25 s is the default")
		}
	}
}

func set(d *time.Duration) bool { return d != nil && *d > 0 }
