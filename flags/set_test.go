package flags

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func mustLoad(t testing.TB, document string, options LoadOptions) *Set {
	t.Helper()
	set, err := Load([]byte(document), options)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const evaluationTable = `{
	"metadata": {"team": "shop", "rev": 7},
	"$evaluators": {"inside": {"ends_with": [{"var": "email"}, "@shop.example"]}, "broken": {"no_such": 1}},
	"flags": {
		"static": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"},
		"empty": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on", "targeting": {}},
		"null": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on", "targeting": null},
		"disabled": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on", "metadata": {"rev": 8}},
		"no-default": {"state": "ENABLED", "variants": {"on": true}},
		"null-default": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": null},
		"blank-default": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": ""},
		"bad-operator": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on", "targeting": {"unknown": 1}},
		"bad-ref": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on", "targeting": {"if": [{"$ref": "nobody"}, "on"]}},
		"bad-shared": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on", "targeting": {"if": [{"$ref": "broken"}, "on"]}},
		"text-rule": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on", "targeting": "on"},
		"rule": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
			"targeting": {"if": [{"$ref": "inside"}, "on", {"var": "result"}]}, "metadata": {"rev": 9}},
		"rule-no-default": {"state": "ENABLED", "variants": {"on": true}, "targeting": {"var": "result"}},
		"shorthand": {"state": "ENABLED", "variants": {"true": "yes", "false": "no", "1": "one", "1.5": "more"}, "defaultVariant": "false",
			"targeting": {"var": "result"}},
		"text": {"state": "ENABLED", "variants": {"a": "x"}, "defaultVariant": "a"},
		"int": {"state": "ENABLED", "variants": {"a": 3}, "defaultVariant": "a"},
		"float": {"state": "ENABLED", "variants": {"a": 3.14}, "defaultVariant": "a"},
		"large": {"state": "ENABLED", "variants": {"a": 9007199254740992}, "defaultVariant": "a"},
		"object": {"state": "ENABLED", "variants": {"a": {"x": [1, {"y": 2}]}}, "defaultVariant": "a"},
		"key": {"state": "ENABLED", "variants": {"key": true}, "targeting": {"var": "$flagd.flagKey"}}
	}
}`

func TestEvaluationTable(t *testing.T) {
	set := mustLoad(t, evaluationTable, LoadOptions{Lenient: true})
	result := func(v any) Attributes { return Attributes{"result": v} }
	for _, test := range []struct {
		key        string
		attributes Attributes
		value      bool
		variant    string
		reason     Reason
		code       ErrorCode
		rev        any
	}{
		{"missing", nil, true, "", Failed, FlagNotFound, nil},
		{"disabled", nil, true, "", Disabled, "", 8.0},
		{"static", nil, true, "on", Static, "", 7.0},
		{"empty", nil, true, "on", Static, "", 7.0},
		{"null", nil, true, "on", Static, "", 7.0},
		{"no-default", nil, true, "", Default, "", 7.0},
		{"null-default", nil, true, "", Default, "", 7.0},
		{"blank-default", nil, true, "", Default, "", 7.0},
		{"bad-operator", nil, true, "", Failed, ParseError, 7.0},
		{"bad-ref", nil, true, "", Failed, ParseError, 7.0},
		{"bad-shared", nil, true, "", Failed, ParseError, 7.0},
		{"text-rule", nil, true, "on", TargetingMatch, "", 7.0},
		{"rule", nil, false, "off", Default, "", 9.0},
		{"rule", Attributes{"email": "a@shop.example"}, true, "on", TargetingMatch, "", 9.0},
		{"rule", result("off"), false, "off", TargetingMatch, "", 9.0},
		{"rule", result("none"), true, "", Failed, General, 9.0},
		{"rule", result([]any{"on"}), true, "", Failed, General, 9.0},
		{"rule", result(map[string]any{}), true, "", Failed, General, 9.0},
		{"rule-no-default", nil, true, "", Default, "", 7.0},
		{"shorthand", result(true), true, "true", Failed, TypeMismatch, 7.0},
		{"key", nil, true, "key", TargetingMatch, "", 7.0},
		{"text", nil, true, "a", Failed, TypeMismatch, 7.0},
	} {
		got := set.BoolDetails(test.attributes, test.key, true)
		rev, _ := got.Metadata.Get("rev")
		if got.Value != test.value || got.Variant != test.variant || got.Reason != test.reason ||
			got.Code != test.code || rev != test.rev || (got.Code == "") != (got.Message == "") {
			t.Errorf("%s for %v: %+v, want %+v", test.key, test.attributes, got, test)
		}
		if set.Bool(test.attributes, test.key, true) != got.Value {
			t.Errorf("%s for %v: Bool and BoolDetails differ", test.key, test.attributes)
		}
	}
	if d := set.BoolDetails(nil, "missing", true); d.Metadata.Len() != 0 {
		t.Error("a flag that isn't there has metadata")
	}
	if d := set.BoolDetails(nil, "bad-ref", true); !strings.Contains(d.Message, `"nobody"`) {
		t.Errorf("the message doesn't name what isn't there: %s", d.Message)
	}
}

func TestTypes(t *testing.T) {
	set := mustLoad(t, evaluationTable, LoadOptions{Lenient: true})
	text := func(v any) string { return fmt.Sprint(v) }
	for _, test := range []struct{ got, want string }{
		{text(set.String(Attributes{"result": true}, "shorthand", "-")), "yes"},
		{text(set.String(Attributes{"result": 1}, "shorthand", "-")), "one"},
		{text(set.String(Attributes{"result": 1.5}, "shorthand", "-")), "more"},
		{text(set.String(nil, "int", "-")), "-"},
		{text(set.Int(nil, "int", -1)), "3"},
		{text(set.Float(nil, "int", -1)), "3"},
		{text(set.Int(nil, "float", -1)), "-1"},
		{text(set.IntDetails(nil, "float", -1).Code), "TYPE_MISMATCH"},
		{text(set.IntDetails(nil, "int", -1).Value), "3"},
		{text(set.Float(nil, "float", -1)), "3.14"},
		{text(set.FloatDetails(nil, "float", -1).Value), "3.14"},
		{text(set.Float(nil, "text", -1)), "-1"},
		{text(set.Int(nil, "large", -1)), "-1"},
		{text(set.StringDetails(nil, "text", "-").Value), "x"},
		{text(set.Object(nil, "object", nil)), "map[x:[1 map[y:2]]]"},
		{text(set.Object(nil, "text", nil)), "map[]"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
	set.Object(nil, "object", nil)["x"].([]any)[1].(map[string]any)["y"] = 3
	if got := set.Object(nil, "object", nil)["x"].([]any)[1].(map[string]any)["y"]; got != 2.0 {
		t.Errorf("whoever got an object changed the flag: %v", got)
	}
}

func TestContextOfFlagd(t *testing.T) {
	set := mustLoad(t, `{"flags": {"f": {"state": "ENABLED", "variants": {"f": 1, "x": 2}, "defaultVariant": "x",
		"targeting": {"if": [{"and": [
			{">": [{"var": "$flagd.timestamp"}, 946684800]}, {"==": [{"var": "$flagd.other"}, null]},
			{"==": [{"var": "$flagd.timestamp"}, {"var": "$flagd.timestamp"}]},
			{"!!": {"var": "$flagd"}}, {"==": [{"missing": ["$flagd.flagKey"]}, ""]},
			{"some": [[1], {"==": [{"var": "$flagd.flagKey"}, null]}]}]},
			{"var": "$flagd.flagKey"}]}}}}`, LoadOptions{Lenient: true})
	mine := Attributes{"$flagd": map[string]any{"flagKey": "x", "timestamp": 1, "other": 1}}
	if got := set.IntDetails(mine, "f", 0); got.Value != 1 {
		t.Errorf("%+v", got)
	}
}

func TestBothFormsOfFlags(t *testing.T) {
	set := mustLoad(t, `{"flags": [{"key": "b", "state": "ENABLED", "variants": {"x": 1}, "defaultVariant": "x"},
		{"key": "a", "state": "ENABLED", "variants": {"x": 2}, "defaultVariant": "x"}]}`, LoadOptions{})
	if got := set.Keys(); !reflect.DeepEqual(got, []string{"a", "b"}) || set.Int(nil, "a", 0) != 2 {
		t.Errorf("%v", got)
	}
	if len(set.Notes()) != 0 {
		t.Error(set.Notes())
	}
	var none Set
	if none.Bool(nil, "a", true) != true || len(none.Keys()) != 0 {
		t.Error("the zero Set has flags")
	}
}

func TestTetherDocument(t *testing.T) {
	const document = `{"schema": 1, "app": {"x": 1, "x": 2}, "flags": {"flags": {"f": {"state": "ENABLED",
		"variants": {"on": true, "off": false}, "defaultVariant": "on"}}},
		"flagSettings": {"bucketing": 3, "guards": {"f": {"minCalls": 50, "latch": "60s"}, "g": {}}, "other": 1}}`
	set := mustLoad(t, document, LoadOptions{Format: Tether})
	if !set.Bool(nil, "f", false) || set.bucketing != 3 || set.Guard("f").MinCalls != 50 || set.Guard("g") != (GuardPolicy{}) {
		t.Errorf("%+v", set)
	}
	if notes := set.Notes(); len(notes) != 2 || notes[0].Path != "flagSettings.other" || notes[1].Path != "flagSettings.guards.g" {
		t.Errorf("notes %v", notes)
	}
	if set := mustLoad(t, `{"schema": 1}`, LoadOptions{Format: Tether}); len(set.Keys()) != 0 {
		t.Error("flags out of nothing")
	}
	twice := strings.Replace(document, `"defaultVariant": "on"`, `"defaultVariant": "on", "targeting": {"if": [{"var": "a", "var": "b"}, "on"]}`, 1)
	set = mustLoad(t, twice, LoadOptions{Format: Tether, Lenient: true})
	if d := set.BoolDetails(nil, "f", true); d.Code != ParseError {
		t.Errorf("a rule with a member twice: %+v", d)
	}
	for _, refused := range []string{
		twice, strings.Replace(document, `"bucketing": 3`, `"bucketing": 4`, 1),
		strings.Replace(document, `"minCalls": 50`, `"minCalls": -1`, 1),
		strings.Replace(document, `"minCalls": 50`, `"minCalls": 0`, 1), strings.Replace(document, `"60s"`, `"0s"`, 1),
		strings.Replace(document, `"60s"`, `60`, 1),
		strings.Replace(document, `"flags": {"flags"`, `"flags": {"flags": {}, "flags"`, 1),
		strings.Replace(document, `"schema": 1`, `"flags": {"flags": {}}`, 1),
		strings.Replace(document, `"flags": {"flags": {"f"`, `"flags": {"wrong": {"f"`, 1),
		`{"flags": 1}`, `{"flagSettings": []}`,
	} {
		if _, err := Load([]byte(refused), LoadOptions{Format: Tether}); err == nil {
			t.Errorf("took %s", refused)
		}
	}
}

// TestStrictTakesWhatTheSchemaTakes: what is refused beside these is one step away.
func TestStrictTakesWhatTheSchemaTakes(t *testing.T) {
	set := mustLoad(t, `{"flags": {
		"safe": {"state": "ENABLED", "variants": {"low": -9007199254740991, "high": 9007199254740991}, "defaultVariant": "high"},
		"rule": {"state": "ENABLED", "variants": {"true": true, "1": false}, "targeting": {"if": [
			{"and": [{"starts_with": ["x7", {"var": "p"}]}, {"var": "$flagd"}, {"<": [0, {"var": "$flagd.timestamp"}]}, {"var": "$flagd.flagKey"}]},
			{"fractional": [{"cat": "seed"}, [true, 1]]}, 1]}}}}`, LoadOptions{})
	if len(set.Notes()) != 0 || set.Int(nil, "safe", 0) != 9007199254740991 ||
		!set.Bool(Attributes{"p": "x"}, "rule", false) || set.Bool(Attributes{"p": "y"}, "rule", true) {
		t.Errorf("%v", set.Notes())
	}
}
