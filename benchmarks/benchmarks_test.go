package main

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// BenchmarkAll is the report's tables as benchmarks: /table/question/contender.
func BenchmarkAll(b *testing.B) {
	tables, stop, err := everything()
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	for _, t := range tables {
		b.Run(t.title, func(b *testing.B) {
			for _, r := range t.rows {
				b.Run(r.name, func(b *testing.B) {
					for _, e := range r.entries {
						b.Run(e.who, e.benchmark)
					}
				})
			}
		})
	}
}
