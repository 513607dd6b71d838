package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRecovery(t *testing.T) {
	tests := []struct {
		name string
		good []int // of 100 calls in each second
		want int
	}{
		{"at once", []int{100, 100, 100, 0}, 0},
		{"99 % is enough", []int{90, 99, 99, 99}, 1},
		{"98 % isn't", []int{98, 98, 98, 98}, -1},
		{"one second may be a little short", []int{95, 101, 101}, 0},
		{"not more than a little", []int{94, 110, 110}, -1},
		{"a relapse starts anew", []int{100, 100, 50, 100, 100, 100}, 3},
		{"more than all, from a backlog", []int{0, 140, 120, 100}, 1},
		{"two seconds prove nothing", []int{0, 0, 100, 100}, -1},
		{"never", []int{0, 0, 0, 0, 0}, -1},
		{"empty", nil, -1},
	}
	for _, test := range tests {
		calls := make([]int, 4+len(test.good))
		for i := range calls {
			calls[i] = 100
		}
		good := append([]int{0, 100}, test.good...)
		good = append(good, 100, 100) // what is outside doesn't count
		got := recovery(calls, good, phase{From: 2, To: len(calls) - 2})
		if got != test.want {
			t.Errorf("%s: %d s, want %d", test.name, got, test.want)
		}
	}
}

func TestPeak(t *testing.T) {
	seconds := []tally{{attempts: 900}, {attempts: 100}, {attempts: 300}, {attempts: 800}}
	if got := peak(seconds, phase{From: 1, To: 3}, 200); got != 1.5 {
		t.Errorf("peak %v, want 1.5", got)
	}
}

func TestMeasure(t *testing.T) {
	phases := []phase{
		{Name: "steady", From: 0, To: 2}, {Name: "outage", From: 2, To: 4},
		{Name: "recovery", From: 4, To: 7}, {Name: "surge", From: 7, To: 8},
		{Name: "after surge", From: 8, To: 9}, {Name: "after T", From: 9, To: 10},
		{Name: "release", From: 10, To: 11},
	}
	calls := []int{10, 10, 10, 10, 10, 10, 10, 60, 10, 10, 10}
	answered := []int{10, 8, 0, 0, 10, 10, 7, 20, 3, 10, 5, 9}
	seconds := make([]tally, 13)
	for i, n := range []int{10, 10, 20, 40, 25, 10, 10, 90, 0, 15, 10, 99} {
		seconds[i].attempts = n
	}
	seconds[0].good, seconds[7].good = 20, 10
	seconds[8].wasted = 10
	seconds[4].good, seconds[5].good, seconds[6].good = 10, 10, 10
	c := counts{seconds: seconds, early: 3, killed: 4, inFlight: 5}
	got := measure(phases, 20, calls, answered, 7, c)
	want := figures{
		Calls: 160, Answered: 83, Refused: 7, Steady: 1, AttemptsPerCall: 3, PeakIn: 2,
		PeakAfter: 1.25, Recovery: 0, AfterOutage: 0.9, SurgePeak: 4.5, SurgeGoodput: 0.5,
		SurgeRecovery: -1,
		AfterSurge:    0.3, Wasted: 10.0 / 70, EarlyAttempts: 3, PeakAfterT: 0.75, KilledAttempts: 4,
		KilledInFlight: 5, ReleasedAnswered: 0.5,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	all := bySecond(calls, answered, c)
	if len(all) != len(calls) || all[7] != (second{60, 20, 90, 10, 0, 0}) {
		t.Errorf("by second: %+v", all)
	}
}

func TestReportSaysEverythingTwice(t *testing.T) {
	r := report{Plain: figures{Recovery: -1}, Laws: judge(figures{Recovery: -1}), Verdict: "verdict"}
	var table, data bytes.Buffer
	r.table(&table)
	wants := []string{"not seen", "BROKEN  back at once", "held    kill switch", "verdict"}
	for _, want := range wants {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q", want)
		}
	}
	for line := range strings.Lines(table.String()) {
		if strings.Contains(line, "%!") || len([]rune(line)) > 100 {
			t.Errorf("line %q", line)
		}
	}
	if err := r.json(&data); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data.Bytes(), &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("JSON came back as %+v, %v", back, err)
	}
}

func TestProgressFitsTerminal(t *testing.T) {
	b := newBackend(400, 1, 60)
	b.seconds[58] = tally{attempts: 9999, good: 4000}
	f := &fleet{backend: b}
	var out bytes.Buffer
	p := &progress{&out, true, 400, make([]int, 60), &show{plain: f, tether: f}}
	p.header()
	p.second(57, phase{Name: "retry-after", From: 57, To: 59})
	p.second(58, phase{Name: "retry-after", From: 57, To: 59})
	p.terminal = false
	p.second(58, phase{Name: "retry-after", From: 57, To: 59})
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 4 || strings.Contains(lines[2], "\x1b") || !strings.Contains(lines[2], "#####+") {
		t.Errorf("lines %q", lines)
	}
	for _, line := range lines {
		for drawn := range strings.SplitSeq(line, "\r\x1b[K") {
			if len(drawn) > 79 {
				t.Errorf("%d columns: %q", len(drawn), drawn)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	good := figures{Steady: 0.99, AttemptsPerCall: 1.10, Recovery: 3}
	tests := []struct {
		law    string // that is broken
		change func(*figures)
	}{
		{"", func(*figures) {}},
		{"no harm in steady times", func(f *figures) { f.Steady = 0.989 }},
		{"no amplification", func(f *figures) { f.AttemptsPerCall = 1.11 }},
		{"back at once", func(f *figures) { f.Recovery = 4 }},
		{"back at once", func(f *figures) { f.Recovery = -1 }},
		{"silence when told", func(f *figures) { f.EarlyAttempts = 1 }},
		{"kill switch", func(f *figures) { f.KilledAttempts = 1 }},
	}
	for _, test := range tests {
		f := good
		test.change(&f)
		for _, l := range judge(f) {
			if l.Held == (l.Name == test.law) {
				t.Errorf("%q broken: %q held %v", test.law, l.Name, l.Held)
			}
		}
	}
}

func TestConclude(t *testing.T) {
	fast, pause := machine{Steady: 1, Worst: grace}, machine{Steady: 1, Worst: grace + 1}
	held, broken := []law{{Held: true}}, []law{{Held: true}, {Held: false}}
	tests := []struct {
		name string
		laws []law
		machine
		want int
	}{
		{"held", held, fast, exitHeld},
		{"broken", broken, fast, exitBroken},
		{"held in spite of a pause", held, pause, exitHeld},
		{"a pause excuses", broken, pause, exitSlow},
		{"steady phase failed", held, machine{Steady: 0.98}, exitSlow},
		{"no descriptors", held, machine{Steady: 1, Unaccepted: 1}, exitSlow},
		{"generator behind", held, machine{Steady: 1, Worst: time.Second, Late: 0.02}, exitSlow},
	}
	for _, test := range tests {
		if got, verdict := conclude(test.laws, test.machine); got != test.want || verdict == "" {
			t.Errorf("%s: %d %q, want %d", test.name, got, verdict, test.want)
		}
	}
}
