package openfeature_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/isolated"
	"go.uber.org/goleak"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/flags/openfeature"
	"github.com/tether-go/tether/remoteconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const several = `{"metadata": {"set": "s"}, "flags": {
	"static": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on", "metadata": {"n": 2}},
	"target": {"state": "ENABLED", "variants": {"a": "A", "b": "B"}, "defaultVariant": "a",
		"targeting": {"if": [{"==": [{"var": "targetingKey"}, "user-1"]}, "b"]}},
	"off":    {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"},
	"number": {"state": "ENABLED", "variants": {"half": 0.5, "two": 2}, "defaultVariant": "two"},
	"half":   {"state": "ENABLED", "variants": {"half": 0.5}, "defaultVariant": "half"},
	"object": {"state": "ENABLED", "variants": {"o": {"k": "v"}}, "defaultVariant": "o"},
	"broken": {"state": "ENABLED", "variants": {"on": true}, "targeting": {"nothing": []}},
	"stray":  {"state": "ENABLED", "variants": {"on": true}, "targeting": {"cat": ["x"]}}}}`

// connected returns a client of the real SDK, apart from the SDK's global one.
func connected(t testing.TB, store *flags.Store, options openfeature.Options) (
	*sdk.Client, *openfeature.Provider, *sdk.EvaluationAPI, error) {
	t.Helper()
	provider, err := openfeature.New(store, options)
	if err != nil {
		t.Fatal(err)
	}
	api := isolated.NewAPI()
	err = api.SetProviderAndWait(t.Context(), provider)
	return api.NewClient(), provider, api, err
}

func storeOf(t testing.TB, document string) *flags.Store {
	t.Helper()
	store, err := flags.New(flags.Options{Load: flags.LoadOptions{Lenient: true}})
	if err != nil {
		t.Fatal(err)
	}
	if document != "" {
		apply(t, store, document)
	}
	return store
}

func apply(t testing.TB, store *flags.Store, document string) {
	t.Helper()
	if _, err := store.Apply([]byte(document)); err != nil {
		t.Fatal(err)
	}
}

// TestEvaluationThroughTheSDK: each row of flagd's table, as a client of the SDK gets it.
func TestEvaluationThroughTheSDK(t *testing.T) {
	client, _, api, err := connected(t, storeOf(t, several), openfeature.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Shutdown(t.Context())
	ctx, as := t.Context(), sdk.NewEvaluationContext("user-1", map[string]any{"x": 1})
	object := map[string]any{"k": "v"}
	for _, c := range []struct {
		flag            string
		fallback        any
		want            any
		variant, reason string
		code            sdk.ErrorCode
	}{
		{"static", false, true, "on", "STATIC", ""},
		{"target", "x", "B", "b", "TARGETING_MATCH", ""},
		{"off", false, false, "", "DISABLED", ""},
		{"off", true, true, "", "DISABLED", ""},
		{"number", int64(7), int64(2), "two", "STATIC", ""},
		{"number", 7.5, 2.0, "two", "STATIC", ""},
		{"half", int64(7), int64(7), "half", "ERROR", sdk.TypeMismatchCode},
		{"half", 7.5, 0.5, "half", "STATIC", ""},
		{"object", object, object, "o", "STATIC", ""},
		{"object", []any{1}, object, "o", "STATIC", ""},
		{"static", []any{1}, []any{1}, "on", "ERROR", sdk.TypeMismatchCode},
		{"static", "x", "x", "on", "ERROR", sdk.TypeMismatchCode},
		{"gone", true, true, "", "ERROR", sdk.FlagNotFoundCode},
		{"broken", true, true, "", "ERROR", sdk.ParseErrorCode},
		{"stray", true, true, "", "ERROR", sdk.GeneralCode},
	} {
		var value any
		var details sdk.EvaluationDetails
		switch fallback := c.fallback.(type) {
		case bool:
			d, _ := client.BooleanValueDetails(ctx, c.flag, fallback, as)
			value, details = d.Value, d.EvaluationDetails
		case string:
			d, _ := client.StringValueDetails(ctx, c.flag, fallback, as)
			value, details = d.Value, d.EvaluationDetails
		case int64:
			d, _ := client.IntValueDetails(ctx, c.flag, fallback, as)
			value, details = d.Value, d.EvaluationDetails
		case float64:
			d, _ := client.FloatValueDetails(ctx, c.flag, fallback, as)
			value, details = d.Value, d.EvaluationDetails
		default:
			d, _ := client.ObjectValueDetails(ctx, c.flag, fallback, as)
			value, details = d.Value, d.EvaluationDetails
		}
		if !reflect.DeepEqual(value, c.want) || details.Variant != c.variant ||
			string(details.Reason) != c.reason || details.ErrorCode != c.code {
			t.Errorf("%s with %v: %v, %+v", c.flag, c.fallback, value, details.ResolutionDetail)
		}
		if set := details.FlagMetadata["set"]; (set == "s") != (c.flag != "gone") {
			t.Errorf("%s: metadata %v", c.flag, details.FlagMetadata)
		}
	}
}

// TestFallbackIsTheCallers, without the SDK's client between, which puts it back after an error.
func TestFallbackIsTheCallers(t *testing.T) {
	provider, err := openfeature.New(storeOf(t, several), openfeature.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"static", "off", "gone", "broken"} {
		d := provider.ObjectEvaluation(t.Context(), flag, "mine", sdk.FlattenedContext{})
		s := provider.StringEvaluation(t.Context(), flag, "mine", nil)
		if d.Value != "mine" || s.Value != "mine" || d.Reason != s.Reason {
			t.Errorf("%s: %+v, %+v", flag, d, s)
		}
	}
}

// heard collects events of one API.
type heard struct {
	mu     sync.Mutex // guards what follows
	events []string
}

func (h *heard) listen(api *sdk.EvaluationAPI) {
	for _, kind := range []sdk.EventType{sdk.ProviderReady, sdk.ProviderConfigChange, sdk.ProviderStale, sdk.ProviderError} {
		tell := func(d sdk.EventDetails) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, strings.TrimSpace(string(kind)+" "+strings.Join(d.FlagChanges, ",")))
		}
		api.AddHandler(kind, &tell)
	}
}

// take returns what was heard since it was last asked, sorted: the SDK tells each in a goroutine.
func (h *heard) take() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	events := h.events
	h.events = nil
	slices.Sort(events)
	return events
}

// TestStatesAndEvents goes through the life of a provider, from no flags to shutdown.
func TestStatesAndEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := tether.New(tether.Options{})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		client, provider, api, err := connected(t, engine.Flags(), openfeature.Options{Wait: 3 * time.Second})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Fatalf("initialised without flags: %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		var h heard
		h.listen(api)
		h.take()
		publish := func(version int, flag string, percent int) {
			document := fmt.Sprintf(`{"schema":1,"document":"d","version":%d,"flags":{"flags":{"%s":{"state":"ENABLED",
				"variants":{"on":true,"off":false},"targeting":{"fractional":[["on",%d],["off",%d]]}}}}}`,
				version, flag, percent, 100-percent)
			if _, err := engine.Apply([]byte(document)); err != nil {
				t.Fatal(err)
			}
		}
		event := func(kind remoteconfig.EventKind) {
			provider.Observe(remoteconfig.Event{Kind: kind, Err: errors.New("away")})
		}
		as := sdk.NewEvaluationContext("u", nil)
		for _, step := range []struct {
			name  string
			do    func()
			state sdk.State
			want  string
			on    bool
		}{
			{"the source is away", func() { event(remoteconfig.EventFailed) }, sdk.ErrorState, "", false},
			{"the first flags", func() { publish(1, "f", 100) }, sdk.ReadyState,
				"PROVIDER_CONFIGURATION_CHANGED f|PROVIDER_READY", true},
			{"another flag", func() { publish(2, "g", 100) }, sdk.ReadyState, "PROVIDER_CONFIGURATION_CHANGED f,g", false},
			{"and back", func() { publish(3, "f", 100) }, sdk.ReadyState, "PROVIDER_CONFIGURATION_CHANGED f,g", true},
			{"a failure", func() { event(remoteconfig.EventFailed) }, sdk.StaleState, "PROVIDER_STALE", true},
			{"another", func() { event(remoteconfig.EventFailed) }, sdk.StaleState, "", true},
			{"a refusal", func() { event(remoteconfig.EventRefused) }, sdk.StaleState, "", true},
			{"recovery", func() { event(remoteconfig.EventRecovered) }, sdk.ReadyState, "PROVIDER_READY", true},
			{"shutdown", func() {
				provider.Shutdown()
				publish(4, "f", 0)
				event(remoteconfig.EventFailed)
			}, sdk.ReadyState, "", false},
		} {
			step.do()
			got := strings.Join(h.take(), "|")
			on := client.Boolean(t.Context(), "f", false, as)
			if got != step.want || client.State() != step.state || on != step.on {
				t.Errorf("%s: heard %q in state %s, on is %v", step.name, got, client.State(), on)
			}
		}
		if err := api.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestInitialisationWaits: until the first document that the watcher tells of, one without flags included.
func TestInitialisationWaits(t *testing.T) {
	for name, arrive := range map[string]func(*flags.Store, *openfeature.Provider){
		"flags": func(s *flags.Store, _ *openfeature.Provider) { apply(t, s, several) },
		"a document without": func(_ *flags.Store, p *openfeature.Provider) {
			p.Observe(remoteconfig.Event{Kind: remoteconfig.EventApplied})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storeOf(t, "")
				provider, err := openfeature.New(store, openfeature.Options{})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				time.AfterFunc(2*time.Second, func() { arrive(store, provider) })
				if err := provider.Init(sdk.EvaluationContext{}); err != nil || time.Since(start) != 2*time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				empty, _ := openfeature.New(storeOf(t, ""), openfeature.Options{})
				start = time.Now()
				err = empty.InitWithContext(ctx, sdk.EvaluationContext{})
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}

// TestSlowSDK: nobody takes the events, and no document waits for that; in the end every key is told.
func TestSlowSDK(t *testing.T) {
	store := storeOf(t, several)
	provider, err := openfeature.New(store, openfeature.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := provider.Init(sdk.EvaluationContext{}); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		apply(t, store, fmt.Sprintf(`{"flags":{"f%d":{"state":"ENABLED","variants":{"on":true},"defaultVariant":"on"}}}`, i))
		kind := remoteconfig.EventFailed
		if i%2 == 1 {
			kind = remoteconfig.EventRecovered
		}
		provider.Observe(remoteconfig.Event{Kind: kind})
	}
	provider.Shutdown()
	told, last := make(map[string]bool), sdk.EventType("")
	for len(provider.EventChannel()) > 0 {
		e := <-provider.EventChannel()
		for _, key := range e.FlagChanges {
			told[key] = true
		}
		if e.EventType != sdk.ProviderConfigChange {
			last = e.EventType
		}
	}
	if len(told) != 200+8 || last != sdk.ProviderReady {
		t.Errorf("%d keys told, want 208; the last state is %s", len(told), last)
	}
}

func TestImpossibleOptions(t *testing.T) {
	if _, err := openfeature.New(nil, openfeature.Options{}); err == nil {
		t.Error("a provider without a store")
	}
	if _, err := openfeature.New(storeOf(t, ""), openfeature.Options{Wait: -1}); err == nil {
		t.Error("a negative wait")
	}
}

func ExampleNew() {
	run := func() error {
		engine, err := tether.New(tether.Options{})
		if err != nil {
			return err
		}
		document := `{"schema": 1, "document": "shop", "version": 1, "flags": {"flags": {"checkout-v2": {
			"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"}}}}`
		if _, err := engine.Apply([]byte(document)); err != nil { // as a watcher does
			return err
		}
		provider, err := openfeature.New(engine.Flags(), openfeature.Options{})
		if err != nil {
			return err
		}
		ctx, api := context.Background(), isolated.NewAPI() // applications use the SDK's global one
		defer func() { _ = api.Shutdown(ctx) }()
		if err := api.SetProviderAndWait(ctx, provider); err != nil {
			return err
		}
		client := api.NewClient(sdk.WithDomain("checkout"))
		fmt.Println(client.Boolean(ctx, "checkout-v2", false, sdk.NewEvaluationContext("user-17", nil)))
		return nil
	}
	if err := run(); err != nil {
		fmt.Println(err)
	}
	// Output: true
}
