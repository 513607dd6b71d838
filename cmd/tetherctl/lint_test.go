package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/policy"
)

func later(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// A document of the rest that is given: valid, and nothing to warn about but what the rest says.
func documentOf(rest string) string {
	return fmt.Sprintf(`{"schema": 1, "document": "shop", "version": 1, "expires": %q, %s}`, later(1000*time.Hour), rest)
}

func TestLint(t *testing.T) {
	settings := func(s string) string { return documentOf(`"defaults": {` + s + `}`) }
	for _, test := range []struct{ name, content, warns string }{
		{"nothing", documentOf(`"label": "calm"`), ""},
		{"polls", documentOf(`"pollInterval": "30s"`), "pollInterval: warning: 1000000 clients every 30s are 33333 requests a second"},
		{"polls that are few", documentOf(`"pollInterval": "60s"`), ""},
		{"for ever", `{"schema": 1, "document": "shop", "version": 1}`, "expires: warning: is missing"},
		{"soon over", fmt.Sprintf(`{"schema": 1, "document": "shop", "version": 1, "expires": %q}`, later(14*time.Minute)),
			"expires: warning: is less than three polls of 5m0s away"},
		{"retries without a budget", settings(`"target": {"retryBudget": {"ratio": 1}}`),
			"defaults.target.retryBudget.ratio: warning: is 1: retries without a budget, nearly: a failing server gets 100 % more load"},
		{"attempts", settings(`"call": {"retryPolicy": {"maxAttempts": 6}}`), "maxAttempts: warning: is 6"},
		{"hasty", settings(`"call": {"retryPolicy": {"initialBackoff": "0.01s"}}`), "initialBackoff: warning: is 10ms"},
		{"short", settings(`"call": {"attemptTimeout": "0.05s"}`), "attemptTimeout: warning: is 50ms"},
		{"no use", settings(`"call": {"attemptTimeout": "2s", "timeout": "2s"}`), "is not below the call's timeout"},
		{"hedges", settings(`"call": {"hedgingPolicy": {"hedgingDelay": "0.001s"}}`), "hedgingDelay: warning: is 1ms"},
		{"unpaced", settings(`"target": {"pacing": {"mode": "off"}}`), "pacing.mode: warning: is off"},
		{"forced", settings(`"target": {"circuitBreaker": {"mode": "forced-open"}}`), "circuitBreaker.mode: warning: is forced-open"},
		{"late", settings(`"target": {"circuitBreaker": {"maxOpenTime": "60s"}}`), "maxOpenTime: warning: is 1m0s"},
		{"in a rule", documentOf(`"rules": [{"name": "a", "match": {"host": "a.example.com"}, "target": {"retryBudget": {"ratio": 0.5}}}]`),
			"rules[0].target.retryBudget.ratio: warning: is 0.5"},
		{"work", documentOf(`"schedules": {"sync": {"every": "30s"}}`), `schedules["sync"].every: warning: 1000000 clients every 30s`},
		{"a kill of all", documentOf(fmt.Sprintf(`"kill": [{"match": {}, "until": %q, "reason": "x"}]`, later(time.Hour))),
			"kill[0].match: warning: is empty"},
		{"a kill that is over", documentOf(`"kill": [{"match": {"host": "a.example.com"}, "until": "2020-01-01T00:00:00Z", "reason": "x"}]`),
			"kill[0].until: warning: is over"},
		{"a long kill", documentOf(fmt.Sprintf(`"kill": [{"match": {"host": "a.example.com"}, "until": %q, "reason": "x"}]`, later(30*time.Hour))),
			"kill[0].until: warning: is more than 24 h away"},
		{"a kill without a reason", documentOf(fmt.Sprintf(`"kill": [{"match": {"host": "a.example.com"}, "until": %q}]`, later(time.Hour))),
			"kill[0].reason: warning: is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := file(t, test.content)
			for _, strict := range []bool{false, true} {
				var out bytes.Buffer
				args, want := []string{"validate", name}, 0
				if strict {
					args = []string{"validate", "-strict", name}
					if test.warns != "" {
						want = 1
					}
				}
				if status := run(args, &out, &out); status != want {
					t.Errorf("exit status %d, want %d", status, want)
				}
				if n := strings.Count(out.String(), "warning"); n != min(1, len(test.warns)) || !strings.Contains(out.String(), test.warns) {
					t.Errorf("want the one warning %q, have:\n%s", test.warns, &out)
				}
			}
		})
	}
}

// What fewer clients do together hurts less.
func TestLintForFewClients(t *testing.T) {
	var out bytes.Buffer
	name := file(t, documentOf(`"pollInterval": "30s"`))
	if status := run([]string{"validate", "-clients", "1000", name}, &out, &out); status != 0 || strings.Contains(out.String(), "warning") {
		t.Errorf("exit status %d\n%s", status, &out)
	}
	if status := run([]string{"validate", "-clients", "0", name}, &out, &out); status != 2 {
		t.Errorf("exit status %d for no clients", status)
	}
}

// A release that knew less of everything: no budget, two attempts, no rules by method.
const lesser = `{"type": "object", "required": ["schema", "version"], "properties": {
  "schema": {"const": 1}, "document": {"type": "string", "minLength": 2, "maxLength": 9, "pattern": "^[a-z]+$"},
  "version": {"type": "integer", "minimum": 0, "maximum": 100},
  "audience": {"type": "object", "additionalProperties": {"type": "string"}},
  "kill": {"type": "array", "maxItems": 1, "minItems": 1, "items": {"$ref": "#/$defs/kill"}},
  "label": {"enum": ["a", "b"]}, "app": {},
  "nudge": {"anyOf": [{"type": "string"}, {"type": "array"}]}},
  "$defs": {"kill": {"type": "object", "properties": {"match": {"type": "object",
    "properties": {"host": {"type": "string"}}, "additionalProperties": false}}}}}`

func TestOlder(t *testing.T) {
	var root schema
	if err := json.Unmarshal([]byte(lesser), &root); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ document, path, text string }{
		{`{"schema": 1, "version": 7, "document": "shop", "audience": {"a": "b"}, "label": "a", "app": {"x": [1]}, "nudge": []}`, "", ""},
		{`{"schema": 2, "version": 7}`, "schema", "value"},
		{`{"schema": 1}`, "", "has no version"},
		{`{"schema": 1, "version": 7.5}`, "version", "type"},
		{`{"schema": 1, "version": -1}`, "version", "outside"},
		{`{"schema": 1, "version": 101}`, "version", "outside"},
		{`{"schema": 1, "version": 7, "document": "x"}`, "document", "written"},
		{`{"schema": 1, "version": 7, "document": "abcdefghij"}`, "document", "written"},
		{`{"schema": 1, "version": 7, "document": "X1"}`, "document", "written"},
		{`{"schema": 1, "version": 7, "document": true}`, "document", "type"},
		{`{"schema": 1, "version": 7, "document": null}`, "document", "type"},
		{`{"schema": 1, "version": 7, "audience": {"a": 1}}`, "audience.a", "type"},
		{`{"schema": 1, "version": 7, "label": "c"}`, "label", "value"},
		{`{"schema": 1, "version": 7, "nudge": 3}`, "nudge", "none"},
		{`{"schema": 1, "version": 7, "kill": []}`, "kill", "number of items"},
		{`{"schema": 1, "version": 7, "kill": [{}, {}]}`, "kill", "number of items"},
		{`{"schema": 1, "version": 7, "rules": []}`, "rules", "ignore"},
		{`{"schema": 1, "version": 7, "kill": [{"why": 1}]}`, "kill[0].why", "ignore"},
		{`{"schema": 1, "version": 7, "kill": [{"match": {"path": "/x"}}]}`, "kill[0].match.path", "skip"},
	} {
		var value any
		if err := json.Unmarshal([]byte(test.document), &value); err != nil {
			t.Fatal(err)
		}
		w := walk{root: &root}
		w.value(&root, value, "")
		if test.text == "" {
			if len(w.found) != 0 {
				t.Errorf("%s: %v", test.document, w.found)
			}
			continue
		}
		refused := !strings.Contains("ignore skip", test.text)
		if len(w.found) != 1 || w.found[0].path != test.path || !strings.Contains(w.found[0].text, test.text) || w.found[0].refused != refused {
			t.Errorf("%s: %+v, want %s at %q", test.document, w.found, test.text, test.path)
		}
	}
}

// The walk understands every keyword of the schemas that are kept and of today's.
func TestOlderKnowsItsKeywords(t *testing.T) {
	known := []string{"$schema", "title", "description", "examples", "format", "type", "required", "properties", "const",
		"additionalProperties", "minimum", "maximum", "$ref", "items", "maxItems", "minItems", "$defs", "pattern", "anyOf", "enum", "minLength", "maxLength"}
	all := []string{policy.Schema()}
	for _, version := range versions() {
		data, err := schemas.ReadFile("schemas/" + version + ".json")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(data))
	}
	var look func(v any, names bool)
	look = func(v any, names bool) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				look(item, false)
			}
		case map[string]any:
			for name, value := range v {
				if !names && !slices.Contains(known, name) {
					t.Errorf("keyword %q", name)
				}
				look(value, !names && (name == "properties" || name == "$defs"))
			}
		}
	}
	for _, s := range all {
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			t.Fatal(err)
		}
		look(v, false)
	}
}

// Clients of today take what the newest release took: a member that was published stays.
func TestNothingKnownIsLost(t *testing.T) {
	var now, was map[string]any
	if err := json.Unmarshal([]byte(policy.Schema()), &now); err != nil {
		t.Fatal(err)
	}
	var look func(path string, now, was map[string]any)
	look = func(path string, now, was map[string]any) {
		for _, name := range slices.Sorted(maps.Keys(was)) {
			old, is := was[name].(map[string]any)
			if !is {
				continue
			}
			new, there := now[name].(map[string]any)
			if !there {
				t.Errorf("%s/%s is gone", path, name)
				continue
			}
			look(path+"/"+name, new, old)
		}
	}
	for _, version := range versions() {
		data, _ := schemas.ReadFile("schemas/" + version + ".json")
		if err := json.Unmarshal(data, &was); err != nil {
			t.Fatal(err)
		}
		look(version, now, was)
	}
}

func TestValidateForARelease(t *testing.T) {
	var out bytes.Buffer
	if status := run([]string{"validate", "-for", "v0.1", file(t, document)}, &out, &out); status != 0 || strings.Contains(out.String(), "clients of v0.1") {
		t.Errorf("exit status %d\n%s", status, &out)
	}
	out.Reset()
	newer := documentOf(`"moon": 1, "rules": [{"match": {"phase": "full"}}]`)
	if status := run([]string{"validate", "-for", "v0.1", file(t, newer)}, &out, &out); status != 1 ||
		!strings.Contains(out.String(), "moon: clients of v0.1: they don't know it, and ignore it") ||
		!strings.Contains(out.String(), "rules[0].match.phase: clients of v0.1: they don't know it, and skip") {
		t.Errorf("exit status %d\n%s", status, &out)
	}
	out.Reset()
	if status := run([]string{"validate", "-for", "v9", file(t, newer)}, &out, &out); status != 2 || !strings.Contains(out.String(), "there are: v0.1") {
		t.Errorf("exit status %d\n%s", status, &out)
	}
}
