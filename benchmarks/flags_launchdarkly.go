package main

import (
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldbuilders"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/testhelpers/ldtestdata"
)

// launchDarklyFlags is LaunchDarkly's client over its data source for tests: no network, no events, no log.
func launchDarklyFlags() (c flagContender, stop func(), err error) {
	source := ldtestdata.DataSource()
	for _, flag := range launchDarklyModels() {
		source.UsePreconfiguredFlag(flag)
	}
	client, err := ld.MakeCustomClient("sdk-key", ld.Config{
		DataSource:       source,
		Events:           ldcomponents.NoEvents(),
		Logging:          ldcomponents.NoLogging(),
		DiagnosticOptOut: true,
	}, 5*time.Second)
	if err != nil {
		if client != nil {
			_ = client.Close()
		}
		return flagContender{}, nil, err
	}
	about := func(u user) ldcontext.Context {
		return ldcontext.NewBuilder(u.key).SetString("plan", u.plan).SetString("country", u.country).Build()
	}
	// The errors come with the default, which the test of agreement would notice.
	return flagContender{
		name: "LaunchDarkly",
		yes: func(flag string, u user) func() bool {
			who := about(u)
			return func() bool { on, _ := client.BoolVariation(flag, who, false); return on }
		},
		text: func(flag string, u user) func() string {
			who := about(u)
			return func() string { text, _ := client.StringVariation(flag, who, ""); return text }
		},
		anew: func(flag string, u user) func() bool {
			return func() bool { on, _ := client.BoolVariation(flag, about(u), false); return on }
		},
	}, func() { _ = client.Close() }, nil
}

// launchDarklyModels are the document's flags as LaunchDarkly's server would send them.
func launchDarklyModels() []ldmodel.FeatureFlag {
	const on, off = 0, 1
	boolean := func(key string) *ldbuilders.FlagBuilder {
		return ldbuilders.NewFlagBuilder(key).On(true).Salt(key).OffVariation(off).
			Variations(ldvalue.Bool(true), ldvalue.Bool(false))
	}
	pro := func() *ldbuilders.RuleBuilder {
		return ldbuilders.NewRuleBuilder().
			Clauses(ldbuilders.Clause("plan", ldmodel.OperatorIn, ldvalue.String("pro")))
	}
	// Weights are thousandths of a percent.
	tenth := ldbuilders.Rollout(ldbuilders.Bucket(on, 10_000), ldbuilders.Bucket(off, 90_000))
	return []ldmodel.FeatureFlag{
		boolean("static").FallthroughVariation(on).Build(),
		boolean("targeted").AddRule(pro().Variation(on)).FallthroughVariation(off).Build(),
		boolean("rollout").Fallthrough(tenth).Build(),
		boolean("both").AddRule(pro().VariationOrRollout(tenth)).FallthroughVariation(off).Build(),
		boolean("text").Variations(ldvalue.String("#00f"), ldvalue.String("#888")).
			AddRule(pro().Variation(on)).FallthroughVariation(off).Build(),
	}
}
