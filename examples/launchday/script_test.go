package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestScriptLength(t *testing.T) {
	for seconds := shortest; seconds <= longest; seconds++ {
		phases := script(seconds)
		if got := length(phases); got > seconds || got < seconds-len(acts) {
			t.Errorf("-seconds %d: %d s", seconds, got)
		}
		for i, p := range phases {
			if p.To-p.From < acts[i].least {
				t.Errorf("-seconds %d: %s has %d s, least %d", seconds, p.Name, p.To-p.From, acts[i].least)
			}
			if i > 0 && p.From != phases[i-1].To {
				t.Errorf("-seconds %d: a gap before %s", seconds, p.Name)
			}
		}
	}
	if full, short := length(script(fullLength)), length(script(shortest)); full != fullLength ||
		short != shortest {
		t.Errorf("lengths %d and %d, want %d and %d", full, short, fullLength, shortest)
	}
}

func TestArrivals(t *testing.T) {
	s := settings{clients: 300, capacity: 400, seed: 7}
	phases := script(fullLength)
	plan := arrivals(s, phases)
	if !reflect.DeepEqual(plan, arrivals(s, phases)) {
		t.Error("the same seed gave another plan")
	}
	s.seed++
	if reflect.DeepEqual(plan, arrivals(s, phases)) {
		t.Error("another seed gave the same plan")
	}
	for i, a := range plan {
		if a.client < 0 || a.client >= s.clients || i > 0 && a.at < plan[i-1].at {
			t.Fatalf("arrival %d: %+v", i, a)
		}
	}
	calls := perSecond(plan, length(phases), "")
	for _, p := range phases {
		want := float64(s.clients * (p.To - p.From))
		if p.Name == "surge" {
			want = surgeLoad * float64(s.capacity*(p.To-p.From))
		}
		if p.act.steered {
			want *= steeredLoad
		}
		// Five standard deviations of a Poisson number.
		if got := float64(sum(calls, p)); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%s: %v calls, want about %v", p.Name, got, want)
		}
		for i, path := range steeredPaths {
			want := want
			switch {
			case p.act.steered:
				want /= float64(len(steeredPaths))
			case i > 0:
				want = 0
			}
			got := float64(sum(perSecond(plan, length(phases), path), p))
			if math.Abs(got-want) > 5*math.Sqrt(want) {
				t.Errorf("%s: %v calls of %s, want about %v", p.Name, got, path, want)
			}
		}
	}
}

// A whole run with acts of a second or two. Nothing is said about how fast this machine is.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 s of real time")
	}
	var phases []phase
	seconds := 0
	for _, a := range acts {
		to := seconds + 1
		if a.steered {
			to++ // a poll may take longer than a second
		}
		if a.steered && a.edition == first {
			to++ // and then a second passes before anything is measured
		}
		phases = append(phases, phase{a.name, seconds, to, a})
		seconds = to
	}
	s := settings{clients: 20, capacity: 40, seconds: seconds, seed: 1}
	var live, data bytes.Buffer
	r, err := run(t.Context(), s, phases, &live)
	if err != nil {
		t.Fatal(err)
	}
	told := strings.Count(live.String(), "  > ")
	if got := strings.Count(live.String(), "\n") - told; got != 1+seconds {
		t.Errorf("%d lines of progress, want a header and %d:\n%s", got, seconds, &live)
	}
	if told < 12 { // two for each of 5 pushes, and what was seen after two of them
		t.Errorf("%d lines of story:\n%s", told, &live)
	}
	held := true
	for _, l := range r.Laws {
		held = held && l.Held
	}
	if r.Exit != exitHeld && r.Exit != exitBroken && r.Exit != exitSlow {
		t.Errorf("exit %d", r.Exit)
	}
	if r.Exit == exitHeld && !held || r.Exit == exitBroken && held {
		t.Errorf("exit %d, laws %+v", r.Exit, r.Laws)
	}
	if r.Plain.Calls == 0 || r.Plain.Calls != r.Tether.Calls {
		t.Errorf("the fleets made %d and %d calls", r.Plain.Calls, r.Tether.Calls)
	}
	p := r.Plain
	if p.AttemptsPerCall <= 1 || p.EarlyAttempts == 0 || p.KilledAttempts == 0 {
		t.Errorf("the plain fleet didn't notice the script: %+v", p)
	}
	if c := r.Steering.Plain; c.KilledAttempts == 0 || c.SyncBefore == 0 || c.Disobedient == 0 {
		t.Errorf("the plain fleet obeyed a document that it never saw: %+v", c)
	}
	if c := r.Steering.Tether; c.KilledAttempts > 0 || c.Disobedient > 0 || c.SyncBefore == 0 ||
		c.SyncAfter > c.SyncBefore/2 || r.Steering.Kept != s.clients {
		t.Errorf("the tether fleet didn't follow: %+v", r.Steering)
	}
	if err := r.json(&data); err != nil || !json.Valid(data.Bytes()) {
		t.Errorf("JSON: %v", err)
	}
}

// An interrupt ends the run at once, with all that it started.
func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := settings{clients: 20, capacity: 40, seconds: fullLength, seed: 1}
	before := time.Now()
	if _, err := run(ctx, s, script(fullLength), io.Discard); err == nil {
		t.Error("an interrupted run gave a report")
	}
	if took := time.Since(before); took > 10*time.Second {
		t.Errorf("an interrupted run took %v", took)
	}
}

func TestFlags(t *testing.T) {
	tests := []struct {
		args string
		want int
	}{
		{"-clients 99", exitError},
		{"-clients 361 -capacity 400", exitError},
		{"-capacity 1201", exitError},
		{"-seconds 35", exitError},
		{"-seconds 70", exitError},
		{"-seed x", exitError},
		{"-h", exitHeld},
	}
	for _, test := range tests {
		var stderr bytes.Buffer
		got := launchday(strings.Fields(test.args), io.Discard, &stderr)
		if got != test.want || stderr.Len() == 0 {
			t.Errorf("%s: exit %d, want %d; stderr %q", test.args, got, test.want, &stderr)
		}
	}
	s, err := parse(nil, io.Discard)
	if want := (settings{300, 400, 59, 1, false}); err != nil || s != want {
		t.Errorf("defaults %+v, %v", s, err)
	}
	if s, err := parse([]string{"-short"}, io.Discard); err != nil || s.seconds != shortest {
		t.Errorf("-short: %+v, %v", s, err)
	}
}
