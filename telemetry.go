package tether

import (
	"time"
	"weak"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/metrics"
)

// metricNames are the words that metrics use for the numbers of the root.
func metricNames() (names metrics.Names) {
	for class := Ignored; class <= Overloaded; class++ {
		names.Outcomes = append(names.Outcomes, class.String())
	}
	for stage := Stage(0); stage < stageCount; stage++ {
		names.Stages = append(names.Stages, stage.String())
	}
	for result := hedgeDenied; result <= hedgeFailed; result++ {
		names.Hedges = append(names.Hedges, result.String())
	}
	return names
}

// measure makes the engine's instruments.
func (e *Engine) measure(provider metric.MeterProvider) error {
	set, meter, err := metrics.New(provider, metricNames())
	if err != nil {
		return err
	}
	e.telemetry = set
	engine := weak.Make(e)
	return set.Observe(meter,
		func() *metrics.State {
			if e := engine.Value(); e != nil {
				return e.measured()
			}
			return nil
		},
		func() *flags.Tally {
			if e := engine.Value(); e != nil {
				return &e.tally
			}
			return nil
		})
}

// measured is what the engine shows when metrics are collected.
func (e *Engine) measured() *metrics.State {
	config, health := e.config.Load(), e.Health()
	state := &metrics.State{Version: config.version(), Age: time.Since(config.since).Seconds(),
		Rollouts: health.Stages, RolledBack: health.RolledBack}
	for _, t := range health.Targets {
		state.Breakers = append(state.Breakers, metrics.Breaker{Target: t.Target, Open: t.BreakerMode == breaker.ForcedOpen ||
			t.BreakerMode != breaker.ForcedClosed && t.Breaker != breaker.Closed})
	}
	return state
}

// spanEvent tells the caller's span, if there is one that is recorded. No URL and no error text goes in.
func (c *call) spanEvent(name string, attributes ...attribute.KeyValue) {
	span := trace.SpanFromContext(c.Context)
	if span.IsRecording() {
		span.AddEvent(name, trace.WithAttributes(append(attributes,
			attribute.String("server.address", c.Target.Name), attribute.Int("tether.attempt", c.attempts))...))
	}
}
