package tether

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/tether-go/tether/policy"
)

// TestKillsDontHeapUp: documents that are refused, each with the kills of the one before, cost the memory of one
// document's kills, and none of them lifts one that is on.
func TestKillsDontHeapUp(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	kill := func(path string, lasts time.Duration) string {
		return fmt.Sprintf(`{"match":{"path":%q},"until":%q}`, path, now.Add(lasts).Format(time.RFC3339Nano))
	}
	refused := func(version int, kills ...string) {
		t.Helper()
		text := fmt.Sprintf(`{"schema":1,"document":"shop","version":%d,"pollInterval":"-1s","kill":[%s]}`, version, strings.Join(kills, ","))
		if _, err := e.Apply([]byte(text)); err == nil {
			t.Fatal("not refused")
		}
	}
	killed := func(path string) bool { return e.config.Load().Killed("https", "a", "GET", path, "", now) != nil }
	for version := range 100 {
		refused(version+1, kill("/always", time.Hour), kill("/over", -time.Hour))
	}
	refused(101, kill("/always", time.Minute))
	if kills := e.config.Load().pushed.Kill; len(kills) != 2 || !kills[0].Until.Equal(now.Add(time.Hour)) {
		t.Errorf("in force are %v", kills)
	}
	var many []string
	for i := range policy.MaxKills {
		many = append(many, kill(fmt.Sprint("/", i), time.Hour))
	}
	refused(102, many...)
	refused(103, kill("/last", time.Hour))
	if n := len(e.config.Load().pushed.Kill); n != policy.MaxKills || !killed("/last") || !killed("/999") {
		t.Errorf("%d kills are in force", n)
	}
}

// read is a moment as a clock reads it that was set meanwhile: time passes by the one, and the date is the other's.
func read(t time.Time, set time.Duration) time.Time {
	const second = 1 << 30 // of a Time with both readings, see package time
	(*struct{ wall uint64 })(unsafe.Pointer(&t)).wall += uint64(int64(set/time.Second) * second)
	return t
}

// TestKillsAndClocks: a kill is over at its end by the clock, and when it has lasted as long as any may, whatever the
// clock said when it was applied and says now.
func TestKillsAndClocks(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		name               string
		until, passed, set time.Duration
		killed             bool
	}{
		{"as published", time.Hour, 30 * time.Minute, 0, true},
		{"over", time.Hour, 61 * time.Minute, 0, false},
		{"capped", year, 25 * time.Hour, 0, false},
		{"applied before the clock was set", year, time.Minute, 2 * year, false},
		{"the clock is set back", time.Hour, 23 * time.Hour, -year, true},
		{"the clock is set back, for long", time.Hour, 25 * time.Hour, -year, false},
	} {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		text := fmt.Sprintf(`{"schema":1,"document":"shop","version":1,"kill":[{"match":{},"until":%q}]}`,
			now.Add(test.until).Format(time.RFC3339Nano))
		if _, err := e.Apply([]byte(text)); err != nil {
			t.Fatal(err)
		}
		now = read(now.Add(test.passed), test.set)
		s := e.config.Load()
		if got := s.Killed("https", "a", "GET", "/", "", now) != nil; got != test.killed || got != (s.KilledHost("a", now) != nil) {
			t.Errorf("%s: killed is %v", test.name, got)
		}
	}
}
