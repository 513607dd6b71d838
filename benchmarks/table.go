package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"
	"text/tabwriter"
	"time"
)

// table is one comparison. The first entry of each row is tether's, and the others are set against it.
type table struct {
	title string
	rows  []row
}

// row is one question, put to everybody who can be asked it.
type row struct {
	name    string
	entries []entry
}

// entry is one contender's way to do it once.
type entry struct {
	who  string
	once func()
	// before, unless nil, has each call measured by itself, and is done before it, unmeasured.
	before func()
}

// benchmark is what both "go test" and the report run.
func (e entry) benchmark(b *testing.B) {
	if e.before != nil {
		e.single(b)
		return
	}
	b.ReportAllocs()
	for b.Loop() {
		e.once()
	}
}

// single reports the least of single calls, a look at the clock included. Memory is that of the first
// alone: counting it empties the runtime's caches, which makes the next call that allocates slower.
func (e entry) single(b *testing.B) {
	b.ReportAllocs() // has what is set below printed
	var start, end runtime.MemStats
	e.before()
	runtime.ReadMemStats(&start)
	e.once()
	runtime.ReadMemStats(&end)
	least := time.Duration(math.MaxInt64)
	for b.Loop() {
		for range 2 {
			e.before()
			began := time.Now()
			e.once()
			least = min(least, time.Since(began))
		}
	}
	b.ReportMetric(float64(least.Nanoseconds()), "ns/op")
	b.ReportMetric(float64(end.TotalAlloc-start.TotalAlloc), "B/op")
	b.ReportMetric(float64(end.Mallocs-start.Mallocs), "allocs/op")
}

// cost is the least that one operation took.
type cost struct {
	ns     float64
	bytes  int64
	allocs int64
}

func (c cost) least(r testing.BenchmarkResult) cost {
	ns, single := r.Extra["ns/op"]
	if !single {
		ns = float64(r.T.Nanoseconds()) / float64(r.N)
	}
	if c.ns == 0 { // the first
		return cost{ns, r.AllocedBytesPerOp(), r.AllocsPerOp()}
	}
	return cost{min(c.ns, ns), min(c.bytes, r.AllocedBytesPerOp()), min(c.allocs, r.AllocsPerOp())}
}

// measure goes through all entries once a round, so that a slow moment of the machine meets one round of
// everybody, and not every round of one.
func (t table) measure(rounds int) ([][]cost, error) {
	costs := make([][]cost, len(t.rows))
	for range rounds {
		for i, r := range t.rows {
			if costs[i] == nil {
				costs[i] = make([]cost, len(r.entries))
			}
			for j, e := range r.entries {
				result := testing.Benchmark(e.benchmark)
				if result.N == 0 {
					return nil, fmt.Errorf("%s, %s, %s: can't be measured", t.title, r.name, e.who)
				}
				costs[i][j] = costs[i][j].least(result)
			}
		}
	}
	return costs, nil
}

func (t table) print(w io.Writer, rounds int) error {
	costs, err := t.measure(rounds)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n### %s\n\n", t.title)
	columns := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(columns, "| Question\t| Asked of\t| ns\t| To tether\t| B\t| Allocations\t|")
	fmt.Fprintln(columns, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for i, r := range t.rows {
		name := r.name
		for j, e := range r.entries {
			c := costs[i][j]
			fmt.Fprintf(columns, "| %s\t| %s\t| %s\t| %s\t| %d\t| %d\t|\n",
				name, e.who, digits(c.ns), digits(c.ns/costs[i][0].ns), c.bytes, c.allocs)
			name = ""
		}
	}
	return columns.Flush()
}

// digits has two or three: more would pretend.
func digits(figure float64) string {
	switch {
	case figure < 1:
		return fmt.Sprintf("%.2f", figure)
	case figure < 100:
		return fmt.Sprintf("%.1f", figure)
	}
	return fmt.Sprintf("%.0f", figure)
}
