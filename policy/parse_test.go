package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func ExampleParse() {
	cfg, notes, err := Parse([]byte(`{
		"schema": 1,
		"version": 7,
		"defaults": {"call": {"timeout": "2s", "retyrPolicy": {}}}
	}`))
	fmt.Println(cfg.Version, *cfg.Defaults.Call.Timeout, err)
	for _, note := range notes {
		fmt.Printf("%s: %s\n", note.Path, note.Text)
	}

	_, _, err = Parse([]byte(`{"schema": 1, "label": 7}`))
	fmt.Println(err)
	// Output:
	// 7 2s <nil>
	// defaults.call.retyrPolicy: not known to this version (did you mean "retryPolicy"?): ignored
	// tether: config refused: line 1: label: is a number, not a string: write a string
}

func ExampleDocument() {
	cfg := Document{
		Defaults: Settings{Call: CallSettings{Timeout: Ptr(2 * time.Second)}},
		Rules: []Rule{{
			Name:  "search",
			Match: Match{Host: "api.example.com", Path: "/v1/search"},
			Call:  CallSettings{RetryPolicy: &RetrySettings{MaxAttempts: Ptr(1)}},
		}},
	}
	document, err := json.MarshalIndent(cfg, "", "  ")
	fmt.Println(cfg.Validate(), err, string(document))
	// Output:
	// <nil> <nil> {
	//   "schema": 1,
	//   "defaults": {
	//     "call": {
	//       "timeout": "2s"
	//     }
	//   },
	//   "rules": [
	//     {
	//       "name": "search",
	//       "match": {
	//         "host": "api.example.com",
	//         "path": "/v1/search"
	//       },
	//       "call": {
	//         "retryPolicy": {
	//           "maxAttempts": 1
	//         }
	//       }
	//     }
	//   ]
	// }
}

func TestParseDocument(t *testing.T) {
	document, err := os.ReadFile("testdata/document.json")
	if err != nil {
		t.Fatal(err)
	}
	cfg, notes, err := Parse(document)
	if err != nil {
		t.Fatal(err)
	}
	var unknown []string
	for _, n := range notes {
		if n.Kind != NoteUnknown {
			t.Errorf("note %+v", n)
		}
		unknown = append(unknown, n.Path)
	}
	if len(unknown) > 0 {
		t.Errorf("unknown %q", unknown)
	}
	if cfg.Version != 42 || cfg.Audience["environment"] != "production" || len(cfg.Kill) != 1 ||
		*cfg.PollInterval != 5*time.Minute ||
		*cfg.Rules[0].Target.RateLimit.PerSecond != 5 || *cfg.Rules[0].Target.RateLimit.Burst != 10 || len(cfg.Rules) != 4 ||
		*cfg.Schedules["sync"].Every != 10*time.Minute ||
		*cfg.Schedules["nightly-upload"].Window != (DailyWindow{"01:00", "05:00"}) ||
		cfg.Rules[2].Call.Route.To["on"] != "https://checkout2.example.com" ||
		string(cfg.App) != `{"theme":"winter"}` ||
		!slices.Equal(cfg.Defaults.Call.RetryPolicy.RetryableStatusCodes, []StatusCode{429, 502,
			503, 504, 14}) {
		t.Errorf("read %+v", cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

// wrap puts members into the smallest document.
func wrap(members string) string { return `{"schema": 1, ` + members + `}` }

func TestParseRefusesTheImpossible(t *testing.T) {
	call := func(s string) string { return wrap(`"defaults": {"call": {` + s + `}}`) }
	retryPolicy := func(s string) string { return call(`"retryPolicy": {` + s + `}`) }
	target := func(s string) string { return wrap(`"defaults": {"target": {` + s + `}}`) }
	rule := func(s string) string { return wrap(`"rules": [{` + s + `}]`) }
	schedule := func(s string) string { return wrap(`"schedules": {"sync": {` + s + `}}`) }
	for _, c := range []struct{ document, path, problem string }{
		{``, "", "not JSON"},
		{`[]`, "", "is an array, not an object"},
		{`{}`, "schema", "is missing"},
		{`{"schema": 0}`, "schema", "0 is not known"},
		{`{"schema": 2}`, "schema", "2 is not known"},
		{`{"schema": "1"}`, "schema", "is a string"},
		{wrap(`"version": -1`), "version", "negative"},
		{wrap(`"version": 9007199254740992`), "version", "2^53-1"},
		{wrap(`"issued": "2026-01-02T00:00:00Z", "expires": "2026-01-01T00:00:00Z"`), "expires",
			"before"},
		{wrap(`"audience": {"a": 1}`), "audience.a", "is a number"},
		{wrap(`"pollInterval": "0s"`), "pollInterval", "not above 0"},
		{wrap(`"label": "a", "label": "b"`), "label", "twice"},
		{wrap(`"rules": {}`), "rules", "not an array"},
		{wrap(`"kill": [1]`), "kill[0]", "is a number"},
		{wrap(`"kill": [{"match": {}}]`), "kill[0].until", "is missing"},
		{wrap(`"kill": [{"match": {}, "until": "soon"}]`), "kill[0].until", "not a time"},
		{call(`"timeout": 2`), "defaults.call.timeout", "is a number, not a duration"},
		{call(`"timeout": "-1s"`), "defaults.call.timeout", "is negative"},
		{call(`"timeout": null`), "defaults.call.timeout", "is null"},
		{retryPolicy(`"maxAttempts": 0`), "defaults.call.retryPolicy.maxAttempts",
			"0 is no setting"},
		{retryPolicy(`"maxAttempts": -1`), "defaults.call.retryPolicy.maxAttempts", "is negative"},
		{retryPolicy(`"maxAttempts": 2.5`), "defaults.call.retryPolicy.maxAttempts",
			"not a whole number"},
		{retryPolicy(`"initialBackoff": "0s"`), "defaults.call.retryPolicy.initialBackoff",
			"0 is no setting"},
		{retryPolicy(`"initialBackoff": "2s", "maxBackoff": "1s"`),
			"defaults.call.retryPolicy.maxBackoff", "less"},
		{retryPolicy(`"backoffMultiplier": 1e999`), "defaults.call.retryPolicy.backoffMultiplier",
			"too large"},
		{retryPolicy(`"retryableStatusCodes": [503, 14]`),
			"defaults.call.retryPolicy.retryableStatusCodes[1]", "14"},
		{retryPolicy(`"retryableStatusCodes": ["unavailable"]`),
			"defaults.call.retryPolicy.retryableStatusCodes[0]", "not a gRPC code"},
		{retryPolicy(`"retryableStatusCodes": ["OK"]`),
			"defaults.call.retryPolicy.retryableStatusCodes[0]", "gRPC"},
		{target(`"retryBudget": {"ratio": -0.1}`), "defaults.target.retryBudget.ratio", "negative"},
		{target(`"hold": {"max": "0s"}`), "defaults.target.hold.max", "0 is no setting"},
		{target(`"circuitBreaker": {"failureRatio": 0}`),
			"defaults.target.circuitBreaker.failureRatio", "0 is"},
		{target(`"circuitBreaker": {"mode": "on"}`), "defaults.target.circuitBreaker.mode",
			"not a word"},
		{target(`"circuitBreaker": {"openTime": "9s", "maxOpenTime": "8s"}`),
			"defaults.target.circuitBreaker.maxOpenTime", "less"},
		{retryPolicy(`"jitter": "none"`), "defaults.call.retryPolicy.jitter",
			"not a word"},
		{target(`"pacing": {"mode": ""}`), "defaults.target.pacing.mode", "not a word"},
		{rule(`"match": {"path": "/x"}, "target": {"hold": {"max": "60s"}}`), "rules[0].target",
			"belongs to the host"},
		{rule(`"match": {"method": ["PUT"]}, "target": {"pacing": {}}`), "rules[0].target",
			"belongs to the host"},
		{rule(`"match": {"path": "/x"}, "key": "rule"`), "rules[0].key", "name"},
		{schedule(`"every": "0s"`), "schedules.sync.every", "not above 0"},
		{schedule(`"every": "-1s"`), "schedules.sync.every", "not above 0"},
		{schedule(`"every": 600`), "schedules.sync.every", "is a number, not a duration"},
		{schedule(`"window": {"from": "01:00"}`), "schedules.sync.window.to", "not a time of day"},
		{schedule(`"window": {"from": "1:00", "to": "05:00"}`), "schedules.sync.window.from",
			"not a time"},
		{schedule(`"window": {"from": "01:00", "to": "24:00"}`), "schedules.sync.window.to",
			"not a time"},
		{schedule(`"window": {"from": "01:00", "to": "01:00"}`), "schedules.sync.window.to", "the same"},
		{schedule(`"window": {"from": 1, "to": "01:00"}`), "schedules.sync.window.from", "is a number"},
		{wrap(`"schedules": []`), "schedules", "is an array"},
		{rule(`"match": {}, "key": "path"`), "rules[0].key", "not known"},
		{wrap(`"rules": [{"match": {}, "name": "a"}, {"match": {}, "name": "a"}]`), "rules[1].name",
			"another"},
	} {
		_, _, err := Parse([]byte(c.document))
		var refused *Error
		if !errors.As(err, &refused) || len(refused.Problems) != 1 {
			t.Errorf("%s: %v, want one problem", c.document, err)
			continue
		}
		p := refused.Problems[0]
		if p.Path != c.path || !strings.Contains(p.Problem, c.problem) || p.Line != 1 ||
			p.Hint == "" {
			t.Errorf("%s: %q, want %s: %s", c.document, p, c.path, c.problem)
		}
	}
}

func TestParseListsEverythingInOrder(t *testing.T) {
	_, _, err := Parse([]byte("{\"schema\": 1,\n\"rules\": [{\"match\": {}, \"key\": \"x\"}],\n" +
		"\"defaults\": {\"call\": {\"timeout\": \"fast\",\n\"maxWait\": \"-1s\"}},\n\"label\": 7}"))
	var refused *Error
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range refused.Problems {
		got = append(got, fmt.Sprint(p.Line, " ", p.Path))
	}
	want := []string{"2 rules[0].key", "3 defaults.call.timeout", "4 defaults.call.maxWait",
		"5 label"}
	if !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q", got, want)
	}
}

func TestParseLimits(t *testing.T) {
	entries := func(name, entry string, n int) string {
		return wrap(`"` + name + `": [` + strings.Repeat(entry+",", n-1) + entry + `]`)
	}
	const kill = `{"match":{},"until":"2026-11-22T18:00:00Z"}`
	large := wrap(`"label": "` + strings.Repeat("x", MaxDocument) + `"`)
	for _, c := range []struct {
		name, document string
		ok             bool
		kills          int
	}{
		{"1 MiB", large[:MaxDocument-2] + `"}`, true, 0},
		{"more than 1 MiB", large, false, 0},
		{"1,000 rules", entries("rules", `{"match":{}}`, 1000), true, 0},
		{"1,001 rules", entries("rules", `{"match":{}}`, 1001), false, 0},
		{"1,000 kills", entries("kill", kill, 1000), true, 1000},
		{"1,001 kills", entries("kill", kill, 1001), false, 1000},
		{"32 deep", wrap(`"app": ` + strings.Repeat("[", 31) + strings.Repeat("]", 31)), true, 0},
		{"many values", wrap(`"app": [` + strings.Repeat("1,", 400_000) + `1], "x": [` +
			strings.Repeat("1,", 100_000) + `1]`), true, 0},
		{"too many values", wrap(`"nudge": [` + strings.Repeat("1,", 100_000) + `1]`), false, 0},
		{"33 deep", wrap(`"app": ` + strings.Repeat("[", 32) + strings.Repeat("]", 32)), false, 0},
	} {
		cfg, _, err := Parse([]byte(c.document))
		if (err == nil) != c.ok || len(cfg.Kill) != c.kills {
			t.Errorf("%s: %d kills, %.200v", c.name, len(cfg.Kill), err)
		}
	}
}

func TestParseSkipsWhatItCannotMatch(t *testing.T) {
	for _, match := range []string{
		`"match": {"hosts": ["a.example"]}`,
		`"match": {"host": "a.example", "cohort": {}}`,
		`"match": {"host": ""}`,
		`"match": {"method": []}`,
		`"match": {"host": 5}`,
		`"match": {"host": null}`,
		`"match": {"host": "a.*.example"}`,
		`"match": {"method": ["get"]}`,
		`"match": {"path": "/v1/*"}`,
		`"match": []`,
		`"match": null`,
		`"mach": {}`,
	} {
		document := wrap(`"kill": [{` + match + `, "until": "2026-11-22T18:00:00Z"},
			{"name": "good", "match": {}, "until": "2026-11-22T18:00:00Z"}],
			"rules": [{` + match + `}, {"name": "good", "match": {}}]`)
		cfg, notes, err := Parse([]byte(document))
		if err != nil {
			t.Errorf("%s: %v", match, err)
			continue
		}
		skipped := 0
		for _, n := range notes {
			if n.Kind == NoteSkipped {
				skipped++
			}
		}
		if skipped != 2 || len(cfg.Kill) != 1 || len(cfg.Rules) != 1 ||
			cfg.Kill[0].Name != "good" ||
			cfg.Rules[0].Name != "good" {
			t.Errorf("%s: kills %v, rules %v, notes %v", match, cfg.Kill, cfg.Rules, notes)
		}
	}
}

// However much else is unknown, what a match does not say must not be overlooked.
func TestParseSkipsAmongManyUnknownMembers(t *testing.T) {
	var unknown strings.Builder
	for i := range 300 {
		fmt.Fprintf(&unknown, `"x%d": 0, `, i)
	}
	cfg, notes, err := Parse([]byte(wrap(`"kill": [{` + unknown.String() +
		`"match": {"cohort": "beta"}, "until": "2026-11-22T18:00:00Z"}], ` + unknown.String() +
		`"rules": [{"match": {"cohort": "beta"}}]`)))
	skipped := 0
	for _, n := range notes {
		if n.Kind == NoteSkipped {
			skipped++
		}
	}
	if err != nil || len(cfg.Kill) > 0 || len(cfg.Rules) > 0 || skipped != 2 || len(notes) != 102 {
		t.Errorf("%d kills, %d rules, %d notes, %v", len(cfg.Kill), len(cfg.Rules), len(notes), err)
	}
}

// An emergency stop must not fail for a typing error elsewhere, nor reach whom it is not meant for.
func TestKillsOfARefusedDocument(t *testing.T) {
	const until = `"until": "2026-11-22T18:00:00Z"`
	const head = `"document": "d", "audience": {"a": "b"}, "version": 9,
		"issued": "2026-11-22T10:00:00Z", "expires": "2026-12-22T10:00:00Z", "label": "l"`
	const kills = `"kill": [{"name": "1", "match": {"path": "/x"}, ` + until + `},
		{"name": "2", "match": {}}, {"name": "3", "match": {"hots": "a.example"}, ` + until + `},
		{"name": "4", "match": {}, ` + until + `, "until": "2027-11-22T18:00:00Z"},
		{"name": "5", "match": {"host": "a.example", "host": "b.example"}, ` + until + `},
		{"name": 6, "match": {}, ` + until + `},
		{"name": "7", "match": {"host": "b.example"}, ` + until + `, "scope": "all"}]`
	names := func(cfg Document) (names string) {
		for _, k := range cfg.Kill {
			names += k.Name
		}
		return names
	}
	for _, c := range []struct{ document, kills string }{
		{`{"schema": 1, ` + head + `, ` + kills + `}`, "17"},
		{`{"schema": 1, ` + head + `, "defaults": 5, ` + kills + `}`, "17"},
		{`{"schema": 2, ` + head + `, ` + kills + `, "defaults": {"new": 1}}`, "17"},
		{`{"schema": 1, ` + head + `, ` + kills + `, "kill": [{"name": "8", "match": {}, ` + until +
			`}]}`, "178"},
		{`{"schema": 1, ` + head + `, ` + kills + `, "label": "again", "rules": "x"}`, "17"},
		{`{"schema": 1, ` + head + `, ` + kills + `, "app": [` + strings.Repeat(`{"a":1,"a":2},`,
			500) + `1]}`, "17"},
		// Whom these are meant for is in doubt.
		{`{"schema": 1, ` + head + `, ` + kills + `, "audience": {"a": "c"}}`, ""},
		{`{"schema": 1, "audience": "b", ` + kills + `}`, ""},
		{`{"schema": 1, "audience": {"a": "b", "a": "c"}, ` + kills + `}`, ""},
		{`{"schema": 1, "version": "9", ` + kills + `}`, ""},
		{`{"schema": 1, "document": 3, ` + kills + `}`, ""},
		{`{"schema": 1, "app": [` + strings.Repeat(`{"a":1,"a":2},`, 500) + `1], "audience": 3, ` +
			kills + `}`, ""},
		{`{"schema": "1", ` + head + `, ` + kills + `}`, ""},
		{`{"schema": 0, ` + head + `, ` + kills + `}`, ""},
		{`{` + head + `, ` + kills + `}`, ""},
		{`[` + kills[8:] + `]`, ""},
	} {
		cfg, _, err := Parse([]byte(c.document))
		if err == nil || names(cfg) != c.kills {
			t.Errorf("kills %q, want %q, of %s: %v", names(cfg), c.kills, c.document, err)
		}
		if cfg.Label != "" || cfg.Rules != nil || cfg.PollInterval != nil ||
			!reflect.ValueOf(cfg.Defaults).IsZero() {
			t.Errorf("more than the head is kept: %+v", cfg)
		}
		if c.kills != "" && (cfg.Document != "d" || cfg.Version != 9 || cfg.Audience["a"] != "b" ||
			cfg.Issued.Day() != 22 || cfg.Expires.Month() != 12 || cfg.Schema == 0) {
			t.Errorf("the head is lost: %+v", cfg)
		}
	}
}

// Each broken document is followed by a good one, which must be taken.
func TestParseAfterDamage(t *testing.T) {
	good, err := os.ReadFile("testdata/document.json")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		bad := slices.Clone(good)
		switch rng.IntN(3) {
		case 0:
			bad = bad[:rng.IntN(len(bad))]
		case 1:
			bad[rng.IntN(len(bad))] = byte(rng.Uint32())
		case 2:
			i, j := rng.IntN(len(bad)), rng.IntN(len(bad))
			bad = slices.Delete(bad, min(i, j), max(i, j))
		}
		cfg, _, err := Parse(bad)
		if err == nil {
			if _, err := json.Marshal(cfg); err != nil {
				t.Fatalf("%s: %v", bad, err)
			}
		}
	}
	if _, _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
}

func TestConfigErrorIsShort(t *testing.T) {
	_, _, err := Parse([]byte(wrap(`"nudge": [` + strings.Repeat("1,", 90_000) + `1]`)))
	var refused *Error
	if !errors.As(err, &refused) || len(refused.Problems) != MaxListed {
		t.Fatalf("%.200v", err)
	}
	if text := err.Error(); len(text) > 1500 || !strings.HasSuffix(text, "and 90 more") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}
