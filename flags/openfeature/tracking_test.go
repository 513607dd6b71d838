package openfeature_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/open-feature/go-sdk/openfeature"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/flags/openfeature"
)

const half = `{"flags": {"f": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
	"targeting": {"fractional": [["on", 50], ["off", 50]]}}}}`

func guardOf(t testing.TB, store *flags.Store) *flags.Guard {
	t.Helper()
	guard, err := flags.NewGuard(store, "f", flags.GuardPolicy{}, flags.GuardOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

// TestTrackingFeedsGuards: what an application tracks of its paths turns a flag off and on again, through the real client.
func TestTrackingFeedsGuards(t *testing.T) {
	for _, test := range []struct {
		name      string
		next, old int // of ten calls fail
		off       bool
	}{{"healthy", 0, 0, false}, {"the new path fails", 3, 0, true}, {"both fail", 3, 3, false}} {
		synctest.Test(t, func(t *testing.T) {
			store := storeOf(t, half)
			guard := guardOf(t, store)
			client, _, api, err := connected(t, store, openfeature.Options{Guards: []*flags.Guard{guard}})
			if err != nil {
				t.Fatal(err)
			}
			defer api.Shutdown(t.Context())
			call := func(user, next, old int) sdk.BooleanEvaluationDetails {
				who := sdk.NewEvaluationContext(strconv.Itoa(user), nil)
				d, err := client.BooleanValueDetails(t.Context(), "f", false, who)
				if err != nil {
					t.Fatal(err)
				}
				fails := old
				if d.Value {
					fails = next
				}
				time.Sleep(50 * time.Millisecond)
				client.Track(t.Context(), "f", who, sdk.NewTrackingEventDetails(0).Add(openfeature.Failed, user*7%10 < fails))
				client.Track(t.Context(), "f", who, sdk.NewTrackingEventDetails(0).Add(openfeature.Failed, true)) // nothing is awaited any more
				client.Track(t.Context(), "basket", who, sdk.NewTrackingEventDetails(12.5))                       // not a flag's
				return d
			}
			for user := range 1000 {
				call(user, test.next, test.old)
			}
			status := guard.Status()
			if status.Off != test.off || status.New.Calls+status.Old.Calls != 1000 ||
				test.name == "healthy" && status.New.Failures+status.Old.Failures > 0 {
				t.Errorf("%s: %+v", test.name, status)
			}
			if !test.off {
				return
			}
			for user := range 100 {
				if d := call(user, 0, 0); d.Value || d.Variant == "on" || d.Variant == "" && d.Reason != sdk.DisabledReason {
					t.Errorf("user %d, turned off: %+v", user, d)
				}
			}
			apply(t, store, strings.Replace(half, "ENABLED", "DISABLED", 1))
			for user := range 10 {
				if who := sdk.NewEvaluationContext(strconv.Itoa(user), nil); !client.Boolean(t.Context(), "f", true, who) {
					t.Error("disabled, and not the caller's default")
				}
			}
			apply(t, store, half)
			time.Sleep(90 * time.Minute)
			on := 0
			for user := range 100 {
				if call(user, 0, 0).Value {
					on++
				}
			}
			if on < 30 || guard.Status().Off {
				t.Errorf("after the latch %d of 100: %+v", on, guard.Status())
			}
		})
	}
}

// TestTrackedTime: an event's value is what the path took, else it is counted from the evaluation.
func TestTrackedTime(t *testing.T) {
	for _, told := range []float64{0, 0.2, -1, 1e300} {
		synctest.Test(t, func(t *testing.T) {
			store := storeOf(t, half)
			guard, err := flags.NewGuard(store, "f", flags.GuardPolicy{SlowerBy: 2}, flags.GuardOptions{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			client, _, api, err := connected(t, store, openfeature.Options{Guards: []*flags.Guard{guard}})
			if err != nil {
				t.Fatal(err)
			}
			defer api.Shutdown(t.Context())
			for user := range 400 {
				who := sdk.NewEvaluationContext(strconv.Itoa(user), nil)
				on := client.Boolean(t.Context(), "f", false, who)
				value := told
				if told == 0.2 && on {
					value = 2 // ten times as slow, it says
				}
				if told != 0.2 && on {
					time.Sleep(90 * time.Millisecond)
				}
				time.Sleep(10 * time.Millisecond)
				client.Track(t.Context(), "f", who, sdk.NewTrackingEventDetails(value))
			}
			if !guard.Status().Off {
				t.Errorf("%v: ten times as slow, and still on: %+v", told, guard.Status())
			}
		})
	}
}

// TestPendingIsBounded: evaluations that nobody tracks cost no memory for ever, and harm nobody.
func TestPendingIsBounded(t *testing.T) {
	store := storeOf(t, half)
	guard := guardOf(t, store)
	client, _, api, err := connected(t, store, openfeature.Options{Guards: []*flags.Guard{guard}})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Shutdown(t.Context())
	const users = 3000
	for user := range users {
		client.Boolean(t.Context(), "f", false, sdk.NewEvaluationContext(strconv.Itoa(user), nil))
	}
	for user := range users {
		client.Track(t.Context(), "f", sdk.NewEvaluationContext(strconv.Itoa(user), nil), sdk.NewTrackingEventDetails(0))
	}
	if s := guard.Status(); s.New.Calls+s.Old.Calls != 1000 || s.Off {
		t.Errorf("%+v", s)
	}
}

func TestImpossibleGuards(t *testing.T) {
	store := storeOf(t, half)
	for _, guards := range [][]*flags.Guard{{nil}, {guardOf(t, store), guardOf(t, store)}} {
		if _, err := openfeature.New(store, openfeature.Options{Guards: guards}); err == nil {
			t.Error("took", len(guards))
		}
	}
}

// A flag whose new path fails is turned off here by what the application tracks.
func ExampleProvider_Track() {
	store, _ := flags.New(flags.Options{})
	_, _ = store.Apply([]byte(half))
	guard, _ := flags.NewGuard(store, "f", flags.GuardPolicy{}, flags.GuardOptions{})
	provider, err := openfeature.New(store, openfeature.Options{Guards: []*flags.Guard{guard}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_ = sdk.SetNamedProviderWithContextAndWait(ctx, "example", provider)
	client := sdk.NewClient("example")
	for user := range 1000 {
		who := sdk.NewEvaluationContext(strconv.Itoa(user), nil)
		on := client.Boolean(ctx, "f", false, who)
		client.Track(ctx, "f", who, sdk.NewTrackingEventDetails(0).Add(openfeature.Failed, on))
	}
	fmt.Println("turned off:", guard.Status().Off)
	sdk.Shutdown()
	// Output: turned off: true
}

// TestProbesOutliveRepeatedEvaluations: a page that asks three times for a flag, and tracks its path once, turns it on again.
func TestProbesOutliveRepeatedEvaluations(t *testing.T) {
	for _, users := range []int{100, 1} {
		synctest.Test(t, func(t *testing.T) {
			store := storeOf(t, strings.Replace(half, `["on", 50], ["off", 50]`, `["on", 1]`, 1))
			guard := guardOf(t, store)
			for range 30 { // of each path
				call := guard.Begin(true)
				call.Done(true, time.Second, nil)
				call.FallBack(nil)
				call.Done(false, time.Second, nil)
			}
			if !guard.Status().Off {
				t.Fatal("is on")
			}
			time.Sleep(90 * time.Minute)
			client, _, api, err := connected(t, store, openfeature.Options{Guards: []*flags.Guard{guard}})
			if err != nil {
				t.Fatal(err)
			}
			defer api.Shutdown(t.Context())
			for i := range 100 {
				who := sdk.NewEvaluationContext(strconv.Itoa(i%users), nil)
				for range 3 {
					client.Boolean(t.Context(), "f", false, who)
				}
				time.Sleep(time.Second)
				client.Track(t.Context(), "f", who, sdk.NewTrackingEventDetails(0))
			}
			if guard.Status().Off {
				t.Errorf("%d users, who are all well: %+v", users, guard.Status())
			}
		})
	}
}
