package policy

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestClampTable(t *testing.T) {
	call := func(s string) string { return `"defaults": {"call": {` + s + `}}` }
	target := func(s string) string { return `"defaults": {"target": {` + s + `}}` }
	own := Document{
		Defaults: Settings{Call: CallSettings{Timeout: Ptr(500 * time.Millisecond),
			MaxWait: Ptr(5 * time.Second)}},
		Schedules: map[string]ScheduleSettings{"sync": {Every: Ptr(10 * time.Minute)}},
		Rules: []Rule{{Name: "search", Match: Match{Host: "a.example", Path: "/s"},
			Call: CallSettings{
				RetryPolicy: &RetrySettings{MaxAttempts: Ptr(1)}}},
			{Name: "bulk", Match: Match{Host: "c.example"},
				Call: CallSettings{RetryPolicy: &RetrySettings{
					MaxAttempts: Ptr(5), RetryableStatusCodes: []StatusCode{404, 503}}}}},
	}
	for _, c := range []struct {
		pushed string
		bounds Bounds
		notes  string
	}{
		{`"schedules": {"sync": {"every": "599s"}}`, Bounds{},
			"schedules.sync.every: asked 599s, given 600s"},
		{`"schedules": {"sync": {"every": "599s"}}`, Bounds{MinEvery: time.Minute}, ""},
		{`"schedules": {"sync": {"every": "59s"}}`, Bounds{MinEvery: time.Minute},
			"schedules.sync.every: asked 59s, given 60s"},
		{`"schedules": {"sync": {"every": "600s"}, "other": {"every": "1s"}}`, Bounds{}, ""},
		{`"schedules": {"other": {"every": "0.5s"}}`, Bounds{},
			"schedules.other.every: asked 0.5s, given 1s"},
		{`"schedules": {"other": {"every": "721h"}}`, Bounds{},
			"schedules.other.every: asked 2595600s, given 2592000s"},
		{`"schedules": {"sync": {"window": {"from": "23:50", "to": "00:04"}}}`, Bounds{},
			"schedules.sync.window.to: asked 00:04, given 00:05"},
		{`"schedules": {"sync": {"window": {"from": "23:50", "to": "00:05"}}}`, Bounds{}, ""},
		{call(`"timeout": "0.5s"`), Bounds{}, ""},
		{call(`"timeout": "0.4s"`), Bounds{}, "defaults.call.timeout: asked 0.4s, given 0.5s"},
		{call(`"timeout": "0.4s"`), Bounds{MinTimeout: 100 * time.Millisecond}, ""},
		{call(`"timeout": "0s"`), Bounds{}, ""},
		{call(`"timeout": "48h"`), Bounds{}, "defaults.call.timeout: asked 172800s, given 86400s"},
		{call(`"attemptTimeout": "0.4s"`), Bounds{},
			"defaults.call.attemptTimeout: asked 0.4s, given 1s"},
		{call(`"maxWait": "60s"`), Bounds{}, ""},
		{call(`"maxWait": "61s"`), Bounds{}, "defaults.call.maxWait: asked 61s, given 60s"},
		{call(`"maxWait": "0s"`), Bounds{}, ""},
		{call(`"retryPolicy": {"maxAttempts": 1}`), Bounds{}, ""},
		{call(`"retryPolicy": {"maxAttempts": 2}`), Bounds{},
			"defaults.call.retryPolicy.maxAttempts: asked 2, " +
				`given 1 where the application's own rule "search" applies`},
		{`"rules": [{"match": {"host": "b.example"}, "call": {"retryPolicy": {"maxAttempts": 2}}}]`,
			Bounds{}, ""},
		{`"rules": [{"match": {"host": "c.example"}, "call": {"retryPolicy": {"maxAttempts": 3}}}]`,
			Bounds{}, ""},
		{`"rules": [{"match": {"host": "c.example"}, "call": {"retryPolicy": {"maxAttempts": 9}}}]`,
			Bounds{},
			"rules[0].call.retryPolicy.maxAttempts: asked 9, given 5; " +
				"rules[0].call.retryPolicy.maxAttempts: asked 5, " +
				"given 3 where the application's own defaults apply"},
		{`"rules": [{"match": {"host": "b.example"},
			"call": {"retryPolicy": {"retryableStatusCodes": [404]}}}]`,
			Bounds{}, "rules[0].call.retryPolicy.retryableStatusCodes: asked 404, " +
				"given none of these where the application's own defaults apply"},
		{target(`"circuitBreaker": {"window": "90s"}`), Bounds{MinWindow: time.Minute},
			"defaults.target.circuitBreaker.window: asked 90s, given 60s"},
		{target(`"circuitBreaker": {"window": "5s"}`), Bounds{MaxWindow: 10 * time.Second},
			"defaults.target.circuitBreaker.window: asked 5s, given 10s"},
		{`"rules": [{"match": {"host": "*.example"},
			"call": {"retryPolicy": {"maxAttempts": 1000000}}}]`,
			Bounds{MaxAttempts: 10},
			"rules[0].call.retryPolicy.maxAttempts: asked 1e+06, given 10"},
		{call(`"retryPolicy": {"initialBackoff": "0.000000001s"}`),
			Bounds{MinInitialBackoff: time.Second},
			"defaults.call.retryPolicy.initialBackoff: asked 0.000000001s, given 1s"},
		{call(`"retryPolicy": {"initialBackoff": "0.1s", "maxBackoff": "0.2s"}`),
			Bounds{MinInitialBackoff: time.Second, MinMaxBackoff: 100 * time.Millisecond},
			"defaults.call.retryPolicy.initialBackoff: asked 0.1s, given 1s; " +
				"defaults.call.retryPolicy.maxBackoff: asked 0.2s, given 1s"},
		{call(`"retryPolicy": {"retryableStatusCodes": [404, 503, "ABORTED"]}`), Bounds{},
			"defaults.call.retryPolicy.retryableStatusCodes: asked ABORTED, given none of these; " +
				"defaults.call.retryPolicy.retryableStatusCodes: asked 404, given none of these " +
				"where the application's own defaults apply"},
		{call(`"retryPolicy": {"retryableStatusCodes": [404]}`),
			Bounds{RetryableStatusCodes: []StatusCode{404}}, ""},
		{target(`"retryBudget": {"ratio": 1}`), Bounds{},
			"defaults.target.retryBudget.ratio: asked 1, given 0.1"},
		{target(`"retryBudget": {"ratio": 0}`), Bounds{}, ""},
		{target(`"hold": {"max": "60s"}`), Bounds{},
			"defaults.target.hold.max: asked 60s, given 3600s"},
		{target(`"hold": {"max": "7200s"}`), Bounds{}, ""},
		{target(`"circuitBreaker": {"window": "29s"}`), Bounds{},
			"defaults.target.circuitBreaker.window: asked 29s, given 30s"},
		{target(`"circuitBreaker": {"window": "31s"}`), Bounds{},
			"defaults.target.circuitBreaker.window: asked 31s, given 30s"},
		{target(`"pacing": {"mode": "off"}`), Bounds{},
			"defaults.target.pacing.mode: asked off, given auto"},
		{target(`"pacing": {"mode": "off"}`), Bounds{PacingOff: true}, ""},
		{call(`"retryPolicy": {"jitter": "decorrelated"}`), Bounds{},
			"defaults.call.retryPolicy.jitter: asked decorrelated, given full"},
		{call(`"retryPolicy": {"jitter": "decorrelated"}`), Bounds{OtherJitter: true}, ""},
		{`"pollInterval": "1s"`, Bounds{}, "pollInterval: asked 1s, given 30s"},
		{`"pollInterval": "1000h"`, Bounds{}, "pollInterval: asked 3600000s, given 86400s"},
		{`"pollInterval": "1s"`, Bounds{PollMin: time.Second}, ""},
	} {
		pushed, _, err := Parse([]byte(wrap(c.pushed)))
		if err != nil {
			t.Errorf("%s: %v", c.pushed, err)
			continue
		}
		clamped, notes := c.bounds.Clamp(pushed, own)
		var texts []string
		for _, n := range notes {
			texts = append(texts, n.Path+": "+n.Text)
			if n.Kind != NoteClamped {
				t.Errorf("%s: a note of kind %s", c.pushed, n.Kind)
			}
		}
		if got := strings.Join(texts, "; "); got != c.notes {
			t.Errorf("%s with %+v: notes %q, want %q", c.pushed, c.bounds, got, c.notes)
		}
		if err := clamped.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// A list that loses all its codes must not become the default one.
func TestClampedCodesMayBeNone(t *testing.T) {
	pushed := Document{Defaults: Settings{Call: CallSettings{RetryPolicy: &RetrySettings{
		RetryableStatusCodes: []StatusCode{599}}}}}
	clamped, _ := Bounds{}.Clamp(pushed, Document{})
	p := Compile(Document{}, clamped, Bounds{}).Resolve("https", "a.example", "GET", "/", "")
	if p.Retryable != (statusSet{}) {
		t.Errorf("%+v", p.Retryable)
	}
}

func TestBoundsHoldForTheOwnConfig(t *testing.T) {
	s := Compile(Document{}, Document{}, Bounds{MaxAttempts: 2, MaxMaxWait: 5 * time.Second,
		RetryableStatusCodes: []StatusCode{503}})
	p := s.Resolve("https", "a.example", "GET", "/", "")
	if p.Retry.MaxAttempts != 2 || p.MaxWait != 5*time.Second || !p.Retryable.HasHTTP(503) ||
		p.Retryable.HasHTTP(500) {
		t.Errorf("%+v", p)
	}
}

func TestBoundsValidate(t *testing.T) {
	for _, c := range []struct {
		bounds Bounds
		path   string
	}{
		{Bounds{}, ""},
		{Bounds{MaxAttempts: 11}, "Bounds.MaxAttempts"},
		{Bounds{MaxAttempts: -1}, "Bounds.MaxAttempts"},
		{Bounds{MaxRetryRatio: math.NaN()}, "Bounds.MaxRetryRatio"},
		{Bounds{MaxRetryRatio: 1.1}, "Bounds.MaxRetryRatio"},
		{Bounds{MinHoldMax: time.Millisecond}, "Bounds.MinHoldMax"},
		{Bounds{MinWindow: time.Minute, MaxWindow: time.Second}, "Bounds.MaxWindow"},
		{Bounds{RetryableStatusCodes: []StatusCode{200}}, "Bounds.RetryableStatusCodes[0]"},
		{Bounds{PollMin: time.Millisecond}, "Bounds.PollMin"},
		{Bounds{PollMax: 10 * time.Second}, "Bounds.PollMax"},
		{Bounds{MaxKill: -1}, "Bounds.MaxKill"},
		{Bounds{MaxKill: 169 * time.Hour}, "Bounds.MaxKill"},
		{Bounds{MaxKill: time.Hour, PollMin: time.Second, BreakerOff: true,
			MinTimeout: time.Second}, ""},
	} {
		path := ""
		var refused *Error
		if err := c.bounds.Validate(); errors.As(err, &refused) {
			path = refused.Problems[0].Path
		}
		if path != c.path {
			t.Errorf("%+v: problem at %q, want %q", c.bounds, path, c.path)
		}
	}
}

func TestCapKills(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	kills := []Kill{{Until: now.Add(25 * time.Hour)}, {Until: now.Add(24 * time.Hour)},
		{Until: now.Add(-time.Hour)}}
	capped, notes := Bounds{}.capKills(kills, now)
	if !capped[0].Until.Equal(now.Add(24*time.Hour)) || !capped[1].Until.Equal(kills[1].Until) ||
		len(notes) != 1 || notes[0].Path != "kill[0].until" ||
		!kills[0].Until.Equal(now.Add(25*time.Hour)) {
		t.Errorf("%v, %v", capped, notes)
	}
	capped, notes = Bounds{MaxKill: 48 * time.Hour}.capKills(kills, now)
	if !reflect.DeepEqual(capped, kills) || len(notes) > 0 {
		t.Errorf("%v, %v", capped, notes)
	}
}
