package compat_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/tether-go/tether/flags"
)

// TestFlagMetrics: exposures by variant and outcomes by path, as the SDK collects them, over two documents.
func TestFlagMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	engine := client(t, answers(200), reader).Engine()
	document := `{"schema":1,"document":"d","version":1,"flags":{"flags":{
		"checkout":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"off",
			"targeting":{"if":[{"var":"new"},"on"]}},
		"asleep":{"state":"DISABLED","variants":{"on":true}}}}}`
	guard, err := flags.NewGuard(engine.Flags(), "checkout", flags.GuardPolicy{}, flags.GuardOptions{FallBack: true})
	if err != nil {
		t.Fatal(err)
	}
	fails := func(context.Context) error { return errors.New("no") }
	works := func(context.Context) error { return nil }
	for version := range 2 {
		if _, err := engine.Apply([]byte(strings.Replace(document, `"version":1`, `"version":`+string(rune('1'+version)), 1))); err != nil {
			t.Fatal(err)
		}
		if version == 0 {
			collect(t, reader) // counting starts with the first collection
		}
		engine.Flags().Bool(nil, "asleep", false)
		for range 3 {
			if err := guard.Do(t.Context(), flags.Attributes{"new": true}, fails, works); err != nil {
				t.Fatal(err)
			}
		}
		if err := guard.Do(t.Context(), nil, fails, works); err != nil {
			t.Fatal(err)
		}
	}
	got := slices.DeleteFunc(collect(t, reader), func(p string) bool { return !strings.HasPrefix(p, "tether.flag.") })
	const flag, provider = "feature_flag.key=checkout", ",feature_flag.provider.name=tether,"
	want := []string{
		"tether.flag.calls{" + flag + ",tether.outcome=failed,tether.path=new} 6",
		"tether.flag.calls{" + flag + ",tether.outcome=failed,tether.path=old} 0",
		"tether.flag.calls{" + flag + ",tether.outcome=good,tether.path=new} 0",
		"tether.flag.calls{" + flag + ",tether.outcome=good,tether.path=old} 8",
		"tether.flag.evaluations{feature_flag.key=asleep" + provider + "feature_flag.result.reason=disabled} 2",
		"tether.flag.evaluations{" + flag + provider + "feature_flag.result.reason=default,feature_flag.result.variant=off} 2",
		"tether.flag.evaluations{" + flag + provider + "feature_flag.result.reason=targeting_match,feature_flag.result.variant=on} 6",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
