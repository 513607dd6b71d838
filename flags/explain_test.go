package flags

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func loadOne(t testing.TB, settings, targeting string) *Set {
	t.Helper()
	set, err := Load(fmt.Appendf(nil, `{"flags": {"flags": {"f": {"state": "ENABLED", "defaultVariant": "off",
		"variants": {"on": true, "off": false}, "targeting": %s}}}, "flagSettings": {%s}}`, targeting, settings),
		LoadOptions{Format: Tether})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func shown(x Explanation) string {
	var lines []string
	for _, step := range x.Steps {
		lines = append(lines, strings.Repeat(".", step.Depth)+step.What+" = "+step.Result)
	}
	return strings.Join(lines, "\n")
}

func TestExplain(t *testing.T) {
	as := Attributes{TargetingKey: "user-17", "country": "SE", "n": 3, "o": map[string]any{"b": []any{1, "x"}, "a": nil}}
	for _, c := range []struct{ name, rule, want string }{
		{"the branch that is taken", `{"if": [{"==": [{"var": "country"}, "NO"]}, "off", {"in": [{"var": "country"}, ["SE", "FI"]]}, "on", "off"]}`,
			`if = "on"
.== = false
..var country = "SE"
..constant = "NO"
.in = true
..var country = "SE"
..constant = ["SE", "FI"]
.constant = "on"`},
		{"the operand that decides", `{"if": [{"or": [{"var": "gone"}, {"var": "n"}, {"var": "country"}]}, "on"]}`,
			`if = "on"
.or = 3
..var gone = null
..var n = 3
.constant = "on"`},
		{"a rollout", `{"fractional": [["on", 10], ["off", 90]]}`,
			`fractional = "on"
.bucketing 2 hashes the flag's key and targetingKey to 383988284 of 4294967296, place 8 of 100 = 
.places 0 to below 10, chosen = "on"
.places 10 to below 100 = "off"`},
		{"its seed", `{"fractional": [{"var": "country"}, ["on", 1], ["off", 1]]}`,
			`fractional = "on"
.var country = "SE"
.bucketing 2 hashes the seed to 255302905 of 4294967296, place 0 of 2 = 
.places 0 to below 1, chosen = "on"
.places 1 to below 2 = "off"`},
		{"a list", `{"if": [{"some": [{"var": "o.b"}, {"==": [{"var": ""}, 1]}]}, "on"]}`,
			`if = "on"
.some = true
..var o.b = [1, "x"]
.constant = "on"`},
		{"an object", `{"if": [{"var": "o"}, "on"]}`, `if = "on"
.var o = {"a": null, "b": [1, "x"]}
.constant = "on"`},
	} {
		x := loadOne(t, "", c.rule).Explain(as, "f")
		if got := shown(x); got != c.want || x.Details.Reason != TargetingMatch {
			t.Errorf("%s:\n%s\nwant\n%s\n%+v", c.name, got, c.want, x.Details)
		}
	}
}

// TestExplanationIsWhatHappens: the bucket that is said to be chosen is the one that users get.
func TestExplanationIsWhatHappens(t *testing.T) {
	start := time.Now().Unix()
	ramp := fmt.Sprintf(`{"fractional": [["on", {"-": [{"var": "$flagd.timestamp"}, %d]}],
		["off", {"-": [%d, {"var": "$flagd.timestamp"}]}]]}`, start-5000, start+5000)
	for _, rule := range []string{
		`{"fractional": [["on", 1], ["off", 2]]}`, `{"fractional": [{"var": "seed"}, ["on", 1], ["off", 2]]}`,
		`{"fractional": [{"cat": ["x", {"var": "n"}]}, ["on"], ["off"]]}`, ramp,
	} {
		for _, settings := range []string{`"bucketing": 2`, `"bucketing": 3`} {
			set := loadOne(t, settings, rule)
			for n := range 300 {
				as := Attributes{TargetingKey: fmt.Sprint("u", n), "n": n}
				if n%2 == 0 {
					as["seed"] = fmt.Sprint("s", n)
				}
				x := set.Explain(as, "f")
				chosen := ""
				for _, step := range x.Steps {
					if strings.HasSuffix(step.What, ", chosen") {
						chosen += step.Result
					}
				}
				want := ""
				if d := x.Details; d.Reason == TargetingMatch {
					want = fmt.Sprintf("%q", d.Variant)
				}
				if x.Details.Value != set.Bool(as, "f", false) && rule != ramp || chosen != want {
					t.Fatalf("%s, %s, %v:\n%s\n%+v", rule, settings, as, shown(x), x.Details)
				}
			}
		}
	}
}

// TestExplainEndsSoon, whatever the rule: wide, deep, or of many steps.
func TestExplainEndsSoon(t *testing.T) {
	deep := strings.Repeat(`{"!": [`, 10) + `{"var": "x"}` + strings.Repeat(`]}`, 10)
	wide := `[{"var": "x"}` + strings.Repeat(`, 1`, 1900) + `]`
	list := make([]any, 1000)
	list[0] = list
	heavy := `{"map": [{"var": "x"}, {"map": [{"var": ""}, {"map": [{"var": ""}, 1]}]}]}`
	for _, rule := range []string{deep, wide, heavy} {
		x := loadOne(t, "", `{"if": [{"==": [`+rule+`, 1]}, "on", "off"]}`).Explain(Attributes{"x": list}, "f")
		if len(x.Steps) == 0 || len(x.Steps) > maxExplained {
			t.Errorf("%.40s: %d steps", rule, len(x.Steps))
		}
		for _, step := range x.Steps {
			if len(step.Result) > 2*maxShown {
				t.Errorf("a result has %d bytes", len(step.Result))
			}
		}
	}
	for key, reason := range map[string]Reason{"gone": Failed, "f": TargetingMatch} {
		if x := loadOne(t, "", `{"if": [true, "on"]}`).Explain(nil, key); x.Details.Reason != reason {
			t.Errorf("%s: %+v", key, x)
		}
	}
}
