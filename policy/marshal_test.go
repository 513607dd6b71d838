package policy

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMarshalRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		cfg := randomConfig(rng, true)
		document, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		back, notes, err := Parse(document)
		if err != nil || len(notes) > 0 {
			t.Fatalf("%s: %v, %v", document, notes, err)
		}
		if !reflect.DeepEqual(back, cfg) {
			t.Fatalf("%s became %s", document, mustMarshal(t, back))
		}
	}
}

func TestMarshalZeroConfig(t *testing.T) {
	if got := mustMarshal(t, Document{}); got != `{"schema":1}` {
		t.Error(got)
	}
	bad := Document{Defaults: Settings{Call: CallSettings{RetryPolicy: &RetrySettings{
		RetryableStatusCodes: []StatusCode{200}}}}}
	if _, err := json.Marshal(bad); err == nil {
		t.Error("wrote a status that nobody can read")
	}
}

func FuzzParse(f *testing.F) {
	document, err := os.ReadFile("testdata/document.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(document)
	f.Add([]byte(wrap(`"kill":[{"match":{},"until":"2026-11-22T18:00:00Z"}],"defaults":{}`)))
	f.Add([]byte(wrap(`"rules":[{"name":"a","match":{"path":"/%2e"},"key":"rule",
		"target":{"pacing":{}}}]`)))
	f.Add([]byte(wrap(`"flagSettings":{"later":3},"flags":{"flags":{},"later":1},"later":2`)))
	rng := rand.New(rand.NewPCG(7, 8))
	for range 5 {
		text, err := json.Marshal(randomConfig(rng, true))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	local := Document{Rules: []Rule{{Name: "own", Match: Match{Host: "a.example"},
		Call: CallSettings{RetryPolicy: &RetrySettings{MaxAttempts: Ptr(2)}}}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, told, err := Parse(data)
		if err != nil {
			if err.Error() == "" || cfg.Rules != nil {
				t.Fatalf("%+v, %v", cfg, err)
			}
			return
		}
		first := mustMarshal(t, cfg)
		// What isn't known in flags is kept as it was written, for flagd's tools, and told each time.
		told = slices.DeleteFunc(told, func(n Note) bool {
			return !strings.HasPrefix(n.Path, "flags.") && !strings.HasPrefix(n.Path, "flagSettings.")
		})
		back, notes, err := Parse([]byte(first))
		if err != nil || !slices.Equal(notes, told) {
			t.Fatalf("%s: %v, not %v, %v", first, notes, told, err)
		}
		if second := mustMarshal(t, back); second != first {
			t.Fatalf("%s became %s", first, second)
		}
		clamped, _ := Bounds{}.Clamp(cfg, local)
		if err := clamped.Validate(); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		p := Compile(local, clamped, Bounds{}).Resolve("https", "a.example", "GET", "/v1/search",
			"")
		if p.Retry.MaxAttempts < 1 || p.Retry.MaxAttempts > 2 || p.BudgetRatio > 0.1 ||
			p.HoldMax < time.Hour {
			t.Fatalf("%s: %+v", first, p)
		}
	})
}

func mustMarshal(t *testing.T, cfg Document) string {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func BenchmarkParse(b *testing.B) {
	document, err := os.ReadFile("testdata/document.json")
	if err != nil {
		b.Fatal(err)
	}
	numbers := []byte(wrap(`"app": [` + strings.Repeat("1,", 500_000) + `1]`))
	for _, c := range []struct {
		name     string
		document []byte
	}{{"usual", document}, {"1MiB-of-numbers", numbers}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Parse(c.document); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
