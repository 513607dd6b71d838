package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestJudgeSteering(t *testing.T) {
	good := func() steering {
		return steering{
			Tether: steered{SyncBefore: 150, SyncAfter: 30, RepeatsBefore: 17,
				OthersAnswered: leastOthers, ReleasedAnswered: leastReleased},
			Clients: 300, Kept: 300, Bad: 6, Calmed: true, Polls: mostPolls,
			Pushes: []spread{{3, slowestSpread, 300, 0}, {4, 1, 300, 0}, {5, 1, 300, 0},
				{6, 1, 300, 300}, {7, 1, 300, 0}},
		}
	}
	tests := []struct {
		law    string // or laws, that are broken
		change func(*steering)
	}{
		{"", func(*steering) {}},
		{"pushes arrive", func(s *steering) { s.Pushes[2].Seconds = slowestSpread + 0.01 }},
		{"pushes arrive", func(s *steering) { s.Pushes[4].Seconds = -1 }},
		{"periodic work follows, retries follow", func(s *steering) { s.Calmed = false }},
		{"periodic work follows", func(s *steering) { s.Tether.SyncAfter = 31 }},
		{"periodic work follows", func(s *steering) { s.Tether.SyncBefore, s.Tether.SyncAfter = 0, 0 }},
		{"retries follow", func(s *steering) { s.Tether.Disobedient = 1 }},
		{"retries follow", func(s *steering) { s.Tether.RepeatsBefore = 0 }},
		{"kill of a path", func(s *steering) { s.Tether.KilledAttempts = 1 }},
		{"kill of a path", func(s *steering) { s.Tether.OthersAnswered -= 0.001 }},
		{"release of a path", func(s *steering) { s.Tether.ReleasedAnswered -= 0.001 }},
		{"bad document", func(s *steering) { s.Pushes[3].Refused-- }},
		{"bad document", func(s *steering) { s.Pushes[3].Told++ }},
		{"bad document", func(s *steering) { s.Pushes[3].Told++; s.Pushes[3].Refused++ }},
		{"bad document", func(s *steering) { s.Pushes[4].Refused = 1 }},
		{"bad document", func(s *steering) { s.Kept-- }},
		{"bad document", func(s *steering) { s.Pushes = s.Pushes[:1] }},
		{"bad document", func(s *steering) { s.Bad = 0 }},
		{"flat polls", func(s *steering) { s.Polls += 0.01 }},
		{"flat polls", func(s *steering) { s.Polls = 0 }},
	}
	for _, test := range tests {
		s := good()
		test.change(&s)
		for _, l := range s.judge() {
			if l.Held == strings.Contains(test.law, l.Name) {
				t.Errorf("%q broken: %q held %v, found %s", test.law, l.Name, l.Held, l.Found)
			}
		}
	}
}

func TestTell(t *testing.T) {
	var out bytes.Buffer
	p := progress{out: &out}
	s := show{story: p.tell}
	s.tell("version %d", 3)
	p.terminal = true
	s.tell("version %d", 4)
	if got, want := out.String(), "  > version 3\n\r\x1b[K  > version 4\n"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	for _, a := range acts {
		if len(a.told) > 79-len("  > version 99: ") || (a.told != "") != a.steered {
			t.Errorf("%s: told %q", a.name, a.told)
		}
		if len(a.name) > 11 || strings.TrimSpace(a.name) != a.name {
			t.Errorf("%q doesn't fit its column", a.name)
		}
	}
}
