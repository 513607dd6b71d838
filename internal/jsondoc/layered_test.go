package jsondoc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// laid is what Layered does, on values of encoding/json.
func laid(under, over any, depth int) any {
	top, ok := over.(map[string]any)
	base, both := under.(map[string]any)
	if depth <= 0 || !ok || !both {
		return over
	}
	out := make(map[string]any)
	for name, v := range base {
		out[name] = v
	}
	for name, v := range top {
		if before, has := out[name]; has {
			deeper := depth - 1
			if name == "split" {
				deeper--
			}
			v = laid(before, v, deeper)
		}
		out[name] = v
	}
	return out
}

func FuzzLayered(f *testing.F) {
	f.Add(`{"a":{"b":1,"c":[1,{"x":"}"}]},"split":{"r":{"if":1}}}`, `{"a":{"b":null},"split":{"r":{"or":2}},"d":"\"{"}`, `{"a":7}`, 3)
	f.Add(`{}`, `null`, `{"a":1}`, 1)
	f.Add(`[1]`, `{"\u0061":{"a":1}}`, `{"a":{"b":"<"}}`, 32)
	f.Fuzz(func(t *testing.T, base, first, second string, depth int) {
		texts := [3][]byte{}
		var values [3]any
		for i, text := range []string{base, first, second} {
			doc, problems := Parse([]byte(text), Limits{Depth: 8, Values: 1000})
			if doc == nil || len(problems) > 0 || json.Unmarshal([]byte(text), &values[i]) != nil {
				return
			}
			texts[i], _ = json.Marshal(json.RawMessage(text))
		}
		depth = min(max(depth, 0), 32)
		l := Over(texts[0])
		l.Lay(texts[1], depth, "split")
		l.Lay(texts[2], depth, "split")
		want := laid(laid(values[0], values[1], depth), values[2], depth)
		var got any
		if err := json.Unmarshal(l.Bytes(), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s, %s and %s: %s, want %v", base, first, second, l.Bytes(), want)
		}
	})
}

// TestLayersCostTheirOwnSize: a layer that changes one member of many doesn't read the others again.
func TestLayersCostTheirOwnSize(t *testing.T) {
	var members []string
	for i := range 10_000 {
		members = append(members, fmt.Sprintf(`"m%d":{"a":%d}`, i, i))
	}
	l := Over([]byte("{" + strings.Join(members, ",") + "}"))
	layer := []byte(`{"m7":{"a":1}}`)
	l.Lay(layer, 3, "")
	if allocs := testing.AllocsPerRun(10, func() { l.Lay(layer, 3, "") }); allocs > 10 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestBinderDescribesFew: a document of many entries, each with many mistakes, is told once that it has them.
func TestBinderDescribesFew(t *testing.T) {
	doc, _ := Parse([]byte(`{`+strings.Repeat(`"tiemout":1,`, 99)+`"tieout":1}`), Limits{Depth: 2, Values: 1000})
	b := Binder{Doc: doc}
	described := 0
	const entries = 1000
	for range entries {
		b.Bind(&doc.Root, "", &struct {
			Timeout int `json:"timeout"`
		}{})
		problems, unknown := b.Take()
		if len(problems) != 0 || len(unknown) == 0 || unknown[0].Hint == "" {
			t.Fatal(problems, unknown)
		}
		described += len(unknown)
	}
	if described > 2*entries {
		t.Errorf("%d are described", described)
	}
}
