package tether_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
)

// flagDoc is a document with one flag, off by default, with settings of the application, and with stages for everybody.
func flagDoc(version int, targeting string, patches ...string) []byte {
	var stages []string
	for i, patch := range patches {
		stages = append(stages, fmt.Sprintf(`{"name":"s%d","percent":100,"patch":%s}`, i, patch))
	}
	return document(version, `,"app":{"theme":"winter","deep":{"a":1,"b":2}},
		"flags":{"flags":{"f":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"off","targeting":`+targeting+`}},
			"$evaluators":{"who":{"in":["x",["y"]]}}},
		"stages":[`+strings.Join(stages, ",")+`]`)
}

const nobody = `{"fractional":[["on",0],["off",1]]}`

// TestStagesPatchFlagsAndSettings: objects merge, down to a flag's members; what a rule says is replaced whole.
func TestStagesPatchFlagsAndSettings(t *testing.T) {
	type settings struct {
		Theme string
		Deep  struct{ A, B int }
	}
	e := newEngine(t, tether.Options{})
	app, err := tether.NewApp(e, settings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	defer e.Flags().Listen(func(keys []string) { heard = append(heard, keys...) })()
	on := func() bool { return e.Flags().Bool(flags.Attributes{flags.TargetingKey: "u"}, "f", false) }
	for i, step := range []struct {
		name      string
		targeting string
		patches   []string
		on        bool
		heard     []string
		theme     string
		a, b      int
	}{
		{"no stage", nobody, nil, false, []string{"f"}, "winter", 1, 2},
		{"a stage turns it on", nobody, []string{`{"flags":{"flags":{"f":{"targeting":{"fractional":[["on",1],["off",0]]}}}}}`}, true,
			[]string{"f"}, "winter", 1, 2},
		{"another kind of rule", nobody, []string{`{"flags":{"flags":{"f":{"targeting":{"if":[true,"on","off"]}}}}}`}, true,
			[]string{"f"}, "winter", 1, 2},
		{"disabled by a later one", nobody, []string{`{"flags":{"flags":{"f":{"targeting":{"if":[true,"on","off"]}}}}}`,
			`{"flags":{"flags":{"f":{"state":"DISABLED"}}}}`}, false, []string{"f"}, "winter", 1, 2},
		{"an evaluator is replaced", `{"if":[{"$ref":"who"},"on","off"]}`,
			[]string{`{"flags":{"$evaluators":{"who":{"==":[{"var":"targetingKey"},"u"]}}}}`}, true, []string{"f"}, "winter", 1, 2},
		{"another flag comes", nobody, []string{`{"flags":{"flags":{"g":{"state":"ENABLED","variants":{"on":true},"defaultVariant":"on"}}}}`},
			false, []string{"f", "g"}, "winter", 1, 2},
		{"the application's settings", nobody, []string{`{"app":{"deep":{"b":3}}}`, `{"app":{"theme":"spring"}}`}, false,
			[]string{"g"}, "spring", 1, 3},
		{"guards alone", nobody, []string{`{"flagSettings":{"guards":{"f":{"minCalls":99}}}}`}, false, nil, "winter", 1, 2},
		{"no stage again", nobody, nil, false, nil, "winter", 1, 2},
	} {
		heard = nil
		notes, err := e.Apply(flagDoc(i+1, step.targeting, step.patches...))
		if err != nil || len(notes) > 0 {
			t.Fatal(step.name, err, notes)
		}
		slices.Sort(heard)
		if got := app.Get(); on() != step.on || !slices.Equal(heard, step.heard) || got.Theme != step.theme || got.Deep.A != step.a || got.Deep.B != step.b {
			t.Errorf("%s: on %v, heard %q, settings %+v", step.name, on(), heard, got)
		}
		if min := e.Flags().Current().Guard("f").MinCalls; (min == 99) != (step.name == "guards alone") {
			t.Errorf("%s: minCalls %d", step.name, min)
		}
	}
}

// TestStagesThatCantBeTogether: each is possible with the document, and the second not with the first: it stays off.
func TestStagesThatCantBeTogether(t *testing.T) {
	e := newEngine(t, tether.Options{})
	if _, err := e.Apply(flagDoc(1, `null`, `{"flags":{"flags":{"f":{"variants":{"off":false}}}}}`,
		`{"flags":{"flags":{"f":{"defaultVariant":"on"}}}}`)); err != nil {
		t.Fatal(err)
	}
	if h := e.Health(); !slices.Equal(h.Stages, []string{"s0"}) || !slices.Equal(h.RolledBack, []string{"s1"}) {
		t.Errorf("on %q, rolled back %q", h.Stages, h.RolledBack)
	}
}

// TestFlagStagesAreFew: each is compiled with the document's flags.
func TestFlagStagesAreFew(t *testing.T) {
	patches := slices.Repeat([]string{`{"flags":{"flags":{"f":{"state":"DISABLED"}}}}`}, 17)
	e := newEngine(t, tether.Options{})
	_, err := e.Apply(flagDoc(1, nobody, patches...))
	var refused *policy.Error
	if !errors.As(err, &refused) || refused.Problems[0].Path != "stages[16].patch.flags" {
		t.Errorf("error is %v", err)
	}
	if _, err := e.Apply(flagDoc(1, nobody, patches[1:]...)); err != nil {
		t.Error(err)
	}
}

// TestStagesWithBadFlagsAreRolledBack: a guard of the application's that turns off a flag which a stage changed takes
// the stage back; the document's own flags stay as they are.
func TestStagesWithBadFlagsAreRolledBack(t *testing.T) {
	half := `{"fractional":[["on",1],["off",1]]}`
	change := `{"flags":{"flags":{"f":{"targeting":` + half + `}}}}`
	for _, test := range []struct {
		name, targeting, patch string
		next, old              float64 // share that fails
		back                   bool
	}{
		{"worse", nobody, change, 0.5, 0, true},
		{"both fail", nobody, change, 0.5, 0.5, false},
		{"good", nobody, change, 0, 0, false},
		{"the stage changes another flag", half, strings.ReplaceAll(change, `"f"`, `"f2"`), 0.5, 0, false},
		{"the stage changes something else", half, `{"app":{}}`, 0.5, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, tether.Options{})
				patch := strings.ReplaceAll(test.patch, `"f2":{`, `"f2":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"off",`)
				if _, err := e.Apply(flagDoc(1, test.targeting, patch)); err != nil {
					t.Fatal(err)
				}
				// A refused document whose kills are taken leaves the flags as they are, with and without the stage.
				if _, err := e.Apply(document(2, killMember+`,"pollInterval":"0s"`)); err == nil {
					t.Fatal("taken")
				}
				var heard []string
				defer e.Flags().Listen(func(keys []string) { heard = append(heard, keys...) })()
				guard, err := flags.NewGuard(e.Flags(), "f", flags.GuardPolicy{}, flags.GuardOptions{Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				path := func(share float64) func(context.Context) error {
					serve := failingShare(share)
					return func(context.Context) error {
						resp, err := serve(nil, 0)
						if err == nil && resp.StatusCode >= 500 {
							err = errRefused
						}
						return err
					}
				}
				next, old := path(test.next), path(test.old)
				for user := range 600 {
					_ = guard.Do(t.Context(), flags.Attributes{flags.TargetingKey: fmt.Sprint(user)}, next, old)
					time.Sleep(100 * time.Millisecond)
				}
				if back := slices.Equal(e.Health().RolledBack, []string{"s0"}); back != test.back || back != slices.Equal(heard, []string{"f"}) {
					t.Errorf("rolled back is %v, heard %q", back, heard)
				}
				users := 0
				for user := range 100 {
					if e.Flags().Bool(flags.Attributes{flags.TargetingKey: fmt.Sprint(user)}, "f", false) {
						users++
					}
				}
				if test.back != (users == 0) {
					t.Errorf("%d of 100 have the flag", users)
				}
				if off := guard.Status().Off; off != (test.next > test.old) {
					t.Errorf("the guard's off is %v", off)
				}
			})
		})
	}
}
