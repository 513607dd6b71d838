package compat_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tether-go/tether"
)

var otelOutside = subject{
	name:    "otelhttp outside",
	healthy: answersJSON,
	open: func(t *testing.T, wrapped *http.Client, url string) (read, write call) {
		return plain.open(t, &http.Client{Transport: otelhttp.NewTransport(wrapped.Transport)}, url)
	},
}

var otelInside = subject{
	name:    "otelhttp inside",
	healthy: answersJSON,
	open:    plain.open,
	inner:   func(base http.RoundTripper) http.RoundTripper { return otelhttp.NewTransport(base) },
}

// TestSpansAndMetrics: inside of the wrapper every attempt has a span of its own and is measured, and
// the server is told its name; outside, the call is.
func TestSpansAndMetrics(t *testing.T) {
	for _, test := range []struct {
		name   string
		inside bool
		spans  int
	}{{"inside", true, 2}, {"outside", false, 1}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorder, reader := tracetest.NewSpanRecorder(), metric.NewManualReader()
				provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
				trace := func(base http.RoundTripper) http.RoundTripper {
					return otelhttp.NewTransport(base, otelhttp.WithTracerProvider(provider),
						otelhttp.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))),
						otelhttp.WithPropagators(propagation.TraceContext{}))
				}
				b := &backend{healthy: answersJSON}
				transport, url, _ := refusable(t, b)
				var client *http.Client
				e := engine(t, tether.Options{})
				if test.inside {
					client = e.Client(&http.Client{Transport: trace(transport)}).Client
				} else {
					client = &http.Client{Transport: trace(e.Transport(transport))}
				}

				b.fails(status(503))
				ctx, parent := provider.Tracer("test").Start(t.Context(), "checkout")
				works(t, func(context.Context, string) error {
					return sends(client.Do, http.MethodGet, url)(ctx, "")
				})
				parent.End()

				ended := recorder.Ended()
				spans := ended[:len(ended)-1] // without the parent
				if len(spans) != test.spans {
					t.Fatalf("%d spans, want %d", len(spans), test.spans)
				}
				named := map[string]bool{}
				for _, span := range spans {
					named[span.SpanContext().SpanID().String()] = true
					if span.Parent().SpanID() != parent.SpanContext().SpanID() {
						t.Error("a span isn't the caller's child")
					}
				}
				told := map[string]bool{}
				for _, a := range b.arrived(t, 2) {
					id := strings.Split(a.header.Get("Traceparent"), "-")
					if len(id) != 4 || !named[id[2]] {
						t.Errorf("the server was told of %v, which has not ended", id)
						continue
					}
					told[id[2]] = true
				}
				if len(told) != test.spans {
					t.Errorf("the server was told of %d spans, want %d", len(told), test.spans)
				}
				measured := 0
				for _, point := range collect(t, reader) {
					if strings.HasPrefix(point, "http.client.request.duration") {
						measured++ // one point for each status: 503 and 200, or only 200
					}
				}
				if measured != test.spans {
					t.Errorf("%d statuses measured, want %d: %v", measured, test.spans, collect(t, reader))
				}
			})
		})
	}
}
