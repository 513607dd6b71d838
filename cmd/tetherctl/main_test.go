package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const document = `{
  "schema": 1, "document": "shop", "version": 1,
  "defaults": {"call": {"retryPolicy": {"maxAttempts": 3}}},
  "rules": [
    {"name": "search", "match": {"host": "api.example.com", "path": "/search"}, "call": {"timeout": "1s"}},
    {"name": "stock", "match": {"host": "api.example.com", "path": "/stock"}, "call": {"maxWait": "5s"}}
  ]
}`

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "document.json")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func validating(test, name string) []string {
	if strings.HasSuffix(test, "for a release") {
		return []string{"validate", "-for", "v0.1", name}
	}
	return []string{"validate", name}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name, content string
		status        int
		says          []string
	}{
		{"valid", document, 0, []string{"shop version 1 is valid"}},
		{"a wrong duration", strings.Replace(document, `"1s"`, `"fast"`, 1), 1,
			[]string{":5:", "rules[0].call.timeout", `"fast" is not a duration`}},
		{"two mistakes", strings.NewReplacer(`"1s"`, `"fast"`, "3}", "0}").Replace(document), 1,
			[]string{":3:", "maxAttempts", ":5:"}},
		{"not JSON", "hello", 1, []string{":1:"}},
		{"empty", "", 1, []string{":1:"}},
		{"not JSON, for a release", "hello", 1, []string{":1:"}},
		{"unknown member", strings.Replace(document, `"timeout"`, `"timeuot"`, 1), 1, []string{":5: rules[0].call.timeuot: clients will ignore it"}},
		{"too large", strings.Repeat(" ", 1<<20) + document, 1,
			[]string{"document.json: clients will refuse: has more than 1048576 bytes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if status := run(validating(test.name, file(t, test.content)), &out, &out); status != test.status {
				t.Errorf("exit status %d, want %d\n%s", status, test.status, &out)
			}
			for _, want := range test.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, &out)
				}
			}
		})
	}
}

func TestDiff(t *testing.T) {
	changed := strings.NewReplacer(`"version": 1`, `"version": 2`, `"maxAttempts": 3`, `"maxAttempts": 1`,
		`"1s"`, `"1500ms"`, `, "call": {"maxWait": "5s"}`, "").Replace(document)
	var out, errs bytes.Buffer
	if status := run([]string{"diff", file(t, document), file(t, changed)}, &out, &errs); status != 0 {
		t.Fatal(status, errs.String())
	}
	want := `all calls: attempts a call: falls from 3 to 1
rule search: the call timeout: rises from 1s to 1.5s
rule stock: the longest wait: no longer set (was 5s)
version: rises from 1 to 2
`
	if out.String() != want {
		t.Errorf("it says\n%swant\n%s", &out, want)
	}
	out.Reset()
	if run([]string{"diff", file(t, document), file(t, document)}, &out, &errs); out.String() != "nothing changes\n" {
		t.Errorf("no change is told as %q", &out)
	}
}

// TestDiffOfStages: the growth of a stage, and what it changes, are told by its name.
func TestDiffOfStages(t *testing.T) {
	before := `{"schema": 1, "document": "shop", "version": 1, "stages": [{"name": "slow", "percent": 10,
		"patch": {"rules": [{"name": "r", "match": {}, "call": {"timeout": "2s"}}]}}]}`
	after := strings.NewReplacer(`"version": 1`, `"version": 2`, `10`, `50`, `"2s"`, `"3s"`).Replace(before)
	var out, errs bytes.Buffer
	if status := run([]string{"diff", file(t, before), file(t, after)}, &out, &errs); status != 0 {
		t.Fatal(status, errs.String())
	}
	want := `stage slow: patch.rules[r].call.timeout: rises from 2s to 3s
stage slow: percent: rises from 10 to 50
version: rises from 1 to 2
`
	if out.String() != want {
		t.Errorf("it says\n%swant\n%s", &out, want)
	}
	out.Reset()
	wrong := strings.Replace(before, `"rules"`, `"kill": [], "rules"`, 1)
	if status := run([]string{"validate", file(t, wrong)}, &out, &out); status != 1 ||
		!strings.Contains(out.String(), "stages[0].patch.kill") {
		t.Errorf("exit status %d: %s", status, &out)
	}
}

// TestDiffHidesNothing: whatever two documents differ in is told: which of two rules comes last, each of two kills of
// one name, every digit.
func TestDiffHidesNothing(t *testing.T) {
	rule := func(name, timeout string) string {
		return `{"name": "` + name + `", "match": {}, "call": {"timeout": "` + timeout + `"}}`
	}
	kill := func(host string) string {
		return `{"name": "inc", "match": {"host": "` + host + `"}, "until": "2100-01-01T00:00:00Z"}`
	}
	for _, test := range []struct{ name, before, after, says string }{
		{"rules in another order", `"rules": [` + rule("a", "1s") + `, ` + rule("b", "2s") + `]`,
			`"rules": [` + rule("b", "2s") + `, ` + rule("a", "1s") + `]`, "rules: their order changes from a, b to b, a\n"},
		{"one of two kills of a name", `"kill": [` + kill("a.example") + `, ` + kill("b.example") + `]`,
			`"kill": [` + kill("b.example") + `]`, "a.example"},
		{"a name that is another's number", `"kill": [` + strings.Replace(kill("a.example"), "inc", "1", 1) + `, ` +
			strings.Replace(kill("b.example"), `"name": "inc", `, "", 1) + `]`,
			`"kill": [` + strings.Replace(kill("b.example"), `"name": "inc", `, "", 1) + `]`, "a.example"},
		{"stages in another order", `"stages": [{"name": "a", "patch": {}, "percent": 1}, {"name": "b", "patch": {}, "percent": 1}]`,
			`"stages": [{"name": "b", "patch": {}, "percent": 1}, {"name": "a", "patch": {}, "percent": 1}]`, "stages: their order changes"},
		{"a large number", `"app": {"n": 9007199254740992}`, `"app": {"n": 9007199254740993}`, "9007199254740993"},
		{"an empty text", `"app": {"motto": ""}`, `"app": {}`, "app.motto"},
		{"a rule more", `"rules": [` + rule("a", "1s") + `]`, `"rules": [` + rule("b", "2s") + `, ` + rule("a", "1s") + `]`,
			"rule b: the call timeout: now 2s\nrule b: name: now b\nversion: rises from 1 to 2\n"},
	} {
		var out, errs bytes.Buffer
		text := func(version int, member string) string {
			return file(t, fmt.Sprintf(`{"schema": 1, "document": "shop", "version": %d, %s}`, version, member))
		}
		if status := run([]string{"diff", text(1, test.before), text(2, test.after)}, &out, &errs); status != 0 {
			t.Fatal(status, errs.String())
		}
		if !strings.Contains(out.String(), test.says) || test.name == "a rule more" && out.String() != test.says {
			t.Errorf("%s: it says\n%s", test.name, &out)
		}
		out.Reset()
		if run([]string{"diff", text(1, test.before), text(1, test.before)}, &out, &errs); out.String() != "nothing changes\n" {
			t.Errorf("%s: no change is told as\n%s", test.name, &out)
		}
	}
}

// TestHugeFile: of a file that is far too long no more than a document's length is read.
func TestHugeFile(t *testing.T) {
	name := file(t, "")
	if err := os.Truncate(name, 100<<20); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"validate", "serve", "verify -ring", "flags explain", "rotate", "sign -key a="} {
		var out bytes.Buffer
		args := strings.Fields(command)
		if strings.HasSuffix(command, "=") {
			args[len(args)-1] += name
		} else {
			args = append(args, name)
		}
		if command == "flags explain" || command == "sign -key a=" {
			args = append(args, name)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		status := run(args, &out, &out)
		runtime.ReadMemStats(&after)
		if read := after.TotalAlloc - before.TotalAlloc; status == 0 || read > 30<<20 || out.Len() > 2000 {
			t.Errorf("%s: exit status %d, %d MiB, says %.200s", command, status, read>>20, &out)
		}
	}
}

func TestUsage(t *testing.T) {
	var out bytes.Buffer
	for _, args := range [][]string{nil, {"validate"}, {"diff", "a"}, {"serve"}, {"validate", "no such file"}} {
		if status := run(args, &out, &out); status != 2 {
			t.Errorf("%v: exit status %d, want 2", args, status)
		}
	}
}
