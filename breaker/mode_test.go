package breaker

import (
	"errors"
	"testing"
	"time"
)

func TestModeSteps(t *testing.T) {
	policies := map[string]Policy{
		"auto": {}, "open": {Mode: ForcedOpen}, "closed": {Mode: ForcedClosed}, "observe": {Mode: ObserveOnly},
	}
	for name, test := range map[string]struct {
		policy Policy
		text   string
	}{
		"forced open refuses without an end, and learns nothing": {Policy{}, `
			at 0s: call failure x4 -> closed
			at 0s: allow a -> admitted
			at 1s: push open -> closed
			at 1s: allow -> forced
			at 1000h: allow -> forced
			at 1000h: done a failure -> closed
			at 1000h: push auto -> closed
			at 1000h: allow b -> admitted
			at 1000h: done b failure -> open`},
		"an open one that is forced open goes on where its time says": {Policy{OpenTime: 4 * time.Second}, `
			at 0s: call failure x5 -> open
			at 1s: push open -> open
			at 2s: push slow -> open
			at 2s: allow -> refused until 4s
			at 4s: allow -> probe`},
		"a probe that is out when it is forced open decides nothing": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 1s: push open -> half-open
			at 2s: done p success -> half-open
			at 2s: allow -> forced
			at 3s: push auto -> half-open
			at 3s: allow q -> probe
			at 3s: done q success -> closed`},
		"an open one that is forced closed is open again after it": {Policy{OpenTime: 4 * time.Second}, `
			at 0s: call failure x5 -> open
			at 1s: push closed -> open
			at 1s: call failure x100 -> open
			at 2s: push slow -> open
			at 2s: allow -> refused until 4s`},
		"observe only does as auto does, and refuses nobody": {Policy{Mode: ObserveOnly}, `
			at 0s: call failure x5 -> open
			at 0s: why -> consecutive failures
			at 0.5s: call success x3 -> open
			at 0.5s: spared -> 3
			at 1s: allow p -> probe
			at 1s: allow a -> admitted
			at 1s: done a success -> half-open
			at 1s: done p failure -> open
			at 1.5s: push auto -> open
			at 1.5s: allow -> refused until 3s`},
		"auto that only observes from now on": {Policy{}, `
			at 0s: call failure x5 -> open
			at 0s: allow -> refused until 1s
			at 0s: push observe -> open
			at 0s: allow -> admitted
			at 1s: allow p -> probe
			at 1s: done p success -> closed
			at 1s: why -> probes succeeded`},
	} {
		t.Run(name, func(t *testing.T) {
			policies["slow"] = Policy{OpenTime: 4 * time.Second}
			runScript(t, test.policy, policies, test.text)
		})
	}
}

func TestForcedOpenIsOpen(t *testing.T) {
	b := mustNew(t, Policy{Mode: ForcedOpen}, Options{})
	err := b.Do(func() error { t.Error("called"); return nil })
	if !errors.Is(err, ErrOpen) || !errors.Is(err, ErrForcedOpen) || err.Error() != "breaker: forced open by its policy" {
		t.Errorf("refused with %v", err)
	}
	if !b.Refuses() || b.State() != Closed {
		t.Errorf("refuses %v, state %v", b.Refuses(), b.State())
	}
}

func TestRefuses(t *testing.T) {
	for mode, want := range map[Mode][2]bool{Auto: {false, true}, ForcedOpen: {true, true},
		ForcedClosed: {false, false}, ObserveOnly: {false, false}} {
		b := mustNew(t, Policy{Mode: mode}, Options{})
		if got := b.Refuses(); got != want[0] {
			t.Errorf("%s, closed: refuses %v", mode, got)
		}
		if err := b.SetPolicy(Policy{}); err != nil {
			t.Fatal(err)
		}
		fail(b, 5)
		if err := b.SetPolicy(Policy{Mode: mode}); err != nil {
			t.Fatal(err)
		}
		if got := b.Refuses(); got != want[1] {
			t.Errorf("%s, open: refuses %v", mode, got)
		}
	}
}

func TestSlowSteps(t *testing.T) {
	told := Policy{SlowCallRatio: 0.5}
	timed := Policy{SlowCallRatio: 0.5, SlowCallDuration: time.Second}
	policies := map[string]Policy{"told": told, "off": {}, "wide": {SlowCallRatio: 0.5, Window: time.Minute},
		"strict": {SlowCallRatio: 0.1}}
	for name, test := range map[string]struct {
		policy Policy
		text   string
	}{
		"slow is good where nobody counts it": {Policy{}, `
			at 0s: call slow x1000 -> closed
			at 0s: counts -> 1000 0 0
			at 0s: slow -> 0`},
		"opens beyond the ratio and chance": {told, `
			at 0s: call success x3 -> closed
			at 0s: call slow x16 -> closed
			at 0s: slow -> 16
			at 0s: call slow -> open
			at 0s: why -> slow calls
			at 0s: allow -> refused until 1s`},
		"a share below the ratio is borne": {told, `
			at 0s: call success x50 -> closed
			at 0s: call slow x40 -> closed
			at 31s: slow -> 0
			at 31s: call slow x19 -> closed`},
		"a slow probe has failed": {told, `
			at 0s: call slow x20 -> open
			at 1s: allow p -> probe
			at 1s: done p slow -> open
			at 1s: why -> probe slow
			at 3s: allow q -> probe
			at 3s: done q success -> closed
			at 3s: slow -> 0`},
		"slow ends a streak of failures": {told, `
			at 0s: call failure x4 -> closed
			at 0s: call slow -> closed
			at 0s: counts -> 1 4 0`},
		"what is ignored counts for nothing": {told, `
			at 0s: call ignored x100 -> closed
			at 0s: call slow x19 -> closed
			at 0s: slow -> 19`},
		"turned off and on it begins anew": {told, `
			at 0s: call slow x19 -> closed
			at 0s: push off -> closed
			at 0s: call slow -> closed
			at 0s: push told -> closed
			at 0s: slow -> 0
			at 0s: call slow x19 -> closed
			at 0s: call slow -> open`},
		"the window changes and the counts stay": {told, `
			at 0s: call slow x15 -> closed
			at 20s: push wide -> closed
			at 70s: slow -> 15
			at 81s: slow -> 0`},
		"the ratio is live": {told, `
			at 0s: call success x10 -> closed
			at 0s: call slow x10 -> closed
			at 0s: push strict -> closed
			at 0s: call slow -> open`},
		"by the clock, failures too": {timed, `
			at 0s: allow a -> admitted
			at 0s: allow b -> admitted
			at 0s: allow c -> admitted
			at 0s: allow d -> admitted
			at 1s: done a success -> closed
			at 1s: slow -> 0
			at 1.1s: done b success -> closed
			at 1.1s: done c failure -> closed
			at 1.1s: done d ignored -> closed
			at 1.1s: slow -> 2
			at 1.1s: counts -> 2 1 1`},
	} {
		t.Run(name, func(t *testing.T) { runScript(t, test.policy, policies, test.text) })
	}
}

func TestSlowEventTells(t *testing.T) {
	var last Event
	b := mustNew(t, Policy{SlowCallRatio: 0.5}, Options{Observe: func(e Event) { last = e }})
	for range 20 {
		ticket, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		ticket.Done(Slow)
	}
	if last.Cause != SlowCalls || last.To != Open || last.Counts != (Counts{Successes: 20, Slow: 20}) {
		t.Errorf("the event is %+v", last)
	}
}
