package jsondoc

import (
	"fmt"
	"strings"
	"testing"
)

// TestMembersApartCountByThemselves: too many values there leave the rest of the document readable.
func TestMembersApartCountByThemselves(t *testing.T) {
	parse := func(apart, other int) (*Document, []Problem) {
		return Parse(fmt.Appendf(nil, "{\"b\": [%s],\n\"a\": [0%s],\n\"a2\": {\"x\": {}}, \"c\": 1}",
			strings.TrimSuffix(strings.Repeat("1,", other), ","), strings.Repeat(",\n1", apart)),
			Limits{Depth: 5, Values: 10, Apart: func(name string) bool { return strings.HasPrefix(name, "a") }})
	}
	const full = 5 // with the outermost object, a, its 0, a2 and x
	doc, problems := parse(10-full, 7)
	if len(problems) > 0 || doc.TooMany != nil || len(doc.Root.Member("a").Items) != 1+10-full ||
		len(doc.Root.Member("b").Items) != 7 {
		t.Fatalf("%v, %+v", problems, doc)
	}
	if x := doc.Root.Member("a2").Member("x"); x == nil || x.Line != 2+10-full+1 {
		t.Errorf("%+v", x)
	}
	doc, problems = parse(100, 7)
	if len(problems) > 0 || doc == nil {
		t.Fatal(problems)
	}
	if p := doc.TooMany; p == nil || p.Problem != "has more than 10 values" || p.Line != 10 {
		t.Errorf("%+v", p)
	}
	if len(doc.Root.Member("b").Items) != 7 || doc.Root.Member("c") == nil || len(doc.Root.Member("a2").Items) > 0 {
		t.Errorf("%+v", doc)
	}
	if doc, _ = parse(0, 8); doc != nil {
		t.Error("too many values beside them are taken")
	}
}

// TestParseAllocatesFewTimes: what is in the tree is laid down in few pieces.
func TestParseAllocatesFewTimes(t *testing.T) {
	text := []byte("[" + strings.Repeat(`{"a":[1,2],"b":{"c":"d"}},`, 999) + "{}]")
	got := testing.AllocsPerRun(10, func() {
		if doc, _ := Parse(text, Limits{Depth: 5, Values: 10_000}); doc == nil {
			t.Fatal("refused")
		}
	})
	if got > 100 {
		t.Errorf("%v allocations for 5995 values, want 100 at most", got)
	}
}
