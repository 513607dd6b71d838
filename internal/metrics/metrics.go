// Package metrics holds an engine's OpenTelemetry instruments and the attributes of its targets, which are built once.
package metrics

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	scope = "github.com/tether-go/tether"
	// maxSeries bounds the targets that metrics name, over the life of an engine: a backend never forgets a series.
	// Further targets are counted together.
	maxSeries = 200
	other     = "_OTHER"
)

// Names are the values of the attributes that tell series of one target apart, by their number.
type Names struct{ Outcomes, Stages, Hedges []string }

// Set is the instruments of one engine. It is safe for concurrent use.
type Set struct {
	Calls, Attempts, Retries, Hedges, Refusals, Resends metric.Int64Counter
	Waits                                               metric.Float64Histogram

	names Names

	mu       sync.Mutex // guards what follows
	named    map[string]*Series
	rollouts map[string]bool // that metrics name
}

// Series are the prepared attributes of one target.
type Series struct {
	target    attribute.KeyValue
	Plain     []metric.AddOption
	ByOutcome [][]metric.AddOption
	ByStage   [][]metric.AddOption
	WaitedBy  [][]metric.RecordOption
	Hedged    [][]metric.AddOption
}

// New returns the instruments of provider, or of OpenTelemetry's global one if that is nil.
func New(provider metric.MeterProvider, names Names) (*Set, metric.Meter, error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scope)
	s := &Set{names: names, named: make(map[string]*Series), rollouts: make(map[string]bool)}
	var errs [7]error
	s.Calls, errs[0] = meter.Int64Counter("tether.client.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls that were asked for."))
	s.Attempts, errs[1] = meter.Int64Counter("tether.client.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Attempts that were sent, by what they taught."))
	s.Retries, errs[2] = meter.Int64Counter("tether.client.retries", metric.WithUnit("{retry}"),
		metric.WithDescription("Repeats that were decided on."))
	s.Refusals, errs[3] = meter.Int64Counter("tether.client.refusals", metric.WithUnit("{refusal}"),
		metric.WithDescription("Attempts that were not sent, by the stage that refused."))
	s.Waits, errs[4] = meter.Float64Histogram("tether.client.wait.duration", metric.WithUnit("s"),
		metric.WithDescription("Time that calls waited in line, by the stage that let them go last."),
		metric.WithExplicitBucketBoundaries(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60))
	s.Resends, errs[5] = meter.Int64Counter("tether.client.resends", metric.WithUnit("{request}"),
		metric.WithDescription("Requests that net/http sent again by itself, within an attempt."))
	s.Hedges, errs[6] = meter.Int64Counter("tether.client.hedges", metric.WithUnit("{hedge}"),
		metric.WithDescription("Hedges that were due, by what became of them."))
	return s, meter, errors.Join(errs[:]...)
}

// Count adds one if the counter has a listener.
func Count(ctx context.Context, counter metric.Int64Counter, attributes []metric.AddOption) {
	if counter.Enabled(ctx) {
		counter.Add(ctx, 1, attributes...)
	}
}

// Of returns the attributes of a target: its own, or those of the rest.
func (s *Set) Of(target string) *Series {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.named[target]; known != nil {
		return known
	}
	if len(s.named) >= maxSeries {
		target = other
		if known := s.named[target]; known != nil {
			return known
		}
	}
	series := s.series(target)
	s.named[target] = series
	return series
}

func (s *Set) series(target string) *Series {
	made := &Series{target: attribute.String("server.address", target)}
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(more, made.target)...))
	}
	made.Plain = []metric.AddOption{with()}
	for _, name := range s.names.Outcomes {
		made.ByOutcome = append(made.ByOutcome, []metric.AddOption{with(attribute.String("tether.outcome", name))})
	}
	for _, name := range s.names.Hedges {
		made.Hedged = append(made.Hedged, []metric.AddOption{with(attribute.String("tether.result", name))})
	}
	for _, name := range s.names.Stages {
		option := with(attribute.String("tether.stage", name))
		made.ByStage = append(made.ByStage, []metric.AddOption{option})
		made.WaitedBy = append(made.WaitedBy, []metric.RecordOption{option})
	}
	return made
}

// rollout is the attribute of a document's stage: its name, or that of the rest.
func (s *Set) rollout(name string) metric.MeasurementOption {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.rollouts[name] && len(s.rollouts) >= maxSeries {
		name = other
	}
	s.rollouts[name] = true
	return metric.WithAttributes(attribute.String("tether.config.stage", name))
}
