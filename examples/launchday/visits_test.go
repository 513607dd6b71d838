package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestVisits(t *testing.T) {
	v := visits{seen: map[int]bool{}}
	steps := []struct {
		path, number string
		fails        bool
	}{
		{searchPath, "1", false},
		{searchPath, "2", false},
		{searchPath, "3", true}, // each third
		{searchPath, "3", false},
		{syncPath, "4", false},
		{exportPath, "5", false},
		{exportPath, "5", false}, // repeats are counted for one path only
		{rootPath, "6", false},
		{searchPath, "x", false}, // not a call of ours
		{searchPath, "7", false},
		{searchPath, "8", true},
	}
	for i, s := range steps {
		if got := v.arrive(s.path, s.number); got != s.fails {
			t.Errorf("step %d: %s of call %s fails: %v", i, s.path, s.number, got)
		}
	}
	now := time.Now()
	if got, want := v.until(now), (visitCounts{now, 1, 2, 6, 1, 0}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	v.forbidRepeats(8)
	for _, number := range []string{"8", "9", "9", "9"} {
		v.arrive(searchPath, number)
	}
	if got, want := v.until(now), (visitCounts{now, 1, 2, 10, 4, 2}); got != want {
		t.Errorf("counted %+v, want %+v: call 8 began before, call 9 after", got, want)
	}
}

func TestBetween(t *testing.T) {
	start := time.Now()
	from := visitCounts{at: start, sync: 5, repeats: 1}
	to := visitCounts{at: start.Add(2 * time.Second), sync: 25, repeats: 2}
	if got, want := between(from, to), (rates{10, 0.5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for name, r := range map[string]rates{
		"never begun": between(visitCounts{}, to), "never ended": between(from, visitCounts{}),
		"no time": between(from, from),
	} {
		if r != (rates{}) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestWorkPlainly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*workPeriod)
		defer cancel()
		var runs []time.Time
		start := time.Now()
		workPlainly(ctx, func(context.Context) { runs = append(runs, time.Now()) })
		if len(runs) != 20 || runs[0].Sub(start) >= workPeriod {
			t.Fatalf("%d runs, the first after %v", len(runs), runs[0].Sub(start))
		}
		for i := range runs[1:] {
			if gap := runs[i+1].Sub(runs[i]); gap != workPeriod {
				t.Errorf("a gap of %v", gap)
			}
		}
	})
}
