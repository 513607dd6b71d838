package tether

import (
	"context"
	"errors"
	"strings"
	"weak"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// flagCounters tell of flags what has been tallied when somebody collects: no evaluation and no guarded call
// knows of OpenTelemetry. Attributes are those of the semantic conventions for feature flags; the names are
// ours, for the conventions have events and no metric.
func (e *Engine) flagCounters(meter metric.Meter) error {
	evaluations, err1 := meter.Int64ObservableCounter("tether.flag.evaluations", metric.WithUnit("{evaluation}"),
		metric.WithDescription("Evaluations of feature flags since the first collection, by variant."))
	calls, err2 := meter.Int64ObservableCounter("tether.flag.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of guarded paths since the first collection, by path and outcome."))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	engine := weak.Make(e) // as for the gauges
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if e := engine.Value(); e != nil {
			e.observeFlags(o, evaluations, calls)
		}
		return nil
	}, evaluations, calls)
	return err
}

func (e *Engine) observeFlags(o metric.Observer, evaluations, calls metric.Int64Observable) {
	for _, n := range e.tally.Evaluations() {
		attributes := []attribute.KeyValue{
			attribute.String("feature_flag.key", n.Key),
			attribute.String("feature_flag.provider.name", "tether"),
			attribute.String("feature_flag.result.reason", strings.ToLower(string(n.Reason))),
		}
		if n.Variant != "" {
			attributes = append(attributes, attribute.String("feature_flag.result.variant", n.Variant))
		}
		if n.Code != "" {
			attributes = append(attributes, attribute.String("error.type", strings.ToLower(string(n.Code))))
		}
		o.ObserveInt64(evaluations, int64(n.Count), metric.WithAttributes(attributes...))
	}
	for _, n := range e.tally.Outcomes() {
		tell := func(path, outcome string, count uint64) {
			o.ObserveInt64(calls, int64(count), metric.WithAttributes(attribute.String("feature_flag.key", n.Key),
				attribute.String("tether.path", path), attribute.String("tether.outcome", outcome)))
		}
		tell("new", "good", n.New.Calls-n.New.Failures)
		tell("new", "failed", n.New.Failures)
		tell("old", "good", n.Old.Calls-n.Old.Failures)
		tell("old", "failed", n.Old.Failures)
	}
}
