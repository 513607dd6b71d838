package flags

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// chargedWork is a rule whose work grows with n, and the steps that so much work must cost at the least.
type chargedWork struct {
	op    op
	about string
	rule  func(n int) string
	steps func(n int) int
}

func constantRule(rule string) func(int) string { return func(int) string { return rule } }

// repeated is an operation with n constant arguments after what stands in front.
func repeated(front, argument, back string) func(int) string {
	return func(n int) string { return front + strings.Repeat(argument, n) + back }
}

// pairs is an operation with n constant arguments, an even number, after what stands in front.
func pairs(front, pair, back string) func(int) string {
	return func(n int) string { return front + strings.Repeat(pair, n/2) + back }
}

func perByte(n int) int     { return n / 64 }
func perDigit(n int) int    { return n / 8 }
func perElement(n int) int  { return n }
func perArgument(n int) int { return n / 8 }

// chargedWorks have each operator for each kind of argument that it goes through.
var chargedWorks = func() []chargedWork {
	path := func(n int) string { return "a" + strings.Repeat(".a", n) }
	long := func(n int) string { return strings.Repeat("1", n) }
	works := []chargedWork{
		{opVar, "names in a path", func(n int) string { return `{"var": "` + path(n) + `"}` }, perElement},
		{opVar, "names in a path with a default", func(n int) string { return `{"var": ["` + path(n) + `", 1]}` }, perElement},
		{opVar, "bytes of a name", func(n int) string { return `{"var": "` + long(n) + `"}` }, perByte},
		{opVar, "names in a computed path", constantRule(`{"var": {"var": "path"}}`), perElement},
		{opVar, "bytes of a computed path", constantRule(`{"var": {"var": "text"}}`), perByte},
		{opMissing, "names in a path", func(n int) string { return `{"missing": "` + path(n) + `"}` }, perElement},
		{opMissing, "keys", constantRule(`{"missing": {"var": "list"}}`), perElement},
		{opMissing, "bytes of a key", constantRule(`{"missing": {"var": "text"}}`), perByte},
		{opMissingSome, "keys", constantRule(`{"missing_some": [1, {"var": "list"}]}`), perElement},
		{opMissingSome, "names in a path", func(n int) string { return `{"missing_some": [1, ["` + path(n) + `"]]}` }, perElement},
		{opIf, "arguments", pairs(`{"if": [`, `false, 1, `, `{"var": "x"}]}`), perArgument},
		{opOr, "arguments", repeated(`{"or": [`, `false, `, `{"var": "x"}]}`), perArgument},
		{opAnd, "arguments", repeated(`{"and": [`, `true, `, `{"var": "x"}]}`), perArgument},
		{opNot, "a list", repeated(`{"!": [[`, `1, `, `{"var": "x"}]]}`), perArgument},
		{opTruthy, "a list", repeated(`{"!!": [[`, `1, `, `{"var": "x"}]]}`), perArgument},
		{opMap, "elements", constantRule(`{"map": [{"var": "list"}, 1]}`), perElement},
		{opFilter, "elements", constantRule(`{"filter": [{"var": "list"}, 1]}`), perElement},
		{opReduce, "elements", constantRule(`{"reduce": [{"var": "list"}, 1, 1]}`), perElement},
		{opAll, "elements", constantRule(`{"all": [{"var": "list"}, true]}`), perElement},
		{opNone, "elements", constantRule(`{"none": [{"var": "list"}, false]}`), perElement},
		{opSome, "elements", constantRule(`{"some": [{"var": "list"}, false]}`), perElement},
		{opMerge, "elements", constantRule(`{"merge": [{"var": "list"}]}`), perElement},
		{opMerge, "arguments", repeated(`{"merge": [`, `1, `, `{"var": "x"}]}`), perArgument},
		{opIn, "elements", constantRule(`{"in": ["x", {"var": "list"}]}`), perElement},
		{opIn, "bytes of a text", constantRule(`{"in": ["x", {"var": "text"}]}`), perByte},
		{opIn, "bytes of both texts", constantRule(`{"in": [{"var": "other"}, {"var": "text"}]}`),
			func(n int) int { return n / 64 * (n / 64) }},
		{opIn, "bytes of a member of a set", constantRule(`{"in": [{"var": "text"}, ["a","b","c","d","e","f","g","h","i"]]}`), perByte},
		{opCat, "bytes of a text", constantRule(`{"cat": [{"var": "text"}, ""]}`), perByte},
		{opCat, "numbers", repeated(`{"cat": [`, `0.1, `, `{"var": "x"}]}`), perElement},
		{opCat, "elements", constantRule(`{"cat": [{"var": "list"}]}`), perElement},
		{opSubstr, "bytes of a text", constantRule(`{"substr": [{"var": "text"}, 1]}`), perByte},
		{opFractional, "buckets", repeated(`{"fractional": [`, `["", 0], `, `["", 1]]}`), perArgument},
		{opFractional, "computed weights", repeated(`{"fractional": [`, `["", 0], `, `["", {"var": "x"}]]}`), perArgument},
		{opFractional, "bytes of the flag's key", constantRule(`{"fractional": [["", 1]]}`), perByte},
		{opFractional, "bytes of a seed", constantRule(`{"fractional": [{"var": "text"}, ["", 1]]}`), perByte},
		{opFractional, "bytes of a seed's parts", constantRule(`{"fractional": [{"cat": [{"var": "text"}, ""]}, ["", 1]]}`), perByte},
		{opFractional, "parts of a seed", repeated(`{"fractional": [{"cat": [`, `"", `, `{"var": "x"}]}, ["", 1]]}`), perArgument},
		{opFractional, "numbers in a seed", repeated(`{"fractional": [{"cat": [`, `0.1, `, `{"var": "x"}]}, ["", 1]]}`), perElement},
		{opSemVer, "bytes of a version", constantRule(`{"sem_ver": [{"var": "version"}, "=", "1.0.0"]}`), perByte},
		{opStartsWith, "bytes of a text", constantRule(`{"starts_with": [{"var": "text"}, {"var": "other"}]}`), perByte},
		{opEndsWith, "bytes of a text", constantRule(`{"ends_with": [{"var": "text"}, {"var": "other"}]}`), perByte},
	}
	for o := opEqual; o <= opLessOrEqual; o++ {
		name := operatorNames[o]
		works = append(works,
			chargedWork{o, "bytes of texts", constantRule(`{"` + name + `": [{"var": "text"}, {"var": "other"}]}`), perByte},
			chargedWork{o, "arguments", pairs(`{"`+name+`": [`,
				map[bool]string{true: `0, 0, `, false: `0, 1, `}[o == opEqual || o == opSame], `{"var": "x"}]}`), perArgument})
		if o != opSame && o != opNotSame {
			works = append(works, chargedWork{o, "digits of a text", constantRule(`{"` + name + `": [{"var": "text"}, 1]}`), perDigit})
		}
	}
	for o := opPlus; o <= opMin; o++ {
		name := operatorNames[o]
		works = append(works,
			chargedWork{o, "digits of a text", constantRule(`{"` + name + `": [{"var": "text"}, 1]}`), perDigit},
			chargedWork{o, "elements", constantRule(`{"` + name + `": {"var": "list"}}`), perElement},
			chargedWork{o, "arguments", repeated(`{"`+name+`": [`, `1, `, `{"var": "x"}]}`), perArgument})
	}
	return works
}()

// hostileLoop is an evaluation, about to run a rule so often, over attributes of size n.
func hostileLoop(t testing.TB, work chargedWork, n, times, bucketing int) (evaluation, node) {
	t.Helper()
	attributes := map[string]any{
		"text": strings.Repeat("1", n), "other": strings.Repeat("1", n), "version": "1.0.0-" + strings.Repeat("a", n),
		"path": "a" + strings.Repeat(".a", n), "list": make([]any, n),
	}
	_, loop := compileAny(t, `{"none": [{"var": "rows"}, {"and": [`+work.rule(n)+`, false]}]}`)
	return evaluation{steps: maxSteps, bucketing: bucketing, flag: &definition{key: strings.Repeat("k", n)},
		attributes: Attributes{"rows": slices.Repeat([]any{attributes}, times), TargetingKey: "a"}}, loop
}

func chargedFor(t *testing.T, work chargedWork, n, times, bucketing int) int {
	t.Helper()
	e, loop := hostileLoop(t, work, n, times, bucketing)
	e.run(&loop)
	return maxSteps - e.steps
}

// TestEveryOperatorIsCharged: what an operator does costs steps, or else a published rule may run for seconds
// in every client.
func TestEveryOperatorIsCharged(t *testing.T) {
	var seen [opCount]bool
	for _, work := range chargedWorks {
		seen[work.op] = true
		for _, n := range []int{64, 640, 1900} {
			for bucketing := bucketing2; bucketing <= bucketing3; bucketing++ {
				got := chargedFor(t, work, n, 3, bucketing)
				if want := min(3*work.steps(n), maxSteps); got < want {
					t.Errorf("%s, %d %s, bucketing %d: %d steps, want %d or more",
						operatorNames[work.op], n, work.about, bucketing, got, want)
				}
			}
		}
	}
	for o := opVar; o < opCount; o++ {
		if !seen[o] {
			t.Errorf("no rule asks for the work of %s", operatorNames[o])
		}
	}
}

// FuzzStepsGrowWithWork looks for a size at which an operator works without a charge.
func FuzzStepsGrowWithWork(f *testing.F) {
	for i := range chargedWorks {
		f.Add(uint8(i), uint16(900), uint8(2))
	}
	f.Fuzz(func(t *testing.T, which uint8, n uint16, times uint8) {
		work := chargedWorks[int(which)%len(chargedWorks)]
		size, loops := int(n)%4000, int(times)
		for bucketing := bucketing2; bucketing <= bucketing3; bucketing++ {
			got := chargedFor(t, work, size, loops, bucketing)
			if want := min(loops*work.steps(size), maxSteps); got < want {
				t.Errorf("%s, %d times %d %s: %d steps, want %d or more", operatorNames[work.op], loops, size, work.about, got, want)
			}
		}
	})
}

// BenchmarkHostile is the time of an evaluation that uses up its steps; docs/flags.md has the longest.
func BenchmarkHostile(b *testing.B) {
	for _, work := range chargedWorks {
		for _, n := range []int{0, 63, 1000, 20_000} {
			b.Run(fmt.Sprintf("%s/%s/%d", operatorNames[work.op], strings.ReplaceAll(work.about, " ", "-"), n), func(b *testing.B) {
				e, rule := hostileLoop(b, work, n, maxSteps, bucketing2)
				b.ReportAllocs()
				for b.Loop() {
					run := e
					run.run(&rule)
				}
			})
		}
	}
}
