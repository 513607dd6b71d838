package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const flagd = `{"flags": {
	"checkout-v2": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"if": [{"==": [{"var": "country"}, "SE"]}, {"fractional": [["on", 10], ["off", 90]]}]}},
	"theme": {"state": "ENABLED", "variants": {"a": "A", "b": "B"}, "defaultVariant": "a",
		"targeting": {"fractional": [["a", 1], ["b", 1]]}},
	"sleeping": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"}}}`

// tetherctl runs a command and returns what it printed.
func tetherctl(args ...string) (status int, printed string) {
	var out bytes.Buffer
	status = run(args, &out, &out)
	return status, out.String()
}

func TestFlagsExplain(t *testing.T) {
	ours := `{"schema": 1, "document": "d", "version": 1, "flags": ` + flagd + `}`
	for _, c := range []struct {
		name, document string
		args           []string
		status         int
		says           []string
	}{
		{"a rollout", flagd, []string{"checkout-v2", "-context", `{"targetingKey": "user-17", "country": "SE"}`}, 0,
			[]string{"== = true", `var country = "SE"`, "place 45 of 100", `below 100, chosen = "off"`,
				"checkout-v2 is false, variant off: TARGETING_MATCH"}},
		{"within tether's document", ours, []string{"checkout-v2"}, 0, []string{"var country = null", "variant off: DEFAULT"}},
		{"a text", flagd, []string{"theme", "-context", `{"targetingKey": "u"}`}, 0, []string{`theme is "`}},
		{"disabled", flagd, []string{"sleeping"}, 0, []string{"the caller's default: DISABLED"}},
		{"no such flag", flagd, []string{"gone"}, 0, []string{"the caller's default: ERROR, FLAG_NOT_FOUND"}},
		{"a refused document", strings.Replace(flagd, `"=="`, `"==="`, 1) + "x", []string{"theme"}, 1, []string{"refused", "not JSON"}},
		{"a bad rule", strings.Replace(flagd, `"=="`, `"is"`, 1), []string{"theme"}, 1, []string{"line 3", "is not an operator"}},
		{"a bad context", flagd, []string{"theme", "-context", "[]"}, 2, []string{"-context is no JSON object"}},
		{"no key", flagd, nil, 2, []string{"usage"}},
		{"too many keys", flagd, []string{"a", "b"}, 2, []string{"usage"}},
		{"an unknown option", flagd, []string{"a", "-x"}, 2, []string{"usage"}},
	} {
		status, printed := tetherctl(append([]string{"flags", "explain", file(t, c.document)}, c.args...)...)
		if status != c.status {
			t.Errorf("%s: exit status %d, want %d\n%s", c.name, status, c.status, printed)
		}
		for _, want := range c.says {
			if !strings.Contains(printed, want) {
				t.Errorf("%s: it doesn't say %q:\n%s", c.name, want, printed)
			}
		}
	}
	if status, _ := tetherctl("flags"); status != 2 {
		t.Errorf("flags alone: exit status %d", status)
	}
}

func TestFlagsSimulate(t *testing.T) {
	document := file(t, flagd)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("bob\n\n alice\neve\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		want   map[string]int
	}{
		{"checkout-v2 -n 100000", 0, map[string]int{"off": 100000}},
		{`checkout-v2 -context {"country":"SE"} -n 100000`, 0, map[string]int{"off": 89830, "on": 10170}},
		{"-n 1000 sleeping", 0, map[string]int{"(caller's default)": 1000}},
		{"gone -n 10", 0, map[string]int{"(error FLAG_NOT_FOUND)": 10}},
		{`theme -keys ` + keys, 0, map[string]int{"a": 1, "b": 2}},
		{"theme", 2, nil},
		{"theme -n 5 -keys " + keys, 2, nil},
		{"theme -n -5", 2, nil},
		{"theme -n 10000001", 2, nil},
		{"theme -keys /nowhere/at/all", 2, nil},
	} {
		args := append([]string{"flags", "simulate", document}, strings.Fields(c.args)...)
		if strings.HasPrefix(c.args, "-n") {
			args = []string{"flags", "simulate", "-n", "1000", document, "sleeping"}
		}
		status, printed := tetherctl(args...)
		if status != c.status {
			t.Errorf("%s: exit status %d, want %d\n%s", c.args, status, c.status, printed)
		}
		total := 0
		for name, n := range c.want {
			total += n
			if !strings.Contains(printed, fmt.Sprintf("%-20s %9d ", name, n)) {
				t.Errorf("%s: not %d of %s:\n%s", c.args, n, name, printed)
			}
		}
		if c.status == 0 && !strings.Contains(printed, fmt.Sprintf("%9d keys", total)) {
			t.Errorf("%s: not %d keys:\n%s", c.args, total, printed)
		}
	}
}
