package flags

import "testing"

const benchmarked = `{"flags": {
	"static": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"},
	"targeted": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"if": [{"and": [{"==": [{"var": "plan"}, "pro"]}, {"in": [{"var": "country"},
			["DE", "FR", "IT", "ES", "PL", "NL", "BE", "AT", "SE"]]}]},
			{"fractional": [["on", 10], ["off", 90]]}, "off"]}},
	"plain": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, {"fractional": [["on", 10], ["off", 90]]}]}},
	"rollout": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"fractional": [["on", 10], ["off", 90]]}},
	"seeded": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "country"}]}, ["on", 10], ["off", 90]]}},
	"version": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"if": [{"sem_ver": [{"var": "version"}, ">=", "1.2.0"]}, "on"]}},
	"ramp": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"fractional": ` + ramp + `}}
}}`

var benchmarkedAs = Attributes{TargetingKey: "user-12345", "plan": "pro", "country": "SE", "version": "1.4.2"}

// TestNoAllocations: an evaluation is asked for on hot paths.
func TestNoAllocations(t *testing.T) {
	for bucketing := 2; bucketing <= 3; bucketing++ {
		store, err := New(Options{Load: LoadOptions{Bucketing: bucketing}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Apply([]byte(benchmarked)); err != nil {
			t.Fatal(err)
		}
		for _, key := range store.Current().Keys() {
			if bucketing == 3 && key == "seeded" {
				continue // the length of the text comes before it: it is joined
			}
			got := testing.AllocsPerRun(1000, func() { store.Bool(benchmarkedAs, key, true) })
			details := testing.AllocsPerRun(1000, func() { store.Current().BoolDetails(benchmarkedAs, key, true) })
			if got != 0 || details != 0 {
				t.Errorf("%s allocates %v times, with details %v", key, got, details)
			}
		}
	}
}

func BenchmarkBool(b *testing.B) {
	store, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := store.Apply([]byte(benchmarked)); err != nil {
		b.Fatal(err)
	}
	for _, key := range store.Current().Keys() {
		b.Run(key, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				store.Bool(benchmarkedAs, key, true)
			}
		})
	}
}
