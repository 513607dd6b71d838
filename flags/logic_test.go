package flags

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/tether-go/tether/internal/jsondoc"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLogic goes through a table in the form that implementations of JSONLogic share.
func TestLogic(t *testing.T) {
	text, err := os.ReadFile("testdata/jsonlogic.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	heading, cases := "", 0
	for _, row := range rows {
		if json.Unmarshal(row, &heading) == nil {
			continue
		}
		var parts []json.RawMessage
		if err := json.Unmarshal(row, &parts); err != nil || len(parts) != 3 {
			t.Fatalf("%s: %v", row, err)
		}
		var data, want any
		if json.Unmarshal(parts[1], &data) != nil || json.Unmarshal(parts[2], &want) != nil {
			t.Fatalf("%s", row)
		}
		cases++
		if got := mustRun(t, string(parts[0]), data); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s of %s = %#v, want %#v", heading, parts[0], parts[1], got, want)
		}
	}
	if cases < 300 {
		t.Errorf("%d cases, want all of them", cases)
	}
}

// mustRun runs a rule on any data.
func mustRun(t *testing.T, rule string, data any) any {
	t.Helper()
	n := compileRule(t, rule)
	e := evaluation{steps: maxSteps, bucketing: bucketing2,
		scope: scope{kind: inElement, current: toValue(data)}}
	result := toPlain(e.run(&n))
	if e.exhausted() {
		t.Errorf("%s needs too many steps", rule)
	}
	return result
}

func compileRule(t testing.TB, rule string) node {
	t.Helper()
	c, n := compileAny(t, rule)
	if c.nodes > maxNodes || c.broken != "" {
		t.Fatalf("%.200s: %d nodes, %.200s", rule, c.nodes, c.broken)
	}
	return n
}

// compileAny compiles rules beyond the limits of documents, too.
func compileAny(t testing.TB, rule string) (compiler, node) {
	t.Helper()
	doc, problems := jsondoc.Parse([]byte(rule), jsondoc.Limits{Depth: maxDepth, Values: maxValues})
	if doc == nil {
		t.Fatal(problems)
	}
	c := compiler{loader: &loader{lenient: true}}
	n := c.compile(&doc.Root, "")
	return c, n
}

func toPlain(v value) any {
	switch v.kind {
	case kindBool:
		return v.num == 1
	case kindNumber:
		return v.num
	case kindText:
		return v.str()
	case kindList:
		list := make([]any, v.length())
		for i := range list {
			list[i] = toPlain(v.element(i))
		}
		return list
	case kindObject:
		object := map[string]any{}
		for name := range v.ref.(map[string]any) {
			object[name] = toPlain(v.member(name))
		}
		return object
	}
	return nil
}
