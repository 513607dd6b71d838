package tether

import (
	"context"
	"errors"
	"sync"
	"time"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tether-go/tether/breaker"
)

const (
	scope = "github.com/tether-go/tether"
	// maxSeries bounds the targets that metrics name, over the life of an engine: series are never
	// forgotten by those who keep them. Further targets are counted together.
	maxSeries  = 200
	otherHosts = "_OTHER"
)

// telemetry is the engine's OpenTelemetry metrics. Attribute sets are closed and built once a target.
type telemetry struct {
	calls, attempts, retries, hedges, refusals, resends metric.Int64Counter
	waits                                               metric.Float64Histogram

	mu     sync.Mutex // guards what follows
	named  map[string]*series
	stages map[string]bool // that metrics name
}

// series are the prepared attributes of one target.
type series struct {
	target   attribute.KeyValue
	plain    []metric.AddOption
	byClass  [Overloaded + 1][]metric.AddOption
	byStage  [stageCount][]metric.AddOption
	waitedBy [stageCount][]metric.RecordOption
	hedged   [hedgeFailed + 1][]metric.AddOption
}

func (e *Engine) newTelemetry(provider metric.MeterProvider) (*telemetry, error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scope)
	t := &telemetry{named: make(map[string]*series), stages: make(map[string]bool)}
	var errs [9]error
	t.calls, errs[0] = meter.Int64Counter("tether.client.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls that were asked for."))
	t.attempts, errs[1] = meter.Int64Counter("tether.client.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Attempts that were sent, by what they taught."))
	t.retries, errs[2] = meter.Int64Counter("tether.client.retries", metric.WithUnit("{retry}"),
		metric.WithDescription("Repeats that were decided on."))
	t.refusals, errs[3] = meter.Int64Counter("tether.client.refusals", metric.WithUnit("{refusal}"),
		metric.WithDescription("Attempts that were not sent, by the stage that refused."))
	t.waits, errs[4] = meter.Float64Histogram("tether.client.wait.duration", metric.WithUnit("s"),
		metric.WithDescription("Time that calls waited in line, by the stage that let them go last."),
		metric.WithExplicitBucketBoundaries(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60))
	errs[5] = e.gauges(meter)
	t.resends, errs[6] = meter.Int64Counter("tether.client.resends", metric.WithUnit("{request}"),
		metric.WithDescription("Requests that net/http sent again by itself, within an attempt."))
	t.hedges, errs[7] = meter.Int64Counter("tether.client.hedges", metric.WithUnit("{hedge}"),
		metric.WithDescription("Hedges that were due, by what became of them."))
	errs[8] = e.flagCounters(meter)
	return t, errors.Join(errs[:]...)
}

// gauges are read only when somebody collects. The provider must not keep the engine alive: engines
// need no closing.
func (e *Engine) gauges(meter metric.Meter) error {
	var errs [4]error
	state, err := meter.Int64ObservableGauge("tether.client.breakers.open", metric.WithUnit("{breaker}"),
		metric.WithDescription("1 where the target's breaker is not closed or forced open, else 0."))
	errs[0] = err
	version, err := meter.Int64ObservableGauge("tether.config.version", metric.WithUnit("1"),
		metric.WithDescription("Version of the document in force; 0: the application's own."))
	errs[1] = err
	age, err := meter.Float64ObservableGauge("tether.config.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the configuration in force was put there."))
	errs[2] = err
	stage, err := meter.Int64ObservableGauge("tether.config.stages", metric.WithUnit("{stage}"),
		metric.WithDescription("1 where a stage of the document is in force, 0 where it was rolled back."))
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	engine := weak.Make(e)
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		e := engine.Value()
		if e == nil {
			return nil
		}
		current := e.config.Load()
		o.ObserveInt64(version, int64(current.version()))
		o.ObserveFloat64(age, time.Since(current.since).Seconds())
		open := make(map[attribute.KeyValue]int64)
		health := e.Health()
		for _, name := range health.Stages {
			o.ObserveInt64(stage, 1, e.telemetry.stage(name))
		}
		for _, name := range health.RolledBack {
			o.ObserveInt64(stage, 0, e.telemetry.stage(name))
		}
		for _, t := range health.Targets {
			name := e.telemetry.of(t.Target).target
			if t.BreakerMode == breaker.ForcedOpen || t.BreakerMode != breaker.ForcedClosed && t.Breaker != breaker.Closed {
				open[name]++
			} else {
				open[name] += 0
			}
		}
		for name, n := range open {
			o.ObserveInt64(state, n, metric.WithAttributes(name))
		}
		return nil
	}, state, version, age, stage)
	return err
}

// stage is the attribute of a stage: its name, or that of the rest.
func (t *telemetry) stage(name string) metric.MeasurementOption {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stages[name] && len(t.stages) >= maxSeries {
		name = otherHosts
	}
	t.stages[name] = true
	return metric.WithAttributes(attribute.String("tether.config.stage", name))
}

// of returns the attributes of a target: its own, or those of the rest.
func (t *telemetry) of(target string) *series {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.named[target]; s != nil {
		return s
	}
	if len(t.named) >= maxSeries {
		target = otherHosts
		if s := t.named[target]; s != nil {
			return s
		}
	}
	s := newSeries(target)
	t.named[target] = s
	return s
}

func newSeries(target string) *series {
	s := &series{target: attribute.String("server.address", target)}
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(more, s.target)...))
	}
	s.plain = []metric.AddOption{with()}
	for class := range s.byClass {
		s.byClass[class] = []metric.AddOption{with(attribute.String("tether.outcome", Class(class).String()))}
	}
	for result := range s.hedged {
		s.hedged[result] = []metric.AddOption{with(attribute.String("tether.result", hedgeResult(result).String()))}
	}
	for stage := StageKill; stage < stageCount; stage++ {
		option := with(attribute.String("tether.stage", stage.String()))
		s.byStage[stage] = []metric.AddOption{option}
		s.waitedBy[stage] = []metric.RecordOption{option}
	}
	return s
}

// count adds one where somebody listens.
func count(ctx context.Context, counter metric.Int64Counter, attributes []metric.AddOption) {
	if counter.Enabled(ctx) {
		counter.Add(ctx, 1, attributes...)
	}
}

// spanEvent tells the caller's span, if there is one that is recorded. No URL and no error text goes in.
func (c *call) spanEvent(name string, attributes ...attribute.KeyValue) {
	span := trace.SpanFromContext(c.Context)
	if span.IsRecording() {
		span.AddEvent(name, trace.WithAttributes(append(attributes,
			attribute.String("server.address", c.target.name), attribute.Int("tether.attempt", c.attempts))...))
	}
}
