package tether

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
)

// TestStagedFlagsAreCompiledOnce: what the check of a stage compiled is what is put in force, where no other stage
// changes flags.
func TestStagedFlagsAreCompiledOnce(t *testing.T) {
	e, err := New(Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	document := func(stages ...string) (policy.Document, policy.Flags) {
		cfg, read, _, err := policy.Load(fmt.Appendf(nil, `{"schema": 1, "document": "shop", "version": 1,
			"flags": {"flags": {"f": {"state": "ENABLED", "variants": {"on": 1, "off": 2, "new": 3}, "defaultVariant": "on"}}},
			"stages": [%s]}`, strings.Join(stages, ",")), &e.tally, e.gets)
		if err != nil {
			t.Fatal(err)
		}
		return cfg, read
	}
	const (
		app  = `{"name": "app", "percent": 100, "patch": {"app": {"a": 1}}}`
		off  = `{"name": "off", "percent": 100, "patch": {"flags": {"flags": {"f": {"defaultVariant": "off"}}}}}`
		next = `{"name": "new", "percent": 100, "patch": {"flags": {"flags": {"f": {"defaultVariant": "new"}}}}}`
		none = `{"name": "none", "percent": 0, "patch": {"flags": {"flags": {"f": {"defaultVariant": "new"}}}}}`
	)
	for _, test := range []struct {
		stages []string
		alone  string // whose flags are in force
		want   int64
	}{
		{[]string{app}, "", 1}, {[]string{none}, "", 1}, {[]string{app, off, none}, "off", 2}, {[]string{off, next}, "", 3},
	} {
		cfg, read := document(test.stages...)
		set, kept, bad := e.stagedFlags(&cfg, read, e.stagesFor(cfg))
		if set.Int(nil, "f", 0) != test.want || len(bad) > 0 || read.Staged["none"] != nil {
			t.Errorf("%v: %d, kept %v, bad %v", test.stages, set.Int(nil, "f", 0), kept, bad)
		}
		if test.alone != "" && set != read.Staged[test.alone] {
			t.Errorf("%v: the flags are compiled again", test.stages)
		}
	}
	for _, stage := range []string{off, none} { // a client counts what it evaluates
		e.tally = flags.Tally{}
		e.tally.Evaluations()
		_, read := document(stage)
		for _, set := range read.Staged {
			set.Int(nil, "f", 0)
		}
		if got := len(e.tally.Evaluations()); got != len(read.Staged) {
			t.Errorf("%s: %d results are counted", stage, got)
		}
	}
}
