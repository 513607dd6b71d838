package tether_test

import (
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// TestNudgeHeard: a newer version is heard of from the hosts whose word counts only, never from a cache.
func TestNudgeHeard(t *testing.T) {
	const rule = `,"rules":[{"match":{"host":"api.example"}},{"match":{"host":"*.wide.example"}}]`
	for _, test := range []struct {
		name, members, url string
		fields             []string
		want               uint64
	}{
		{"newer", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=42`}, 42},
		{"in a list", rule, "https://api.example/", []string{"Tether-Config", `"other";v=50, "shop";v=42;x=?1`}, 42},
		{"below a wildcard", rule, "https://a.wide.example/", []string{"Tether-Config", `"shop";v=42`}, 42},
		{"in force", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=5`}, 0},
		{"older", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=4`}, 0},
		{"another document", rule, "https://api.example/", []string{"Tether-Config", `"other";v=42`}, 0},
		{"a token", rule, "https://api.example/", []string{"Tether-Config", `shop;v=42`}, 0},
		{"another host", rule, "https://cdn.example/", []string{"Tether-Config", `"shop";v=42`}, 0},
		{"another port", rule, "https://api.example:8443/", []string{"Tether-Config", `"shop";v=42`}, 42},
		{"listed host", `,"nudge":["cdn.example"]` + rule, "https://cdn.example/", []string{"Tether-Config", `"shop";v=42`}, 42},
		{"host of a rule, not listed", `,"nudge":["cdn.example"]` + rule, "https://api.example/", []string{"Tether-Config", `"shop";v=42`}, 0},
		{"nobody listed", `,"nudge":[]` + rule, "https://api.example/", []string{"Tether-Config", `"shop";v=42`}, 0},
		{"no rules", "", "https://api.example/", []string{"Tether-Config", `"shop";v=42`}, 0},
		{"cached", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=42`, "Age", "0"}, 0},
		{"cached within", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=42`, "X-From-Cache", "1"}, 0},
		{"largest", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=999999999999999`}, 999999999999999},
		{"2^63-1", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=9223372036854775807`}, 0},
		{"negative", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=-42`}, 0},
		{"decimal", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=42.0`}, 0},
		{"no version", rule, "https://api.example/", []string{"Tether-Config", `"shop"`}, 0},
		{"torn", rule, "https://api.example/", []string{"Tether-Config", `"shop;v=42`}, 0},
		{"twice", rule, "https://api.example/", []string{"Tether-Config", `"shop";v=42`, "Tether-Config", `"shop";v=43`}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := client(t, &backend{serve: always(200, test.fields...)}, tether.Options{})
			if _, err := c.Engine().Apply(document(5, test.members)); err != nil {
				t.Fatal(err)
			}
			_, more := c.Engine().Newer()
			if _, _, err := get(c, test.url); err != nil {
				t.Fatal(err)
			}
			if version, _ := c.Engine().Newer(); version != test.want {
				t.Errorf("heard of %d, want %d", version, test.want)
			}
			select {
			case <-more:
				if test.want == 0 {
					t.Error("told of nothing")
				}
			default:
				if test.want > 0 {
					t.Error("nobody was told")
				}
			}
		})
	}
}

// TestNudgeBeforeADocument: before there is one, the hosts of the application's own policy may name any; what
// they said of others is forgotten once it is known which is followed.
func TestNudgeBeforeADocument(t *testing.T) {
	for _, test := range []struct {
		name          string
		own           policy.Document
		field         string
		before, after uint64 // heard of, before version 5 of "shop" is in force and then
	}{
		{"nobody's word counts", policy.Document{}, `"shop";v=6`, 0, 0},
		{"listed", policy.Document{Nudge: []string{"api.example"}}, `"shop";v=6`, 6, 6},
		{"in a rule", policy.Document{Rules: []policy.Rule{{Match: policy.Match{Host: "api.example"}}}}, `"shop";v=6`, 6, 6},
		{"not listed", policy.Document{Nudge: []string{"cdn.example"}}, `"shop";v=6`, 0, 0},
		{"in force soon", policy.Document{Nudge: []string{"api.example"}}, `"shop";v=5`, 5, 0},
		{"another's", policy.Document{Nudge: []string{"api.example"}}, `"other";v=99`, 99, 0},
		{"several", policy.Document{Nudge: []string{"api.example"}}, `"shop";v=6, "other";v=99, "third";v=7`, 99, 6},
		{"torn", policy.Document{Nudge: []string{"api.example"}}, `"shop;v=6`, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := client(t, &backend{serve: always(200)}, tether.Options{Policy: test.own}).Engine()
			e.Nudged("api.example", test.field)
			if version, _ := e.Newer(); version != test.before {
				t.Errorf("heard of %d before, want %d", version, test.before)
			}
			if _, err := e.Apply(document(5, "")); err != nil {
				t.Fatal(err)
			}
			if version, _ := e.Newer(); version != test.after {
				t.Errorf("heard of %d after, want %d", version, test.after)
			}
		})
	}
}

// TestNudgeEnds: a version in force is no news.
func TestNudgeEnds(t *testing.T) {
	c := client(t, &backend{serve: always(200)}, tether.Options{})
	e := c.Engine()
	for version := 5; version <= 6; version++ {
		if _, err := e.Apply(document(version, `,"nudge":["api.example"]`)); err != nil {
			t.Fatal(err)
		}
		e.Nudged("api.example", `"shop";v=6`)
		want := uint64(6)
		if version == 6 {
			want = 0
		}
		if got, _ := e.Newer(); got != want {
			t.Errorf("version %d is in force: heard of %d, want %d", version, got, want)
		}
	}
}

func FuzzNudged(f *testing.F) {
	f.Add(`"shop";v=42`)
	f.Add(`("shop";v=1);v=2, "shop";v=?1`)
	f.Add(`"shop";v=999999999999999`)
	f.Fuzz(func(t *testing.T, field string) {
		e, err := tether.New(tether.Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Apply(document(5, `,"nudge":["api.example"]`)); err != nil {
			t.Fatal(err)
		}
		e.Nudged("api.example", field)
		if version, _ := e.Newer(); version != 0 && (version <= 5 || version > 999999999999999) {
			t.Errorf("%q names %d", field, version)
		}
	})
}
