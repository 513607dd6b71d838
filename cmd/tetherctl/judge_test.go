package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestValidateJudgesAsClients: clients' refusals and omissions are an exit status of 1, with line and path.
func TestValidateJudgesAsClients(t *testing.T) {
	const head = "{\"schema\": 1, \"document\": \"shop\", \"version\": 1, \"expires\": \"2099-01-01T00:00:00Z\",\n"
	soon := time.Now().Add(30*time.Minute + 20*time.Second).UTC().Format(time.RFC3339)
	for _, test := range []struct {
		name, content string
		status        int
		out, errs     string
	}{
		{"no version", "{\"schema\": 1,\n\"document\": \"shop\"}", 1, "",
			":1: version: clients will refuse: the document has no name or no version (write a version from 1 up)"},
		{"no name", `{"schema": 1, "version": 1}`, 1, "", ":1: document: clients will refuse"},
		{"expired", `{"schema": 1, "document": "shop", "version": 1, "expires": "2020-01-01T00:00:00Z"}`, 1, "",
			":1: expires: clients will refuse: the document has expired at 2020"},
		{"a skipped rule", head + "\"rules\": [\n{\"match\": {\"hosst\": \"a.example\"}}]}", 1, "",
			":3: rules[0].match.hosst: clients will skip rules[0]: "},
		{"a kill without match", head + `"kill": [` + "\n" + `{"until": "2099-01-01T00:00:00Z"}]}`, 1, "",
			":3: kill[0].match: clients will skip kill[0]: is missing"},
		{"a bold value", head + `"defaults": {"call": {"retryPolicy":` + "\n" + `{"maxAttempts": 50}}}}`, 0, "is valid",
			":3: defaults.call.retryPolicy.maxAttempts: clients will clamp 50 to 3"},
		{"a kill of everything", head + `"kill": [{"name": "inc", "match": {}, "reason": "x", "until": "` + soon + `"}]}`, 0,
			"stops every call to every host for 30 min (kill inc)\n", "kill[0].match: warning: is empty: it stops every call"},
		{"a kill that is over", head + `"kill": [{"match": {"host": "a.example"}, "until": "2020-01-01T00:00:00Z"}]}`, 0,
			"is valid", "kill[0].until: warning: is over: the kill does nothing"},
		{"an audience", head + `"audience": {"environment": "staging"}}`, 0,
			`reaches only clients whose audience has environment "staging"`, ""},
		{"a whole stage", head + `"stages": [{"name": "s", "percent": 100, "patch": {}}]}`, 0,
			"reaches every client that it selects (stage s, 100 %)", ""},
		{"a URL as host", head + `"rules": [{"match": {"host": "https://a.example"}}]}`, 1, "",
			`clients will skip rules[0]: is a URL, not a host (write "api.example.com", "*.example.com" or ` +
				`"api.example.com:8443"; the URL's path goes into "path")` + "\n"},
		{"a member by a wrong name", head + `"rulse": []}`, 1, "",
			":2: rulse: clients will ignore it: not known to this version (did you mean \"rules\"?)\n"},
		{"a route", head + `"defaults": {"call": {"route": {"flag": "f", "to": {"on": "https://b.example"}}}}, "flags":
			{"flags": {"f": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"}}}}`, 0,
			"is valid",
			"clients will clamp https://b.example to no route unless their own bounds allow more (it is not in Bounds.Routes)"},
		{"a trailing comma", head + `}`, 1, "",
			":1: clients will refuse: not JSON: a comma stands before '}' (remove the comma)"},
		{"a byte order mark", "\ufeff" + document, 1, "",
			":1: clients will refuse: not JSON: it begins with a byte order mark"},
		{"two documents", document + "\n" + document, 1, "",
			":9: clients will refuse: not JSON: a second document follows"},
		{"an empty file", "", 1, "", ":1: clients will refuse: not JSON: it is empty"},
		{"two megabytes", strings.Repeat(" ", 2<<20), 1, "", "clients will refuse: has more than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			status := run([]string{"validate", file(t, test.content)}, &out, &errs)
			if status != test.status || !strings.Contains(out.String(), test.out) || !strings.Contains(errs.String(), test.errs) {
				t.Errorf("exit status %d\nstdout: %s\nstderr: %s\nwant %d, %q, %q", status, &out, &errs, test.status,
					test.out, test.errs)
			}
			if status != 0 && strings.Contains(out.String(), "is valid") {
				t.Error("it is called valid")
			}
		})
	}
}

// TestAllowUnknown: members for newer clients are told, and no error; a rule that is skipped stays one.
func TestAllowUnknown(t *testing.T) {
	newer := strings.Replace(document, `"timeout"`, `"timeuot"`, 1)
	skipped := strings.Replace(document, `"path"`, `"paht"`, 1)
	var out, errs bytes.Buffer
	if status := run([]string{"validate", "-allow-unknown", file(t, newer)}, &out, &errs); status != 0 ||
		!strings.Contains(errs.String(), "rules[0].call.timeuot") {
		t.Errorf("exit status %d\n%s", status, &errs)
	}
	if status := run([]string{"validate", "-allow-unknown", file(t, skipped)}, &out, &errs); status != 1 {
		t.Errorf("a skipped rule: exit status %d\n%s", status, &errs)
	}
}

// TestSignAndVerifyJudgeAsClients: sign makes no signature for a document that clients don't take whole.
func TestSignAndVerifyJudgeAsClients(t *testing.T) {
	d, _ := newDesk(t)
	d.put("unversioned.json", `{"schema": 1, "document": "shop"}`)
	d.put("skips.json", strings.Replace(document, `"path"`, `"paht"`, 1))
	d.put("newer.json", strings.Replace(document, `"timeout"`, `"timeuot"`, 1))
	for _, name := range []string{"unversioned", "skips", "newer"} {
		if got := d.do(1, "", "sign -key a=@a.pem @"+name+".json"); got != "" {
			t.Errorf("%s was signed", name)
		}
	}
	d.do(0, "newer.signed.json", "sign -allow-unknown -ring @ring1.json -key a=@a.pem -key b=@b.pem @newer.json")
	d.do(1, "", "verify -ring @ring1.json @newer.signed.json")
	d.says("(payload):5: rules[0].call.timeuot")
	d.do(0, "", "verify -ring @ring1.json -allow-unknown @newer.signed.json")
}

// TestEnvelopesAreRead: validate and diff read what is signed, and say so of what is no document.
func TestEnvelopesAreRead(t *testing.T) {
	d, _ := newDesk(t)
	d.do(0, "v1.json", "sign -ring @ring1.json -key a=@a.pem -key b=@b.pem @shop.json")
	d.do(0, "half.json", "sign -ring @ring1.json -key a=@a.pem @shop.json")
	d.put("shop2.json", strings.Replace(document, `"version": 1`, `"version": 2`, 1))
	if got := d.do(0, "", "validate @v1.json"); !strings.Contains(got, "shop version 1 is valid") {
		t.Error(got)
	}
	if got := d.do(0, "", "diff @v1.json @shop2.json"); got != "version: rises from 1 to 2" {
		t.Error(got)
	}
	d.do(1, "", "validate @half.json")
	d.says("clients will refuse: too few valid signatures")
	d.do(1, "", "validate @ring1.json")
	d.says("it is a key ring, not a document")
	d.do(2, "", "validate "+d.dir)
	d.says("is a directory")
}

// TestDiffJudgesAsClients: a client that has the old document must take the new one.
func TestDiffJudgesAsClients(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(document, old, new, 1) }
	for _, test := range []struct{ name, after, errs string }{
		{"the same version", with(`"1s"`, `"2s"`), ":2: version: clients will refuse: the version doesn't rise"},
		{"a lower version", with(`"version": 1`, `"version": 0`), "version: clients will refuse"},
		{"another name", with(`"shop", "version": 1`, `"till", "version": 2`), ":2: document: clients will refuse"},
	} {
		var out, errs bytes.Buffer
		if status := run([]string{"diff", file(t, document), file(t, test.after)}, &out, &errs); status != 1 ||
			!strings.Contains(errs.String(), test.errs) {
			t.Errorf("%s: exit status %d\n%s", test.name, status, &errs)
		}
	}
	until := time.Now().Add(30*time.Minute + 20*time.Second).UTC().Format(time.RFC3339)
	after := with(`"version": 1,`, fmt.Sprintf(`"version": 2, "kill": [{"name": "inc", "match": {}, "until": %q}],`, until))
	var out, errs bytes.Buffer
	if status := run([]string{"diff", file(t, document), file(t, after)}, &out, &errs); status != 0 ||
		!strings.HasPrefix(out.String(), "stops every call to every host for 30 min (kill inc)\n") {
		t.Errorf("exit status %d\n%s%s", status, &out, &errs)
	}
}

// TestStandardInput: - is the standard input.
func TestStandardInput(t *testing.T) {
	in, err := os.Open(file(t, document))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	was := os.Stdin
	defer func() { os.Stdin = was }()
	os.Stdin = in
	var out bytes.Buffer
	if status := run([]string{"validate", "-"}, &out, &out); status != 0 {
		t.Errorf("exit status %d\n%s", status, &out)
	}
}
