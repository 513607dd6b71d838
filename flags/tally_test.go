package flags

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

const tallied = `{"flags": {
	"a": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"},
	"b": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off", "targeting": {"if": [{"var": "x"}, "on"]}},
	"c": {"state": "DISABLED", "variants": {"on": true}},
	"d": {"state": "ENABLED", "variants": {"on": true}},
	"e": {"state": "ENABLED", "variants": {"on": true}, "targeting": {"cat": ["no", "ne"]}},
	"f": {"state": "ENABLED", "variants": {"on": true}, "targeting": {"unknown": 1}}}}`

func evaluations(t *Tally) []Evaluations {
	all := t.Evaluations()
	slices.SortFunc(all, func(a, b Evaluations) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Variant, b.Variant))
	})
	return all
}

// TestTally counts every result, over documents, from the first look on, and no more than it may.
func TestTally(t *testing.T) {
	tally := new(Tally)
	store := mustNew(t, Options{Load: LoadOptions{Lenient: true, Tally: tally}})
	evaluate := func() {
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "gone"} {
			store.Bool(nil, key, false)
		}
		store.Current().BoolDetails(Attributes{"x": 1}, "b", false)
	}
	mustApply(t, store, tallied)
	evaluate()
	if all := tally.Evaluations(); len(all) != 0 {
		t.Errorf("counted before anybody looked: %+v", all)
	}
	evaluate()
	store.Current().Explain(nil, "a")
	mustApply(t, store, tallied[:len(tallied)-1]+" }")
	evaluate()
	want := []Evaluations{
		{"a", "on", Static, "", 2}, {"b", "off", Default, "", 2}, {"b", "on", TargetingMatch, "", 2}, {"c", "", Disabled, "", 2},
		{"d", "", Default, "", 2}, {"e", "", Failed, General, 2}, {"f", "", Failed, ParseError, 2},
	}
	if got := evaluations(tally); !slices.Equal(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

// TestTallyIsBounded: a publisher who names flags after users costs a thousand series, and no more.
func TestTallyIsBounded(t *testing.T) {
	tally := new(Tally)
	tally.Evaluations()
	store := mustNew(t, Options{Load: LoadOptions{Tally: tally}})
	for i := range 3 * maxTallied {
		key := fmt.Sprint("f", i)
		mustApply(t, store, fmt.Sprintf(`{"flags": {"%s": {"state": "ENABLED", "variants": {"v": true}, "defaultVariant": "v"}}}`, key))
		store.Bool(nil, key, false)
		tally.settled(key, true, good)
	}
	total := uint64(0)
	for _, n := range tally.Evaluations() {
		total += n.Count
	}
	if total != 3*maxTallied || len(tally.named) > maxTallied+1 || len(tally.Outcomes()) > maxTallied+1 {
		t.Errorf("%d evaluations in %d slots, %d outcomes", total, len(tally.named), len(tally.Outcomes()))
	}
}

// TestTallyOfGuards: both paths, by outcome; a fallback is a call of the old one.
func TestTallyOfGuards(t *testing.T) {
	tally := new(Tally)
	store := mustNew(t, Options{Load: LoadOptions{Lenient: true, Tally: tally}})
	mustApply(t, store, tallied)
	guard, err := NewGuard(store, "b", GuardPolicy{}, GuardOptions{FallBack: true})
	if err != nil {
		t.Fatal(err)
	}
	fails := func(context.Context) error { return errors.New("no") }
	works := func(context.Context) error { return nil }
	do := func() {
		_ = guard.Do(t.Context(), Attributes{"x": 1}, fails, works)
		_ = guard.Do(t.Context(), Attributes{"x": 1}, works, fails)
		_ = guard.Do(t.Context(), nil, works, fails)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		_ = guard.Do(cancelled, nil, works, fails) // says nothing
	}
	do()
	if all := tally.Outcomes(); len(all) != 0 {
		t.Errorf("counted before anybody looked: %+v", all)
	}
	do()
	want := []Outcomes{{"b", GuardCounts{2, 1}, GuardCounts{2, 1}}}
	if got := tally.Outcomes(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestW33CollectorHangs: whoever holds the tally holds up no evaluation, which allocates nothing either.
func TestW33CollectorHangs(t *testing.T) {
	tally := new(Tally)
	store := mustNew(t, Options{Load: LoadOptions{Tally: tally}})
	mustApply(t, store, benchmarked)
	tally.Evaluations()
	tally.mu.Lock()
	defer tally.mu.Unlock()
	if n := testing.AllocsPerRun(1000, func() { store.Bool(benchmarkedAs, "targeted", true) }); n != 0 {
		t.Errorf("an evaluation allocates %v times", n)
	}
}

func TestTallyIsExact(t *testing.T) {
	tally := new(Tally)
	tally.Evaluations()
	store := mustNew(t, Options{Load: LoadOptions{Lenient: true, Tally: tally}})
	mustApply(t, store, tallied)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 1000 {
				store.Bool(nil, "a", false)
				if i%100 == 0 {
					tally.Evaluations()
				}
			}
		})
	}
	all.Wait()
	if got := evaluations(tally); len(got) != 1 || got[0].Count != 4000 {
		t.Errorf("%+v", got)
	}
}

func BenchmarkTally(b *testing.B) {
	for name, look := range map[string]bool{"unseen": false, "seen": true} {
		b.Run(name, func(b *testing.B) {
			tally := new(Tally)
			store := mustNew(b, Options{Load: LoadOptions{Tally: tally}})
			mustApply(b, store, benchmarked)
			if look {
				tally.Evaluations()
			}
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					store.Bool(benchmarkedAs, "static", true)
				}
			})
		})
	}
}

// TestTallyNamesTheFirstVariants: whichever way a map is gone through, the same variants find room.
func TestTallyNamesTheFirstVariants(t *testing.T) {
	variants := make(map[string]*variant)
	for i := range 5000 {
		variants[fmt.Sprintf("v%04d", i)] = new(variant)
	}
	for range 20 {
		if got := first(variants, 1000); len(got) != 1000 || got[0] != "v0000" || got[999] != "v0999" {
			t.Fatalf("%d from %s to %s", len(got), got[0], got[len(got)-1])
		}
	}
	if got := first(map[string]*variant{"b": nil, "a": nil}, 3); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
}
