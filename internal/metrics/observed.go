package metrics

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tether-go/tether/flags"
)

// State is what an engine shows when metrics are collected.
type State struct {
	Version              uint64  // of the document in force; 0: the application's own
	Age                  float64 // seconds since the configuration in force was put there
	Rollouts, RolledBack []string
	Breakers             []Breaker
}

// Breaker tells whether a target's breaker is not closed.
type Breaker struct {
	Target string
	Open   bool
}

// Observe registers the instruments that are read only when metrics are collected. State and tally return nil once the
// engine is gone: a provider must not keep an engine alive, because engines need no closing.
func (s *Set) Observe(meter metric.Meter, state func() *State, tally func() *flags.Tally) error {
	return errors.Join(s.gauges(meter, state), flagCounters(meter, tally))
}

func (s *Set) gauges(meter metric.Meter, state func() *State) error {
	var errs [4]error
	breakers, err := meter.Int64ObservableGauge("tether.client.breakers.open", metric.WithUnit("{breaker}"),
		metric.WithDescription("1 where the target's breaker is not closed or forced open, else 0."))
	errs[0] = err
	version, err := meter.Int64ObservableGauge("tether.config.version", metric.WithUnit("1"),
		metric.WithDescription("Version of the document in force; 0: the application's own."))
	errs[1] = err
	age, err := meter.Float64ObservableGauge("tether.config.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the configuration in force was put there."))
	errs[2] = err
	rollout, err := meter.Int64ObservableGauge("tether.config.stages", metric.WithUnit("{stage}"),
		metric.WithDescription("1 where a stage of the document is in force, 0 where it was rolled back."))
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := state()
		if now == nil {
			return nil
		}
		o.ObserveInt64(version, int64(now.Version))
		o.ObserveFloat64(age, now.Age)
		for _, name := range now.Rollouts {
			o.ObserveInt64(rollout, 1, s.rollout(name))
		}
		for _, name := range now.RolledBack {
			o.ObserveInt64(rollout, 0, s.rollout(name))
		}
		open := make(map[attribute.KeyValue]int64)
		for _, b := range now.Breakers {
			n := int64(0)
			if b.Open {
				n = 1
			}
			open[s.Of(b.Target).target] += n
		}
		for name, n := range open {
			o.ObserveInt64(breakers, n, metric.WithAttributes(name))
		}
		return nil
	}, breakers, version, age, rollout)
	return err
}

// flagCounters report what flags have tallied: no evaluation and no guarded call knows of OpenTelemetry. Attributes are
// those of the semantic conventions for feature flags; the names are ours, for the conventions have events and no metric.
func flagCounters(meter metric.Meter, tally func() *flags.Tally) error {
	evaluations, err1 := meter.Int64ObservableCounter("tether.flag.evaluations", metric.WithUnit("{evaluation}"),
		metric.WithDescription("Evaluations of feature flags since the first collection, by variant."))
	calls, err2 := meter.Int64ObservableCounter("tether.flag.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of guarded paths since the first collection, by path and outcome."))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if now := tally(); now != nil {
			observeFlags(o, now, evaluations, calls)
		}
		return nil
	}, evaluations, calls)
	return err
}

func observeFlags(o metric.Observer, tally *flags.Tally, evaluations, calls metric.Int64Observable) {
	for _, n := range tally.Evaluations() {
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
	for _, n := range tally.Outcomes() {
		observe := func(path, outcome string, count uint64) {
			o.ObserveInt64(calls, int64(count), metric.WithAttributes(attribute.String("feature_flag.key", n.Key),
				attribute.String("tether.path", path), attribute.String("tether.outcome", outcome)))
		}
		observe("new", "good", n.New.Calls-n.New.Failures)
		observe("new", "failed", n.New.Failures)
		observe("old", "good", n.Old.Calls-n.Old.Failures)
		observe("old", "failed", n.Old.Failures)
	}
}
