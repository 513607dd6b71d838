package jsondoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var limits = Limits{Depth: 32, Values: 20_000}

type inner struct {
	Wait  *time.Duration `json:"wait,omitempty"`
	Ratio *float64       `json:"ratio,omitempty"`
	Count *int           `json:"count,omitempty"`
}

type outer struct {
	Name  string            `json:"name,omitempty"`
	Big   uint64            `json:"big,omitempty"`
	On    bool              `json:"on,omitempty"`
	At    time.Time         `json:"at,omitzero"`
	Tags  map[string]string `json:"tags,omitzero"`
	List  []inner           `json:"list,omitempty"`
	Named map[string]inner  `json:"named,omitzero"`
	Inner *inner            `json:"inner,omitempty"`
	Raw   json.RawMessage   `json:"raw,omitempty"`
	Local string
}

func Example() {
	doc, problems := Parse([]byte("{\n \"wait\": \"fast\",\n \"cuont\": 3\n}"), limits)
	if len(problems) > 0 {
		return
	}
	var settings inner
	binder := Binder{Doc: doc}
	binder.Bind(&doc.Root, "", &settings)
	for _, p := range append(binder.Problems, binder.Unknown...) {
		fmt.Printf("line %d: %s: %s: %s\n", p.Line, p.Path, p.Problem, p.Hint)
	}
	// Output:
	// line 2: wait: "fast" is not a duration: write "0.25s" or "250ms"
	// line 3: cuont: not known to this version: did you mean "count"?
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 33) + strings.Repeat("]", 33)
	for _, c := range []struct{ name, data, problem string }{
		{"empty", "", "not JSON"},
		{"truncated", `{"a": [1, 2`, "not JSON"},
		{"trailing comma", `{"a": 1,}`, "not JSON"},
		{"two documents", `{} {}`, "not JSON"},
		{"NaN", `{"a": NaN}`, "not JSON"},
		{"byte order mark", "\ufeff{}", "not JSON"},
		{"not UTF-8", "{\"a\": \"\xff\"}", "not UTF-8"},
		{"deep", deep, "nested deeper than 32"},
		{"many", "[" + strings.Repeat("1,", 20_000) + "1]", "more than 20000 values"},
		{"very deep", strings.Repeat("[", 100_000), "not JSON"},
	} {
		doc, problems := Parse([]byte(c.data), limits)
		if doc != nil || len(problems) != 1 || !strings.Contains(problems[0].Problem, c.problem) {
			t.Errorf("%s: doc %v, problems %v; want none and %q", c.name, doc != nil, problems,
				c.problem)
		}
	}
	if doc, problems := Parse([]byte(deep[1:len(deep)-1]), limits); doc == nil {
		t.Errorf("32 deep is refused: %v", problems)
	}
}

// TestParseNamesTheSyntaxMistake: the text says what to mend, and the line is the mistake's own.
func TestParseNamesTheSyntaxMistake(t *testing.T) {
	for _, c := range []struct {
		data    string
		line    int
		problem string
	}{
		{"\ufeff{\n}", 1, "not JSON: it begins with a byte order mark"},
		{"{\n\"a\": 1,\n\n}", 2, "not JSON: a comma stands before '}'"},
		{"{\"a\": [\n1,\n]}", 2, "not JSON: a comma stands before ']'"},
		{"{\"a\": \"1,\n}", 1, "not JSON: invalid character '\\n' in string"}, // and more, before Go 1.27
		{"[\n\"1,}", 2, "not JSON: it ends too early"},
		{"{\n}\n{\n}", 3, "not JSON: a second document follows the first"},
		{"{\n}\n}", 3, "not JSON: more text follows the document's end"},
		{"{\n\"a\": 1", 2, "not JSON: it ends too early"},
		{" \n", 1, "not JSON: it is empty"},
		{"", 1, "not JSON: it is empty"},
		{"{\n'a': 1}", 2, "not JSON: invalid character '\\'' looking for beginning of object key string"},
	} {
		_, problems := Parse([]byte(c.data), limits)
		theirs := strings.Contains(c.problem, "invalid character") // encoding/json's words, which differ between releases
		if len(problems) != 1 || problems[0].Line != c.line ||
			problems[0].Problem != c.problem && !(theirs && strings.HasPrefix(problems[0].Problem, c.problem)) {
			t.Errorf("%q: %+v, want line %d, %s", c.data, problems, c.line, c.problem)
		}
	}
}

func TestParseFindsDuplicates(t *testing.T) {
	data := "{\"a\": 1,\n\"b\": {\"c\": 1,\n\"\\u0063\": 2},\n\"a\": 3, \"d\": [{}], \"A\": 1}"
	doc, problems := Parse([]byte(data), limits)
	want := []Problem{
		{"b.c", 3, "written twice", "keep one of them"},
		{"a", 4, "written twice", "keep one of them"},
	}
	if !reflect.DeepEqual(problems, want) {
		t.Errorf("problems %v, want %v", problems, want)
	}
	if !doc.Root.Twice || !doc.Root.Member("b").Twice || doc.Root.Member("d").Twice {
		t.Error("Twice does not mark exactly the values that hold duplicates")
	}
}

func TestOpaqueMembersHaveNoTree(t *testing.T) {
	opaque := limits
	opaque.Opaque = func(member string) bool { return member == "raw" }
	data := `{"a": {"raw": [1]}, "raw": [[{"x": [1, 2]}],` + strings.Repeat(" 1,", 50_000) +
		`2], "b": [3]}`
	doc, problems := Parse([]byte(data), opaque)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	raw, b := doc.Root.Member("raw"), doc.Root.Member("b")
	if len(raw.Items) != 0 || raw.Kind != Array ||
		len(doc.Raw(raw)) != len(data)-len(`{"a": {"raw": [1]}, "raw": , "b": [3]}`) ||
		len(b.Items) != 1 || len(doc.Root.Member("a").Items[0].Items) != 1 ||
		len(doc.Root.Items) != 3 {
		t.Errorf("%v, %v", raw, b)
	}
	// What is opaque is checked like the rest.
	for _, data := range []string{`{"raw": [0, {"a": 1, "a": 2}]}`, `{"raw": ` + strings.Repeat("[",
		32) + strings.Repeat("]", 32) + `}`} {
		if _, problems := Parse([]byte(data), opaque); len(problems) != 1 {
			t.Errorf("%s: %v", data, problems)
		}
	}
	if doc, problems := Parse([]byte(`{"raw": [0, {"a": 1, "a": 2}]}`),
		opaque); problems[0].Path != "raw[1].a" ||
		!doc.Root.Member("raw").Twice {
		t.Errorf("%v", problems)
	}
}

func TestRawAndLines(t *testing.T) {
	data := "{\n  \"a\" : [ 10,\n 20 , {\"b\" :\n\n true } ] ,\n\"s\": \"x\\ny\"}"
	doc, problems := Parse([]byte(data), limits)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		path, raw string
		line      int
	}{
		{"a[0]", "10", 2}, {"a[1]", "20", 3}, {"a[2]", "{\"b\" :\n\n true }", 3},
		{"a[2].b", "true", 5}, {"s", `"x\ny"`, 6}, {"a[7]", "", 2}, {"s.none", "", 6}, {"none", "",
			1},
	} {
		if line := doc.Line(c.path); line != c.line {
			t.Errorf("%s is on line %d, want %d", c.path, line, c.line)
		}
	}
	a := doc.Root.Member("a")
	for i, want := range []string{"10", "20", "{\"b\" :\n\n true }"} {
		if raw := string(doc.Raw(&a.Items[i])); raw != want {
			t.Errorf("a[%d] is %q, want %q", i, raw, want)
		}
	}
	if raw := string(doc.Raw(&doc.Root)); raw != data {
		t.Errorf("the whole is %q", raw)
	}
}

func TestBind(t *testing.T) {
	doc, _ := Parse([]byte(`{"name": "n", "big": 18446744073709551615, "on": true,
		"at": "2026-11-22T12:00:00+02:00", "tags": {"k": "v"}, "Local": "x", "NAME": "y",
		"list": [{"wait": "250ms"}, {"wait": "0.25s", "count": 3.0}],
		"named": {"b": {"wait": "0.25s"}, "a\"": {}}, "inner": {"ratio": 1e-3},
		"raw": { "a" : "<" }}`), limits)
	var got outer
	b := Binder{Doc: doc}
	b.Bind(&doc.Root, "", &got)
	quarter, three, ratio := 250*time.Millisecond, 3, 0.001
	want := outer{Name: "n", Big: math.MaxUint64, On: true,
		At: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Tags: map[string]string{"k": "v"},
		List:  []inner{{Wait: &quarter}, {Wait: &quarter, Count: &three}},
		Named: map[string]inner{"b": {Wait: &quarter}, `a"`: {}},
		Inner: &inner{Ratio: &ratio}, Raw: json.RawMessage(`{"a":"\u003c"}`)}
	if !reflect.DeepEqual(got, want) || len(b.Problems) > 0 {
		t.Errorf("got %+v, problems %v; want %+v", got, b.Problems, want)
	}
	named := outer{Named: got.Named, Tags: map[string]string{}}
	if text, err := Encode(named); err != nil ||
		string(text) != `{"tags":{},"named":{"a\"":{},"b":{"wait":"0.25s"}}}` {
		t.Errorf("wrote %s, %v", text, err)
	}
	if len(b.Unknown) != 2 || b.Unknown[0].Path != "Local" ||
		b.Unknown[1].Hint != `did you mean "name"?` {
		t.Errorf("unknown: %v", b.Unknown)
	}
}

func TestBindProblems(t *testing.T) {
	for _, c := range []struct{ data, path, problem, hint string }{
		{`[]`, "", "is an array, not an object", "write an object"},
		{`{"name": null}`, "name", "is null, not a string", "leave the member out for its default"},
		{`{"name": 1}`, "name", "is a number, not a string", "write a string"},
		{`{"big": -1}`, "big", "-1 is negative or too small", "write a whole number from 0 up"},
		{`{"big": 1.5}`, "big", "1.5 is not a whole number", "write it without a fraction"},
		{`{"big": 1e99}`, "big", "1e99 is too large", "write a smaller whole number"},
		{`{"big": 18446744073709551616}`, "big", "18446744073709551616 is too large",
			"write a smaller whole number"},
		{`{"on": "true"}`, "on", "is a string, not a boolean", "write a boolean"},
		{`{"at": "today"}`, "at", `"today" is not a time`, `write "2026-11-22T10:00:00Z"`},
		{`{"inner": {"wait": 3}}`, "inner.wait", "3 is a number, not a duration",
			`write a string with a unit, such as "0.25s" or "250ms"`},
		{`{"inner": {"wait": "9999999999h"}}`, "inner.wait",
			`"9999999999h" is longer than 290 years`,
			"write a shorter duration"},
		{`{"list": [{}, {"ratio": 1e999}]}`, "list[1].ratio", "1e999 is too large",
			"write a number that a float64 holds"},
		{`{"tags": {"a": 1}}`, "tags.a", "is a number, not a string", "write a string"},
	} {
		doc, _ := Parse([]byte(c.data), limits)
		b := Binder{Doc: doc}
		b.Bind(&doc.Root, "", new(outer))
		want := []Problem{{c.path, 1, c.problem, c.hint}}
		if !reflect.DeepEqual(b.Problems, want) {
			t.Errorf("%s: %q, want %q", c.data, b.Problems, want)
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	many := `{"list": [` + strings.Repeat(`{"wait": 1, "x": 1},`, 5000) + `{}]}`
	doc, _ := Parse([]byte(many), limits)
	b := Binder{Doc: doc}
	b.Bind(&doc.Root, "", new(outer))
	if len(b.Problems) != limit || len(b.Unknown) != limit {
		t.Errorf("%d problems, %d unknown; want %d of each", len(b.Problems), len(b.Unknown), limit)
	}
	twice := "{" + strings.Repeat(`"a":1,`, 500) + `"a":1}`
	if _, problems := Parse([]byte(twice), limits); len(problems) != limit {
		t.Errorf("%d duplicates listed, want %d", len(problems), limit)
	}
	doc, _ = Parse([]byte(`{"`+strings.Repeat("é", 500_000)+`": 1}`), limits)
	b = Binder{Doc: doc}
	b.Bind(&doc.Root, "", new(outer))
	if path := b.Unknown[0].Path; len(path) > 60 {
		t.Errorf("a path of %d bytes", len(path))
	}
}

func TestDurationsRoundTrip(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 250 * time.Millisecond: "0.25s", time.Second: "1s", 90 * time.Minute: "5400s",
		1: "0.000000001s", -1500 * time.Millisecond: "-1.5s",
		math.MaxInt64: "9223372036.854775807s", math.MinInt64: "-9223372036.854775808s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%d ns is written %s, want %s", d, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		d := time.Duration(rng.Int64() >> rng.UintN(63))
		if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
			t.Fatalf("%d ns is written %s and read back as %d ns, %v", d, FormatDuration(d), back,
				err)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"timeout", "attemptTimeout", "maxWait", "retryPolicy", "key"}
	for name, want := range map[string]string{
		"timout": "timeout", "Timeout": "timeout", "maxwait": "maxWait",
		"retrypolicy": "retryPolicy",
		"kez":         "key", "abc": "", "criticality": "", "route": "", "": "",
		strings.Repeat("x", 100_000): "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("nearest to %.20q is %q, want %q", name, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, `[1,"a",null,true]`, `{"a":{"b":[{}]},"a":2}`,
		"{\n\"list\":[{\"wait\":\"1s\"}]}", `{"raw":[1,2]}`, `{"at":"2026-11-22T10:00:00Z"}`,
		`{"big":1e3,"name":"\ud800"}`, strings.Repeat("[", 40)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, problems := Parse(data, Limits{Depth: 8, Values: 1000})
		if doc == nil {
			if len(problems) != 1 {
				t.Fatalf("no document and %d problems", len(problems))
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("took what is not JSON")
		}
		checkSpans(t, doc, &doc.Root)
		var first outer
		b := Binder{Doc: doc}
		b.Bind(&doc.Root, "", &first)
		if len(b.Problems)+len(problems) > 0 {
			return
		}
		text, err := Encode(first)
		if err != nil {
			t.Fatalf("cannot write %+v: %v", first, err)
		}
		again, problems := Parse(text, Limits{Depth: 8, Values: 1000})
		if len(problems) > 0 {
			t.Fatalf("cannot read %s: %v", text, problems)
		}
		var second outer
		b = Binder{Doc: again}
		b.Bind(&again.Root, "", &second)
		if back, err := Encode(second); err != nil || !bytes.Equal(back, text) ||
			len(b.Problems) > 0 {
			t.Fatalf("%s became %s, %v, %v", text, back, err, b.Problems)
		}
	})
}

// checkSpans checks that each value is JSON where it is said to lie, and has the line of its start.
func checkSpans(t *testing.T, doc *Document, v *Value) {
	raw := doc.Raw(v)
	if !json.Valid(raw) {
		t.Fatalf("%s %q is not a value", v.Name, raw)
	}
	if line := 1 + bytes.Count(doc.data[:v.start], []byte{'\n'}); line != v.Line {
		t.Fatalf("%q is on line %d, not %d", raw, line, v.Line)
	}
	for i := range v.Items {
		checkSpans(t, doc, &v.Items[i])
	}
}
