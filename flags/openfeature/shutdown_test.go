package openfeature_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/open-feature/go-sdk/openfeature"

	"github.com/tether-go/tether/flags/openfeature"
	"github.com/tether-go/tether/remoteconfig"
)

func quiet(t *testing.T, p *openfeature.Provider, after string) {
	t.Helper()
	select {
	case e := <-p.EventChannel():
		t.Errorf("after %s: %v %v", after, e.EventType, e.FlagChanges)
	default:
	}
}

// TestShutdownIsSilent: a provider that was shut down tells nothing any more, whatever was under way.
func TestShutdownIsSilent(t *testing.T) {
	flag := func(on string) string {
		return `{"flags": {"f": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "` + on + `"}}}`
	}
	synctest.Test(t, func(t *testing.T) {
		store := storeOf(t, flag("on"))
		p, err := openfeature.New(store, openfeature.Options{})
		if err != nil {
			t.Fatal(err)
		}
		stop := store.Listen(func([]string) { p.Shutdown() }) // hears of a change before the provider does
		defer stop()
		for range 2 { // as for two domains
			if err := p.Init(sdk.EvaluationContext{}); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, store, flag("off"))
		quiet(t, p, "a change within its shutdown")
		p.Shutdown()
		p.Observe(remoteconfig.Event{Kind: remoteconfig.EventFailed, Err: errors.New("away")})
		quiet(t, p, "a second shutdown")
		if err := p.Init(sdk.EvaluationContext{}); err != nil {
			t.Fatal(err)
		}
		p.Observe(remoteconfig.Event{Kind: remoteconfig.EventFailed, Err: errors.New("away")})
		if e := <-p.EventChannel(); e.EventType != sdk.ProviderStale {
			t.Errorf("initialised again: %v", e.EventType)
		}
	})
}

// TestShutdownDuringInit: who waits for the first flags when the provider is shut down is let go at once, with an
// error, and the provider stays shut down.
func TestShutdownDuringInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storeOf(t, "")
		p, err := openfeature.New(store, openfeature.Options{Wait: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := p.InitWithContext(context.Background(), sdk.EvaluationContext{}); err == nil || time.Since(began) > time.Second {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			})
		}
		time.Sleep(time.Second)
		p.Shutdown()
		all.Wait()
		p.Observe(remoteconfig.Event{Kind: remoteconfig.EventFailed, Err: errors.New("away")})
		apply(t, store, several)
		quiet(t, p, "its shutdown")
	})
}
