package main

import (
	"context"

	sdk "github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/isolated"
	"github.com/open-feature/go-sdk/openfeature/memprovider"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/flags/openfeature"
)

func newStore() (*flags.Store, error) {
	store, err := flags.New(flags.Options{})
	if err != nil {
		return nil, err
	}
	_, err = store.Apply([]byte(flagsDocument))
	return store, err
}

func tetherFlags() (flagContender, error) {
	store, err := newStore()
	return flagContender{
		name: "tether",
		yes: func(flag string, u user) func() bool {
			attributes := flags.Attributes(u.attributes())
			return func() bool { return store.Bool(attributes, flag, false) }
		},
		text: func(flag string, u user) func() string {
			attributes := flags.Attributes(u.attributes())
			return func() string { return store.String(attributes, flag, "") }
		},
		anew: func(flag string, u user) func() bool {
			return func() bool { return store.Bool(u.attributes(), flag, false) }
		},
	}, err
}

// openFeatureFlags are OpenFeature's client over two providers: what it costs by itself shows in the
// in-memory one, whose rules are Go code.
func openFeatureFlags() (both []flagContender, stop func(), err error) {
	store, err := newStore()
	if err != nil {
		return nil, nil, err
	}
	ours, err := openfeature.New(store, openfeature.Options{})
	if err != nil {
		return nil, nil, err
	}
	var apis []*sdk.EvaluationAPI
	stop = func() {
		for _, api := range apis {
			_ = api.Shutdown(context.Background()) // both providers' wait for nothing
		}
	}
	for _, p := range []struct {
		name     string
		provider sdk.FeatureProvider
	}{
		{"tether by OpenFeature", ours},
		{"OpenFeature in memory", memprovider.NewInMemoryProvider(inMemory())},
	} {
		api := isolated.NewAPI()
		apis = append(apis, api)
		if err := api.SetProviderAndWait(context.Background(), p.provider); err != nil {
			stop()
			return nil, nil, err
		}
		both = append(both, openFeatureClient(p.name, api.NewClient()))
	}
	return both, stop, nil
}

func openFeatureClient(name string, client *sdk.Client) flagContender {
	ctx := context.Background()
	about := func(u user) sdk.EvaluationContext {
		return sdk.NewEvaluationContext(u.key, map[string]any{"plan": u.plan, "country": u.country})
	}
	return flagContender{
		name: name,
		yes: func(flag string, u user) func() bool {
			evaluation := about(u)
			return func() bool { return client.Boolean(ctx, flag, false, evaluation) }
		},
		text: func(flag string, u user) func() string {
			evaluation := about(u)
			return func() string { return client.String(ctx, flag, "", evaluation) }
		},
		anew: func(flag string, u user) func() bool {
			return func() bool { return client.Boolean(ctx, flag, false, about(u)) }
		},
	}
}

// inMemory are the document's flags for a provider that reads no rules.
func inMemory() map[string]memprovider.InMemoryFlag {
	rule := func(decide func(flag string, about sdk.FlattenedContext) string) memprovider.ContextEvaluator {
		evaluator := func(f memprovider.InMemoryFlag, about sdk.FlattenedContext) (any, sdk.ProviderResolutionDetail) {
			variant := decide(f.Key, about)
			return f.Variants[variant],
				sdk.ProviderResolutionDetail{Reason: sdk.TargetingMatchReason, Variant: variant}
		}
		return &evaluator
	}
	pro := func(about sdk.FlattenedContext) bool { return about["plan"] == "pro" }
	tenth := func(flag string, about sdk.FlattenedContext) bool {
		key, _ := about[sdk.TargetingKey].(string)
		return inTenth(flag, key)
	}
	pick := func(yes bool, one, other string) string {
		if yes {
			return one
		}
		return other
	}
	onOff := map[string]any{"on": true, "off": false}
	return map[string]memprovider.InMemoryFlag{
		"static": {Key: "static", State: memprovider.Enabled, DefaultVariant: "on", Variants: onOff},
		"targeted": {Key: "targeted", State: memprovider.Enabled, DefaultVariant: "off", Variants: onOff,
			ContextEvaluator: rule(func(_ string, about sdk.FlattenedContext) string {
				return pick(pro(about), "on", "off")
			})},
		"rollout": {Key: "rollout", State: memprovider.Enabled, DefaultVariant: "off", Variants: onOff,
			ContextEvaluator: rule(func(flag string, about sdk.FlattenedContext) string {
				return pick(tenth(flag, about), "on", "off")
			})},
		"both": {Key: "both", State: memprovider.Enabled, DefaultVariant: "off", Variants: onOff,
			ContextEvaluator: rule(func(flag string, about sdk.FlattenedContext) string {
				return pick(pro(about) && tenth(flag, about), "on", "off")
			})},
		"text": {Key: "text", State: memprovider.Enabled, DefaultVariant: "grey",
			Variants: map[string]any{"blue": "#00f", "grey": "#888"},
			ContextEvaluator: rule(func(_ string, about sdk.FlattenedContext) string {
				return pick(pro(about), "blue", "grey")
			})},
	}
}
