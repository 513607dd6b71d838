package breaker

import (
	"testing"
	"time"
)

func TestSteps(t *testing.T) {
	for name, test := range map[string]struct {
		policy Policy
		text   string
	}{
		"opens after failures in a row, and a good probe closes it": {Policy{}, `
			at 0s: call failure x4 -> closed
			at 0s: call success -> closed
			at 1s: call failure x4 -> closed
			at 1s: call failure -> open
			at 1s: allow -> refused until 2s
			at 1999ms: allow -> refused until 2s
			at 2s: state -> half-open
			at 2s: allow p -> probe
			at 2s: allow -> refused until 12s probing
			at 3s: done p success -> closed
			at 3s: allow -> admitted`},
		"failures in a row count however far apart": {Policy{}, `
			at 0h: call failure -> closed
			at 1h: call failure -> closed
			at 2h: call failure -> closed
			at 3h: call failure -> closed
			at 4h: counts -> 0 0 4
			at 4h: call failure -> open`},
		"ignored results teach nothing": {Policy{}, `
			at 0s: call ignored x1000 -> closed
			at 0s: counts -> 0 0 0
			at 0s: call failure x4 -> closed
			at 0s: call ignored -> closed
			at 0s: call failure -> open`},
		"faults end a streak and count for the ratio": {Policy{}, `
			at 0s: call failure x4 -> closed
			at 0s: call fault -> closed
			at 0s: counts -> 0 5 0
			at 0s: call failure x4 -> closed
			at 0s: call fault x10 -> closed
			at 0s: call fault -> open
			at 1s: call fault -> open`},
		"opens by ratio from MinCalls on": {Policy{ConsecutiveFailures: 1000}, `
			at 0s: call success x9 -> closed
			at 0s: call failure x26 -> closed
			at 0s: call failure -> open`},
		"the ratio is exact, beyond chance": {Policy{ConsecutiveFailures: 1000, FailureRatio: 0.75, MinCalls: 1}, `
			at 0s: call success x2 -> closed
			at 0s: call failure x39 -> closed
			at 0s: call failure -> open`},
		"the window rolls": {Policy{ConsecutiveFailures: 1000}, `
			at 0s: call failure x15 -> closed
			at 15s: call failure x4 -> closed
			at 29s: counts -> 0 19 19
			at 31s: counts -> 0 4 19
			at 31s: call failure x10 -> closed
			at 46s: counts -> 0 10 29
			at 46s: call failure x9 -> closed
			at 46s: call failure -> open`},
		"each failed probe doubles the open time up to the cap": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: call failure -> open
			at 1s: allow -> refused until 3s
			at 3s: call failure -> open
			at 3s: allow -> refused until 7s
			at 7s: call failure -> open
			at 7s: allow -> refused until 11s
			at 11s: call failure -> open
			at 11s: allow -> refused until 15s`},
		"a close that lasts brings the first open time back": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: call failure -> open
			at 3s: call success -> closed
			at 5s: call failure x5 -> open
			at 5s: allow -> refused until 6s`},
		"a close that proves nothing does not": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: call failure -> open
			at 3s: call success -> closed
			at 4999ms: call failure x5 -> open
			at 4999ms: allow -> refused until 8.999s`},
		"a probe that hangs lapses": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 10999ms: allow -> refused until 11s probing
			at 11s: state -> open
			at 11s: allow -> refused until 13s
			at 12s: done p success -> open
			at 13s: allow q -> probe
			at 13s: done q success -> closed`},
		"a lapse counts from the end of the lease, noticed or not": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 12500ms: allow -> refused until 13s
			at 1h: allow q -> probe
			at 2h: allow r -> probe
			at 2h: done q success -> half-open
			at 2h: done r success -> closed`},
		"a result after the lease is none, noticed or not": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 11s: done p success -> open
			at 11s: allow -> refused until 13s`},
		"an ignored probe frees its slot and moves nothing": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 2s: done p ignored -> half-open
			at 2s: allow q -> probe
			at 2s: done p failure -> half-open
			at 2s: done q success -> closed`},
		"results of an earlier state change nothing": {Policy{}, `
			at 0s: allow early -> admitted
			at 0s: allow late -> admitted
			at 0s: call failure x5 -> open
			at 0s: done early success -> open
			at 1s: allow p -> probe
			at 1s: done late failure -> half-open
			at 1s: done p success -> closed
			at 1s: done late failure -> closed
			at 1s: counts -> 0 0 0`},
		"a second Done does nothing": {Policy{}, `
			at 0s: allow a -> admitted
			at 0s: done a failure -> closed
			at 0s: done a failure -> closed
			at 0s: done a success -> closed
			at 0s: counts -> 0 1 1`},
		"several probes, all of which must be good": {Policy{Probes: 3}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 2s: allow q -> probe
			at 3s: allow r -> probe
			at 3s: allow -> refused until 13s probing
			at 4s: done p success -> half-open
			at 4s: allow -> refused until 13s probing
			at 4s: done q success -> half-open
			at 4s: done r success -> closed`},
		"one bad probe is enough": {Policy{Probes: 3}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 1s: allow q -> probe
			at 1s: done p success -> half-open
			at 1s: done q failure -> open
			at 3s: call success -> half-open
			at 3s: call success -> half-open
			at 3s: call success -> closed`},
		"the oldest lease decides": {Policy{Probes: 2}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 6s: allow q -> probe
			at 11s: state -> open
			at 11s: done q success -> open
			at 13s: allow -> probe`},
		"disabled admits all and learns nothing": {Policy{Mode: ForcedClosed}, `
			at 0s: call failure x1000 -> closed
			at 0s: counts -> 0 0 0`},
	} {
		t.Run(name, func(t *testing.T) { runScript(t, test.policy, nil, test.text) })
	}
}

func TestSetPolicySteps(t *testing.T) {
	policies := map[string]Policy{
		"zero":     {},
		"explicit": Policy{}.WithDefaults(),
		"trigger":  {ConsecutiveFailures: 2},
		"patient":  {ConsecutiveFailures: 1000},
		"wide":     {ConsecutiveFailures: 1000, Window: time.Minute},
		"slow":     {OpenTime: 4 * time.Second, MaxOpenTime: 20 * time.Second},
		"quick":    {OpenTime: 100 * time.Millisecond},
		"short":    {ProbeLease: 2 * time.Second},
		"three":    {Probes: 3},
		"off":      {Mode: ForcedClosed},
		"bad":      {Probes: -1},
	}
	for name, test := range map[string]struct {
		policy Policy
		text   string
	}{
		"thresholds are live, the counts kept": {Policy{ConsecutiveFailures: 100}, `
			at 0s: call failure x3 -> closed
			at 0s: push trigger -> closed
			at 0s: call failure -> open`},
		"the window changes and the counts stay": {Policy{ConsecutiveFailures: 1000}, `
			at 0s: call success x5 -> closed
			at 0s: call failure x19 -> closed
			at 20s: push wide -> closed
			at 20s: counts -> 5 19 19
			at 70s: counts -> 5 19 19
			at 70s: call failure -> open`},
		"calls in flight survive a change of window": {Policy{ConsecutiveFailures: 1000}, `
			at 0s: allow a -> admitted
			at 0s: push wide -> closed
			at 1s: done a failure -> closed
			at 1s: counts -> 0 1 1`},
		"an open breaker takes the window when it closes": {Policy{ConsecutiveFailures: 5}, `
			at 0s: call failure x5 -> open
			at 0s: push wide -> open
			at 1s: call success -> closed
			at 1s: call failure x15 -> closed
			at 46s: counts -> 0 15 15
			at 62s: counts -> 0 0 15`},
		"an open breaker stays open, by the new open time": {Policy{}, `
			at 0s: call failure x5 -> open
			at 500ms: push slow -> open
			at 500ms: allow -> refused until 4s
			at 3s: push slow -> open
			at 3s: push slow -> open
			at 3s: allow -> refused until 4s
			at 3s: push zero -> half-open`},
		"pushes to and fro extend nothing": {Policy{}, `
			at 0s: call failure x5 -> open
			at 100ms: push slow -> open
			at 200ms: push zero -> open
			at 300ms: push slow -> open
			at 400ms: push zero -> open
			at 400ms: allow -> refused until 1s`},
		"a shorter open time probes earlier, and never closes": {Policy{}, `
			at 0s: call failure x5 -> open
			at 500ms: push quick -> half-open
			at 500ms: call failure -> open
			at 500ms: allow -> refused until 700ms`},
		"what was over stays over": {Policy{}, `
			at 0s: call failure x5 -> open
			at 2s: push slow -> half-open`},
		"a shorter lease holds for the probe that is out": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 5s: push short -> half-open
			at 5s: state -> half-open
			at 6s: done p success -> half-open`},
		"more probes": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 1s: push three -> half-open
			at 1s: allow q -> probe
			at 1s: allow r -> probe
			at 1s: done p success -> half-open
			at 1s: done q success -> half-open
			at 1s: done r success -> closed`},
		"fewer probes than were good leave one to decide": {Policy{Probes: 3}, `
			at 0s: call failure x5 -> open
			at 1s: call success -> half-open
			at 1s: call success -> half-open
			at 1s: push zero -> half-open
			at 1s: allow p -> probe
			at 1s: allow -> refused until 11s probing
			at 1s: done p success -> closed`},
		"disabled and back": {Policy{}, `
			at 0s: call failure x5 -> open
			at 0s: push off -> open
			at 0s: call failure -> open
			at 0s: call success -> open
			at 500ms: push zero -> open
			at 500ms: allow -> refused until 1s
			at 600ms: push off -> open
			at 2s: state -> open
			at 2s: push zero -> half-open`},
		"a probe settled while disabled frees its slot and decides nothing": {Policy{}, `
			at 0s: call failure x5 -> open
			at 1s: allow p -> probe
			at 1s: push off -> half-open
			at 2s: done p failure -> half-open
			at 3s: push zero -> half-open
			at 3s: allow -> probe`},
		"calls admitted while disabled count for nothing later": {Policy{Mode: ForcedClosed}, `
			at 0s: allow a -> admitted
			at 0s: push trigger -> closed
			at 0s: done a failure -> closed
			at 0s: counts -> 0 0 0`},
		"an impossible policy is refused": {Policy{}, `
			at 0s: push bad -> breaker: Probes is -1, must be from 1 to 100
			at 0s: call failure x5 -> open`},
		"the same in other words changes nothing": {Policy{}, `
			at 0s: call failure x4 -> closed
			at 0s: push explicit -> closed
			at 0s: counts -> 0 4 4
			at 0s: call failure -> open
			at 500ms: push explicit -> open
			at 500ms: allow -> refused until 1s`},
	} {
		t.Run(name, func(t *testing.T) { runScript(t, test.policy, policies, test.text) })
	}
}
