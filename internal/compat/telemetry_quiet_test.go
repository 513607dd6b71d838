package compat_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/tether-go/tether"
)

// TestQuietCallsAreCounted: metrics have every call and attempt, also where nothing stands in their way.
func TestQuietCallsAreCounted(t *testing.T) {
	good := func(context.Context) tether.Outcome {
		time.Sleep(10 * time.Millisecond)
		return tether.Outcome{Class: tether.Healthy}
	}
	what := tether.Call{Host: "db", GRPCMethod: "/db.Rows/Get"}
	for name, call := range map[string]func(context.Context, *tether.Engine) error{
		"Run": func(ctx context.Context, e *tether.Engine) error { return e.Run(ctx, new(tether.Room), &what, good) },
		"Do": func(ctx context.Context, e *tether.Engine) error {
			return e.Do(ctx, what, func(ctx context.Context, _ *tether.Permit) tether.Outcome { return good(ctx) })
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			reader := metric.NewManualReader()
			e, err := tether.New(tether.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if err := call(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			points := collect(t, reader)
			for _, want := range []string{"tether.client.calls{server.address=db} 100",
				"tether.client.attempts{server.address=db,tether.outcome=healthy} 100"} {
				if !slices.Contains(points, want) {
					t.Errorf("%s: no %q in %q", name, want, points)
				}
			}
		})
	}
}
