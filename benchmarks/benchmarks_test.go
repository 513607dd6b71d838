package main

import (
	"flag"
	"strings"
	"testing"
	"time"

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

// TestReport runs each contender a few times, to see that all of them work; it judges no figure.
func TestReport(t *testing.T) {
	before := flag.Lookup("test.benchtime").Value.String()
	t.Cleanup(func() {
		if err := flag.Set("test.benchtime", before); err != nil {
			t.Error(err)
		}
	})
	var report strings.Builder
	if err := run(&report, 1, time.Microsecond); err != nil {
		t.Fatal(err)
	}
	for who, rows := range map[string]int{"| tether ": 17, "| tether by OpenFeature": 6, "| OpenFeature in memory": 6,
		"| LaunchDarkly": 6, "| jsonlogic": 5, "| go-retryablehttp": 2, "| failsafe-go": 8, "| gobreaker": 1, "| x/time/rate": 1,
		"| pass-through": 3, "| go-grpc-middleware": 3} {
		if got := strings.Count(report.String(), who); got != rows {
			t.Errorf("%d rows of %q, want %d", got, who, rows)
		}
	}
	if err := run(&report, 0, time.Second); err == nil {
		t.Error("no rounds are no error")
	}
}
