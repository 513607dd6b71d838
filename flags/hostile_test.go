package flags

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// TestAttributesOfEveryType: what a caller's Go types stand for.
func TestAttributesOfEveryType(t *testing.T) {
	type name string
	type count int8
	type person struct{ Name string }
	type loop *loop
	text, number := "a", uint16(5)
	var nothing *string
	var self loop
	self = &self
	at := time.Date(2026, 11, 24, 16, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		v    any
		want string // as cat writes it after an x, which makes a list of it
	}{
		{int8(-5), "-5"}, {int16(-5), "-5"}, {int32(-5), "-5"}, {int64(-5), "-5"}, {uint(5), "5"}, {uint8(5), "5"}, {uint16(5), "5"},
		{uint32(5), "5"}, {uint64(math.MaxUint64), "18446744073709552000"}, {float32(0.5), "0.5"}, {json.Number("1.5"), "1.5"},
		{json.Number("x"), ""}, {name("n"), "n"}, {count(3), "3"}, {&text, "a"}, {&number, "5"}, {nothing, ""}, {self, ""},
		{at, "2026-11-24T16:00:00Z"}, {&at, "2026-11-24T16:00:00Z"}, {person{"p"}, ""}, {&person{"p"}, ""}, {func() {}, ""},
		{make(chan int), ""}, {complex(1, 2), ""}, {errors.New("e"), ""}, {map[int]string{1: "a"}, ""}, {math.NaN(), "NaN"},
		{[]string{"a", "b"}, "a,b"}, {[]int{1, 2}, "1,2"}, {[2]bool{true, false}, "true,false"}, {[]name{"n"}, "n"}, {[]any{nil, 1}, ",1"},
		{[]byte("ab"), "97,98"}, {[]person{{"p"}}, ""}, {map[string]int{"a": 1}, "[object Object]"}, {map[string]any(nil), "[object Object]"}, {Attributes{}, "[object Object]"},
	} {
		if got := mustRun(t, `{"cat": ["", {"var": "v"}]}`, map[string]any{"v": test.v}); got != test.want {
			t.Errorf("%T %v is %v, want %s", test.v, test.v, got, test.want)
		}
	}
	for _, object := range []any{map[string]int{"a": 1}, map[name]int{"a": 1}, map[string]any{"a": 1}, Attributes{"a": 1},
		map[string]string{"a": "1"}, &map[string]*int{"a": new(int)}} {
		got := mustRun(t, `{"cat": [{"var": "v.a"}, {"var": ["v.b", "-"]}]}`, map[string]any{"v": object})
		if got != "1-" && got != "0-" {
			t.Errorf("%T: %v", object, got)
		}
	}
}

// cyclic are attributes that contain themselves.
func cyclic() Attributes {
	object, list := map[string]any{}, make([]any, 2)
	object["self"], list[0], list[1] = object, list, list
	deep := any("x")
	for range 100_000 {
		deep = []any{deep}
	}
	long := make([]any, 500)
	for i := range long {
		long[i] = i
	}
	text, other := strings.Repeat("1", 1<<20), strings.Repeat("1", 1<<20)
	rows := make([]any, 5000)
	for i := range rows {
		rows[i] = map[string]string{"t": text, "u": other}
	}
	return Attributes{"rows": rows, "object": object, "list": list, "deep": deep, "long": long, "huge": make([]int, 100_000),
		"text": text, TargetingKey: "a"}
}

// TestHostileRules: whatever a rule and the attributes ask for, an evaluation ends soon, in General, and
// with its caller's default.
func TestHostileRules(t *testing.T) {
	attributes := cyclic()
	for _, rule := range []string{
		`{"cat": [{"var": "list"}]}`,
		`{"cat": {"var": "list"}}`,
		`{"max": {"var": "list"}}`,
		`{"max": {"var": "huge"}}`,
		`{"-": {"var": "huge"}}`,
		`{"+": {"var": "huge"}}`,
		`{"none": [{"var": "rows"}, {"<": [{"cat": {"merge": [{"var": "t"}, {"var": "u"}]}}, 1]}]}`,
		`{"==": [{"var": "list"}, "x"]}`,
		`{"cat": [{"var": "deep"}]}`,
		`{"missing": [{"var": "list"}]}`,
		`{"map": [{"var": "long"}, {"map": [[1,2,3,4,5,6,7,8,9], {"map": [[1,2,3,4,5,6,7,8,9], {"+": [{"var": ""}, 1]}]}]}]}`,
		`{"reduce": [{"var": "long"}, {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}, "xxxxxxxx"]}`,
		`{"reduce": [{"var": "long"}, {"merge": [{"var": "accumulator"}, {"var": "accumulator"}]}, [1]]}`,
		`{"cat": {"reduce": [{"var": "long"}, [{"var": "accumulator"}, {"var": "accumulator"}], "x"]}}`,
		`{"some": [{"var": "long"}, {"some": [[1,2,3,4,5,6,7,8,9], {"some": [[1,2,3,4,5,6,7,8,9], {"==": [{"var": ""}, 0]}]}]}]}`,
		`{"cat": [{"var": "text"}, {"var": "text"}]}`,
		`{"none": [{"var": "rows"}, {"!=": [{"var": "t"}, {"var": "u"}]}]}`,
		`{"none": [{"var": "rows"}, {"!==": [{"var": "t"}, {"var": "u"}]}]}`,
		`{"none": [{"var": "rows"}, {"<": [{"var": "t"}, {"var": "u"}]}]}`,
		`{"none": [{"var": "rows"}, {"<": [{"var": "t"}, 1]}]}`,
		`{"none": [{"var": "rows"}, {"in": ["x", {"var": "t"}]}]}`,
		`{"none": [{"var": "rows"}, {"!": {"in": [{"var": "t"}, [{"var": "u"}]]}}]}`,
		`{"none": [{"var": "rows"}, {"!": {"starts_with": [{"var": "t"}, {"var": "u"}]}}]}`,
		`{"none": [{"var": "rows"}, {"sem_ver": [{"var": "t"}, "<", "1.0.0"]}]}`,
		`{"none": [{"var": "rows"}, {"<": [{"+": [{"var": "t"}]}, 1]}]}`,
		`{"none": [{"var": "rows"}, {"substr": [{"var": "t"}, 1048576]}]}`,
		`{"none": [{"var": "rows"}, {"fractional": [{"var": "t"}, ["", 1], ["", 1]]}]}`,
		`{"none": [{"var": "rows"}, {"fractional": [{"cat": [{"var": "t"}]}, ["", 1], ["", 1]]}]}`,
		`{"none": [{"var": "rows"}, {"<": [{"+": [{"var": ""}, ` + strings.Repeat("1,", 500) + `1]}, 1]}]}`,
		`{"in": [{"var": "long"}, {"reduce": [{"var": "long"}, {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}, "x"]}]}`,
	} {
		for bucketing := 2; bucketing <= 3; bucketing++ {
			set := mustLoad(t, `{"flags": {"f": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on",
				"targeting": {"if": [{"!": {"!!": `+rule+`}}, "on", "on"]}},
				"g": {"state": "ENABLED", "variants": {"on": true}, "targeting": {"fractional": [`+rule+`, ["on"], ["on"]]}}}}`,
				LoadOptions{Lenient: true, Bucketing: bucketing})
			start := time.Now()
			got := set.BoolDetails(attributes, "f", true)
			set.BoolDetails(attributes, "g", true)
			if !got.Value || got.Code != General || got.Variant != "" {
				t.Errorf("%s: %+v", rule, got)
			}
			if took := time.Since(start); took > 2*time.Second { // it takes milliseconds; the machine may be busy
				t.Errorf("%s took %v", rule, took)
			}
		}
	}
}

func TestStepsAreLimited(t *testing.T) {
	set := mustLoad(t, `{"flags": {"f": {"state": "ENABLED", "variants": {"true": true, "false": false}, "defaultVariant": "false",
		"targeting": {"some": [{"var": "a"}, {"some": [{"var": ""}, {"==": [{"var": ""}, 0]}]}]}}}}`, LoadOptions{})
	matrix := func(n int) Attributes {
		row := make([]any, n)
		for i := range row {
			row[i] = 1
		}
		rows := make([]any, n)
		for i := range rows {
			rows[i] = row
		}
		return Attributes{"a": rows}
	}
	if got := set.BoolDetails(matrix(50), "f", true); got.Value || got.Reason != TargetingMatch {
		t.Errorf("2,500 elements: %+v", got)
	}
	if got := set.BoolDetails(matrix(500), "f", true); !got.Value || got.Code != General || !strings.Contains(got.Message, "steps") {
		t.Errorf("250,000 elements: %+v", got)
	}
}

func TestRefused(t *testing.T) {
	flag := func(rule string) string {
		return `{"$evaluators": {"e": true}, "flags": {"f": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off", "targeting": ` + rule + `}}}`
	}
	for _, test := range []struct{ document, path string }{
		{``, ""}, {`[]`, ""}, {`{`, ""}, {`{}`, "flags"}, {`{"flags": 1}`, "flags"}, {"\xff", ""},
		{`{"flags": {"f": 1}}`, "flags.f"},
		{`{"flags": {"f": {"variants": {"a": 1}}}}`, "flags.f.state"},
		{`{"flags": {"f": {"state": "enabled", "variants": {"a": 1}}}}`, "flags.f.state"},
		{`{"flags": {"f": {"state": "ENABLED"}}}`, "flags.f.variants"},
		{`{"flags": {"f": {"state": "ENABLED", "variants": {}}}}`, "flags.f.variants"},
		{`{"flags": {"f": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "b"}}}`, "flags.f.defaultVariant"},
		{`{"flags": {"f": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": 1}}}`, "flags.f.defaultVariant"},
		{`{"flags": {"f": {"state": "ENABLED", "variants": {"a": 1}}, "f": {"state": "ENABLED", "variants": {"a": 1}}}}`, "flags.f"},
		{`{"flags": [{"key": "f", "state": "ENABLED", "variants": {"a": 1}}, {"key": "f", "state": "ENABLED", "variants": {"a": 1}}]}`, "flags[1]"},
		{`{"flags": [{"state": "ENABLED", "variants": {"a": 1}}]}`, "flags[0].key"},
		{`{"flags": {}, "flags": {}}`, "flags"},
		{`{"flags": {}, "$evaluators": []}`, "$evaluators"},
	} {
		for _, lenient := range []bool{false, true} {
			wantRefused(t, test.document, test.path, lenient)
		}
	}
	for _, test := range []struct{ document, path string }{
		{`{"flags": {"f": {"state": "ENABLED", "variants": {"a": 1, "b": "x"}}}}`, "flags.f.variants.b"},
		{`{"flags": {"f": {"state": "ENABLED", "variants": {"a": null}}}}`, "flags.f.variants.a"},
		{`{"flags": {"f": {"state": "ENABLED", "variants": {"a": []}}}}`, "flags.f.variants.a"},
		{`{"flags": {"f": {"state": "ENABLED", "variants": {"a": 9007199254740992}}}}`, "flags.f.variants.a"},
		{`{"flags": {"f": {"state": "ENABLED", "variants": {"a": 1.5, "b": -1e16}}}}`, "flags.f.variants.b"},
		{`{"flags": {}, "metadata": {"a": {}}}`, "metadata.a"}, {`{"flags": {}, "metadata": 1}`, "metadata"},
		{`{"flags": {}, "$evaluators": {"e": {"unknown": 1}}}`, "$evaluators.e.unknown"},
		{`{"flags": {}, "$evaluators": {"e": {"$ref": "e"}}}`, "$evaluators.e.$ref"},
		{flag(`"on"`), "flags.f.targeting"}, {flag(`{"unknown": 1}`), "flags.f.targeting.unknown"},
		{flag(`{"if": [{"$ref": "nobody"}, "on"]}`), "flags.f.targeting.if[0].$ref"}, {flag(`{"$ref": 1}`), "flags.f.targeting.$ref"},
		{flag(`{"if": [true, "onn"]}`), "flags.f.targeting.if[1]"}, {flag(`{"if": [true, "on", "offf"]}`), "flags.f.targeting.if[2]"},
		{flag(`{"if": [true, "on"], "or": []}`), "flags.f.targeting"}, {flag(`{"$ref": "e"}`), "flags.f.targeting.$ref"},
		{flag(`{"fractional": [["on", 1.5]]}`), "flags.f.targeting.fractional[0][1]"}, {flag(`{"fractional": [["on", -1], ["off", 2]]}`), "flags.f.targeting.fractional[0][1]"},
		{flag(`{"fractional": [["on", 2147483647], ["off", 1]]}`), "flags.f.targeting.fractional"}, {flag(`{"fractional": [["on", 0]]}`), "flags.f.targeting.fractional"},
		{flag(`{"fractional": []}`), "flags.f.targeting.fractional"}, {flag(`{"fractional": [["on", 1, 2]]}`), "flags.f.targeting.fractional[0]"},
		{flag(`{"fractional": [["no", 1]]}`), "flags.f.targeting.fractional[0][0]"}, {flag(`{"fractional": [{"var": "x"}, "on"]}`), "flags.f.targeting.fractional[1]"},
		{flag(`{"fractional": ["rollout-7", ["on", 1]]}`), "flags.f.targeting.fractional[0]"}, {flag(`{"fractional": [null, ["on", 1]]}`), "flags.f.targeting.fractional[0]"},
		{flag(`{"if": [{"starts_with": ["a"]}, "on"]}`), "flags.f.targeting.if[0].starts_with"},
		{flag(`{"if": [{"starts_with": [{"var": "x"}, 7]}, "on"]}`), "flags.f.targeting.if[0].starts_with[1]"},
		{flag(`{"if": [{"ends_with": [true, {"var": "x"}]}, "on"]}`), "flags.f.targeting.if[0].ends_with[0]"},
		{flag(`{"if": [{"var": "$flagd.time"}, "on"]}`), "flags.f.targeting.if[0].var"}, {flag(`{"if": [{"var": ["$flagd.flagKey.x", 1]}, "on"]}`), "flags.f.targeting.if[0].var"},
		{flag(`{"if": [{"sem_ver": [{"var": "v"}, "=="  , "1.0.0"]}, "on"]}`), "flags.f.targeting.if[0].sem_ver[1]"},
		{flag(`{"if": [{"sem_ver": [{"var": "v"}, "=", "1.x"]}, "on"]}`), "flags.f.targeting.if[0].sem_ver[2]"},
		{flag(`{"if": [{"sem_ver": [{"var": "v"}, "="]}, "on"]}`), "flags.f.targeting.if[0].sem_ver"},
		{flag(`{"or": [` + strings.Repeat(`{"var": "x"},`, maxNodes/2) + `1]}`), "flags.f.targeting"},
		{strings.Replace(flag(`{"or": [{"$ref": "e"}, {"$ref": "e"}, {"$ref": "e"}]}`), `"e": true`,
			`"e": {"or": [`+strings.Repeat(`{"!": {"var": "x"}},`, 300)+`1]}`, 1), "flags.f.targeting"},
		{flag(`{"if": [{"==": [{"var": "x", "var": "y"}, 1]}, "on"]}`), "flags.f.targeting.if[0].==[0].var"},
	} {
		wantRefused(t, test.document, test.path, false)
		if set, err := Load([]byte(test.document), LoadOptions{Lenient: true}); err != nil || len(set.Notes()) == 0 {
			t.Errorf("lenient loading of %s: %v, or no note", test.document, err)
		}
	}
	for _, options := range []LoadOptions{{Bucketing: 1}, {Bucketing: 4}, {Bucketing: -2}, {Format: 7}} {
		if _, err := Load([]byte(`{"flags": {}}`), options); err == nil {
			t.Errorf("took %+v", options)
		}
		if _, err := New(Options{Load: options}); err == nil {
			t.Errorf("a store took %+v", options)
		}
	}
}

func wantRefused(t *testing.T, document, path string, lenient bool) {
	t.Helper()
	_, err := Load([]byte(document), LoadOptions{Lenient: lenient})
	var refused *DocumentError
	if !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), "flags: document refused: ") {
		t.Errorf("%s: %v", document, err)
		return
	}
	paths := []string{}
	for _, p := range refused.Problems {
		if p.Path == path {
			return
		}
		paths = append(paths, p.String())
	}
	t.Errorf("%.200s: no problem at %s but %q", document, path, paths)
}

func TestLimitsOfDocuments(t *testing.T) {
	flags := make([]string, maxFlags+1)
	for i := range flags {
		flags[i] = fmt.Sprintf(`"f%d": {"state": "ENABLED", "variants": {"a": 1}}`, i)
	}
	wantRefused(t, `{"flags": {`+strings.Join(flags, ",")+`}}`, "flags", false)
	mustLoad(t, `{"flags": {`+strings.Join(flags[1:], ",")+`}}`, LoadOptions{})
	wantRefused(t, `{"flags": {}, "x": "`+strings.Repeat("x", maxDocument)+`"}`, "", false)
	wantRefused(t, `{"flags": {}, "x": `+strings.Repeat("[", maxDepth)+strings.Repeat("]", maxDepth)+`}`, "", false)
	wantRefused(t, `{"flags": {}, "x": [0`+strings.Repeat(",0", maxValues)+`]}`, "", false)
	many := strings.Replace(strings.Join(flags[:200], ","), "ENABLED", "NO", -1)
	_, err := Load([]byte(`{"flags": {`+many+`}}`), LoadOptions{})
	var refused *DocumentError
	if !errors.As(err, &refused) || len(refused.Problems) != maxListed || len(err.Error()) > 2000 {
		t.Errorf("%v", err)
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add([]byte(evaluationTable), "rule", "a@shop.example")
	f.Add([]byte(benchmarked), "targeted", "pro")
	f.Add([]byte(`{"flags": {"f": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"map": [{"var": ""}, {"cat": [{"var": ""}]}]}}}}`), "f", "x")
	hostile := cyclic()
	f.Fuzz(func(t *testing.T, document []byte, key, text string) {
		for _, options := range []LoadOptions{{}, {Lenient: true, Bucketing: 3}, {Format: Tether}} {
			set, err := Load(document, options)
			if err != nil {
				continue
			}
			for _, attributes := range []Attributes{nil, {TargetingKey: text, "email": text, "plan": text, "result": text}, hostile} {
				for _, key := range append(set.Keys(), key) {
					if d := set.BoolDetails(attributes, key, true); d.Message == "the evaluation panicked" {
						t.Fatalf("%s panics for %v", document, key)
					}
					set.Object(attributes, key, nil)
					set.Explain(attributes, key)
				}
			}
			if changed := set.Changed(set); len(changed) > 0 {
				t.Fatal("a set differs from itself")
			}
		}
	})
}
