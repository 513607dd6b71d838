package tether_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
)

// oneFlag is the member flags with one flag, checkout, that is on for so many of a hundred.
func oneFlag(percent int) string {
	return fmt.Sprintf(`,"flags":{"flags":{"checkout":{"state":"ENABLED","variants":{"on":true,"off":false},
		"defaultVariant":"off","targeting":{"fractional":[["on",%d],["off",%d]]}}}}`, percent, 100-percent)
}

// TestDocumentCarriesFlags: each step is one document, and what it leaves in force.
func TestDocumentCarriesFlags(t *testing.T) {
	e, err := tether.New(tether.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	stop := e.Flags().Listen(func(keys []string) { heard = append(heard, keys...) })
	as := flags.Attributes{flags.TargetingKey: "user-1"}
	for i, step := range []struct {
		name, members, problem string
		on                     bool
		changed                []string
	}{
		{"none yet", "", "", false, nil},
		{"on for all", oneFlag(100), "", true, []string{"checkout"}},
		{"the rest changes", oneFlag(100) + `,"label":"x"`, "", true, nil},
		{"a weight that is none", oneFlag(-1), `line 2: flags.flags.checkout.targeting.fractional[0][1]`, true, nil},
		{"twice", oneFlag(0) + oneFlag(0), "flags: written twice", true, nil},
		{"null", `,"flags":null`, "flags: is null", true, nil},
		{"bad settings", oneFlag(0) + `,"flagSettings":{"bucketing":1}`, "line 2: flagSettings.bucketing", true, nil},
		{"bad elsewhere", oneFlag(0) + `,"pollInterval":"0s"`, "pollInterval", true, nil},
		{"bad, with a kill", oneFlag(-1) + killMember, "fractional", true, nil},
		{"on for nobody", oneFlag(0), "", false, []string{"checkout"}},
		{"on again", oneFlag(100), "", true, []string{"checkout"}},
		{"without flags", "", "", false, []string{"checkout"}},
	} {
		heard = nil
		_, err := e.Apply(document(i+1, step.members))
		var refused *policy.Error
		if step.problem == "" && err != nil {
			t.Errorf("%s: %v", step.name, err)
		} else if step.problem != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), step.problem)) {
			t.Errorf("%s: error %v, want %q", step.name, err, step.problem)
		}
		if on := e.Flags().Bool(as, "checkout", false); on != step.on || !slices.Equal(heard, step.changed) {
			t.Errorf("%s: on is %v, want %v; heard %q, want %q", step.name, on, step.on, heard, step.changed)
		}
		killed := errors.Is(e.Do(t.Context(), tether.Call{Host: "h"}, healthy), tether.ErrKilled)
		if killed != strings.Contains(step.name, "kill") {
			t.Errorf("%s: killed is %v", step.name, killed)
		}
	}
	stop()
	if _, err := e.Apply(document(99, oneFlag(50))); err != nil || len(heard) > 1 {
		t.Errorf("%v; after stop heard %q", err, heard)
	}
	if _, err := e.Flags().Apply([]byte(`{"flags":{}}`)); !errors.Is(err, flags.ErrFollows) {
		t.Errorf("the engine's store took a document of its own: %v", err)
	}
}

func healthy(context.Context, *tether.Permit) tether.Outcome {
	return tether.Outcome{Class: tether.Healthy}
}

// TestOwnFlagsUntilADocumentHasSome: the application's own flags hold where a document says nothing of flags,
// and give way as a whole to one that does.
func TestOwnFlagsUntilADocumentHasSome(t *testing.T) {
	own := []byte(`{"flags":{"own":{"state":"ENABLED","variants":{"on":true},"defaultVariant":"on"}}}`)
	e, err := tether.New(tether.Options{Policy: policy.Document{Flags: own}})
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct{ members, keys string }{
		{"", "own"},
		{oneFlag(1), "checkout"},
		{`,"flagSettings":{"bucketing":3}`, ""},
		{`,"label":"none"`, "own"},
	} {
		if _, err := e.Apply(document(i+1, step.members)); err != nil {
			t.Fatal(err)
		}
		if keys := strings.Join(e.Flags().Current().Keys(), ","); keys != step.keys {
			t.Errorf("%s: flags %q, want %q", step.members, keys, step.keys)
		}
	}
	for _, bad := range []policy.Document{
		{Flags: []byte(`{"flags":`)}, {Flags: []byte(`{"flags":{"f":{}}}`)}, {FlagSettings: []byte(`{"bucketing":9}`)},
	} {
		var refused *policy.Error
		if _, err := tether.New(tether.Options{Policy: bad}); !errors.As(err, &refused) ||
			!strings.HasPrefix(refused.Problems[0].Path, "flag") || refused.Problems[0].Line != 0 {
			t.Errorf("%s%s: %v", bad.Flags, bad.FlagSettings, err)
		}
	}
}

// TestFlagNotesAreTheDocuments: what flags don't know is told as everything else that isn't known.
func TestFlagNotesAreTheDocuments(t *testing.T) {
	_, notes, err := policy.Parse(document(1, `,"flags":{"flags":{},"extra":1},"flagSettings":{"guards":{"gone":{}},"bucketting":2}`))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, n := range notes {
		paths = append(paths, n.Path)
	}
	slices.Sort(paths)
	if want := []string{"flagSettings.bucketting", "flagSettings.guards.gone", "flags.extra"}; !slices.Equal(paths, want) {
		t.Errorf("notes %+v, want %q", notes, want)
	}
}

// TestDocumentGuardsFlags: a guard over the engine's flags follows flagSettings.
func TestDocumentGuardsFlags(t *testing.T) {
	e, err := tether.New(tether.Options{})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := flags.NewGuard(e.Flags(), "checkout", flags.GuardPolicy{}, flags.GuardOptions{FallBack: true})
	if err != nil {
		t.Fatal(err)
	}
	settings := `,"flagSettings":{"guards":{"checkout":{"minCalls":5,"worseBy":0.01}}}`
	if _, err := e.Apply(document(1, oneFlag(100)+settings)); err != nil {
		t.Fatal(err)
	}
	broken := func(context.Context) error { return errors.New("broken") }
	works := func(context.Context) error { return nil }
	for range 40 {
		err := guard.Do(t.Context(), flags.Attributes{flags.TargetingKey: "u"}, broken, works)
		if err != nil {
			t.Fatal(err)
		}
	}
	if status := guard.Status(); !status.Off || status.New.Calls > 35 {
		t.Errorf("the guard stands at %+v", status)
	}
}

// TestListenersHearInOrder: whoever follows the changes ends up where the flags are, whoever applies.
func TestListenersHearInOrder(t *testing.T) {
	e, err := tether.New(tether.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := false
	e.Flags().Listen(func([]string) {
		mu.Lock()
		defer mu.Unlock()
		seen = e.Flags().Bool(flags.Attributes{flags.TargetingKey: "u"}, "checkout", false)
	})
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() { _, _ = e.Apply(document(i+1, oneFlag(100*(i%2)))) }) // older ones are refused
	}
	all.Wait()
	now := e.Flags().Bool(flags.Attributes{flags.TargetingKey: "u"}, "checkout", false)
	mu.Lock()
	defer mu.Unlock()
	if seen != now || e.Health().Version != 40 {
		t.Errorf("the listener saw %v, the flag is %v in version %d", seen, now, e.Health().Version)
	}
}

func ExampleEngine_Flags() {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	document := `{"schema": 1, "document": "shop", "version": 1, "flags": {"flags": {"checkout-v2": {
		"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"}}}}`
	if _, err := engine.Apply([]byte(document)); err != nil { // as a watcher does
		fmt.Println(err)
		return
	}
	who := flags.Attributes{flags.TargetingKey: "user-17"}
	fmt.Println(engine.Flags().Bool(who, "checkout-v2", false))
	// Output: true
}
