package tether

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/policy"
)

// TestStagePanics: a stage that can't be applied costs itself, whichever it is, and nothing else.
func TestStagePanics(t *testing.T) {
	all := []policy.Rollout{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	build := func(bad string) func([]policy.Rollout) staged {
		return func(on []policy.Rollout) (s staged) {
			for _, stage := range on {
				if stage.Name == bad || bad == "all" {
					panic("stage")
				}
				s.config.Label += stage.Name
			}
			return s
		}
	}
	for bad, want := range map[string]string{"": "abc", "a": "bc", "b": "ac", "c": "ab", "all": ""} {
		s, kept, dropped := withStages(all, build(bad))
		if s.config.Label != want || len(kept) != len(want) || len(kept)+len(dropped) != len(all) {
			t.Errorf("%s panics: built %q, kept %d, dropped %d", bad, s.config.Label, len(kept), len(dropped))
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic without stages was swallowed")
		}
	}()
	withStages(nil, func([]policy.Rollout) staged { panic("document") })
}

// TestPatchedLeavesTheDocument: a patch is laid over copies, for other clients' stages, and later versions of
// these, begin from the same document.
func TestPatchedLeavesTheDocument(t *testing.T) {
	base := policy.Document{PollInterval: policy.Ptr(time.Minute), Nudge: []string{"a"}, Rules: []policy.Rule{{Name: "r"}},
		Schedules: map[string]policy.ScheduleSettings{"sync": {Every: policy.Ptr(time.Hour), Window: &policy.DailyWindow{From: "01:00", To: "05:00"}}}}
	base.Defaults.Call.RetryPolicy = &policy.RetrySettings{MaxAttempts: policy.Ptr(3), InitialBackoff: policy.Ptr(time.Second)}
	p := policy.Patch{PollInterval: policy.Ptr(time.Hour), Nudge: []string{}, Rules: []policy.Rule{{Name: "s"}},
		Schedules: map[string]policy.ScheduleSettings{"sync": {Every: policy.Ptr(2 * time.Hour)}, "other": {Every: policy.Ptr(time.Hour)}}}
	p.Defaults.Call.RetryPolicy = &policy.RetrySettings{MaxAttempts: policy.Ptr(1), RetryableStatusCodes: []policy.StatusCode{}}
	p.Defaults.Call.MaxWait = policy.Ptr(time.Duration(0))
	before, err := base.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	got := policy.Patched(base, &p)
	again, err := base.MarshalJSON()
	if err != nil || string(again) != string(before) {
		t.Errorf("the document became %s", again)
	}
	r := got.Defaults.Call.RetryPolicy
	sync := got.Schedules["sync"]
	if *got.PollInterval != time.Hour || got.Nudge == nil || len(got.Nudge) != 0 ||
		!slices.EqualFunc(got.Rules, []string{"r", "s"}, func(r policy.Rule, name string) bool { return r.Name == name }) ||
		*r.MaxAttempts != 1 || *r.InitialBackoff != time.Second || r.RetryableStatusCodes == nil ||
		*got.Defaults.Call.MaxWait != 0 || *sync.Every != 2*time.Hour || *sync.Window != (policy.DailyWindow{From: "01:00", To: "05:00"}) ||
		*got.Schedules["other"].Every != time.Hour {
		written, _ := got.MarshalJSON()
		t.Errorf("patched: %s", written)
	}
}

// TestTrialCountsFailuresOfTheOldWay: calls with the old timeouts that fail too speak for the stage.
func TestTrialCountsFailuresOfTheOldWay(t *testing.T) {
	for _, test := range []struct {
		failed int // attempts the old way, beside 20 that are late
		back   bool
	}{{0, true}, {55, true}, {65, false}} {
		for _, cut := range []bool{true, false} { // by the old timeout, or refused
			start := time.Now()
			trial := &trial{until: start.Add(time.Hour), evidence: &evidence{}}
			back := false
			for range test.failed {
				trial.weigh(0, true, cut, true, Transient, start)
			}
			for i := range 20 {
				why := trial.weigh(0, true, false, true, Healthy, start.Add(time.Duration(i)*10*time.Second))
				back = back || why != ""
			}
			if back != test.back {
				t.Errorf("%d failed (cut: %v): rolled back: %v", test.failed, cut, back)
			}
		}
	}
}

// TestFewStagesAreWatched: what watching costs each call is bounded, however many stages a document has.
func TestFewStagesAreWatched(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var stages []string
	for i := range policy.MaxRollouts {
		stages = append(stages, fmt.Sprintf(`{"name":"s%d","percent":100,"patch":{"defaults":{"call":{"timeout":"5s"}}}}`, i))
	}
	document := `{"schema":1,"document":"shop","version":1,"stages":[` + strings.Join(stages, ",") + `]}`
	if _, err := e.Apply([]byte(document)); err != nil {
		t.Fatal(err)
	}
	var watched []string
	for _, trial := range e.config.Load().trials {
		if trial.without != nil {
			watched = append(watched, trial.stage.Name)
		}
	}
	if len(watched) != maxTrials || watched[0] != "s92" {
		t.Errorf("watched are %q", watched)
	}
}
