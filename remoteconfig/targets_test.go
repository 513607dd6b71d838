package remoteconfig_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/remoteconfig"
)

// panicking is a target that doesn't survive what it is asked.
type panicking struct{}

func (panicking) Apply([]byte) ([]string, error) { panic("out of order") }
func (panicking) Snapshot() []byte               { panic("out of order") }
func (panicking) Restore([]byte) error           { panic("out of order") }

func staging(t *testing.T) *tether.Engine {
	t.Helper()
	engine, err := tether.New(tether.Options{Audience: map[string]string{"environment": "staging"}})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func killed(t *testing.T, engine *tether.Engine) bool {
	t.Helper()
	permit, err := engine.Begin(t.Context(), tether.Call{Scheme: "https", Host: "api.example.com"})
	if err != nil {
		return errors.Is(err, tether.ErrKilled)
	}
	permit.Done(tether.Outcome{Class: tether.Healthy})
	return false
}

// One watcher, two engines: both obey the kill, and after a restart both do before any poll.
func TestTargets(t *testing.T) {
	document := with(3, killAll)
	server := httptest.NewServer(remoteconfig.Handler(func() []byte { return []byte(document) }))
	dir := t.TempDir()
	for round := range 2 {
		engines := []*tether.Engine{newEngine(t, nil), newEngine(t, nil)}
		w, err := remoteconfig.New(remoteconfig.HTTP{URL: server.URL}, remoteconfig.Targets{engines[0], engines[1]},
			remoteconfig.Options{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			err = w.FetchOnce(t.Context())
			server.Close()
		} else {
			err = w.Load(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, engine := range engines {
			if !killed(t, engine) {
				t.Errorf("round %d: engine %d isn't killed", round, i)
			}
		}
	}
}

// One that refuses or panics costs the others nothing, and is asked again.
func TestTargetsApart(t *testing.T) {
	good := newEngine(t, nil)
	other := staging(t)
	targets := remoteconfig.Targets{panicking{}, other, good}
	document := []byte(with(3, killAll+`, "audience": {"environment": "production"}, "moon": 1`))
	_, err := targets.Apply(document)
	if !errors.Is(err, tether.ErrAudience) || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("got %v", err)
	}
	if killed(t, other) {
		t.Error("another audience's kill was taken")
	}

	all := []byte(with(3, killAll+`, "moon": 1`))
	notes, err := targets.Apply(all)
	if err == nil || !killed(t, good) || !killed(t, other) {
		t.Errorf("kills were not taken by all: %v", err)
	}
	if moons := strings.Count(strings.Join(notes, "\n"), "moon"); moons != 1 {
		t.Errorf("notes %q, want one of the moon", notes)
	}
	if _, err := targets.Readopt(all, time.Now()); err == nil || strings.Contains(err.Error(), "tether:") {
		t.Errorf("again: %v, want the panic alone", err)
	}
}

// What each keeps comes back to it, also where another's is damaged or the number has changed.
func TestTargetsKeep(t *testing.T) {
	held := func(hosts ...string) *tether.Engine {
		engine := newEngine(t, nil)
		for _, host := range hosts {
			permit, err := engine.Begin(t.Context(), tether.Call{Scheme: "https", Host: host})
			if err != nil {
				t.Fatal(err)
			}
			permit.Done(tether.Outcome{Class: tether.Overloaded, Status: 503, Hint: hint.Hint{Explicit: true, Wait: time.Minute}})
		}
		return engine
	}
	holds := func(engine *tether.Engine, host string) bool {
		_, err := engine.Begin(t.Context(), tether.Call{Scheme: "https", Host: host, CallOptions: tether.CallOptions{NoWait: true}})
		return err != nil
	}
	if snapshot := (remoteconfig.Targets{held(), panicking{}}).Snapshot(); snapshot != nil {
		t.Errorf("nothing was kept as %q", snapshot)
	}
	snapshot := remoteconfig.Targets{held("a.example.com"), panicking{}, held("b.example.com")}.Snapshot()
	first, second, third := held(), held(), held()
	if err := (remoteconfig.Targets{first, second, third, held()}).Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if !holds(first, "a.example.com") || holds(first, "b.example.com") || holds(second, "a.example.com") || !holds(third, "b.example.com") {
		t.Error("what was kept came to another engine, or to none")
	}
	if err := (remoteconfig.Targets{held()}).Restore(snapshot); err != nil {
		t.Error(err)
	}
	for _, damaged := range []string{"", "{}", `["x"]`} {
		if err := (remoteconfig.Targets{held()}).Restore([]byte(damaged)); err == nil {
			t.Errorf("%q was taken", damaged)
		}
	}
	if err := (remoteconfig.Targets{panicking{}, held()}).Restore([]byte(`["eA==","eA=="]`)); !errors.Is(err, tether.ErrSnapshot) ||
		!strings.Contains(err.Error(), "panicked") {
		t.Errorf("got %v", err)
	}
}

func TestTargetsNone(t *testing.T) {
	for _, targets := range []remoteconfig.Targets{nil, {}, {newEngine(t, nil), nil}} {
		if _, err := remoteconfig.New(remoteconfig.HTTP{URL: "https://config.example.com"}, targets, remoteconfig.Options{}); err == nil {
			t.Errorf("%d targets were taken", len(targets))
		}
	}
}

// One watcher for the engines of two SDKs and the application's own settings.
func ExampleTargets() {
	server := httptest.NewServer(remoteconfig.Handler(func() []byte {
		return []byte(`{"schema": 1, "document": "shop", "version": 7, "app": {"theme": "winter"}}`)
	}))
	defer server.Close()
	orders, err := tether.New(tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	search, err := tether.New(tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	app, err := tether.NewApp(orders, struct{ Theme string }{"plain"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	watcher, err := remoteconfig.New(remoteconfig.HTTP{URL: server.URL}, remoteconfig.Targets{orders, search}, remoteconfig.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := watcher.FetchOnce(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(orders.Health().Version, search.Health().Version, app.Get().Theme)
	// Output: 7 7 winter
}

// A nudge that any of the engines hears is heeded.
func TestTargetsAreNudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var version atomic.Int32
		version.Store(1)
		polls := 0
		source := fetchFunc(func(context.Context, string) (remoteconfig.Fetched, error) {
			polls++
			return remoteconfig.Fetched{Document: []byte(with(int(version.Load()), `, "nudge": ["api.example.com"]`))}, nil
		})
		engines := []*tether.Engine{newEngine(t, nil), newEngine(t, nil)}
		w, err := remoteconfig.New(source, remoteconfig.Targets{panicking{}, engines[0], engines[1]}, remoteconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = w.Run(ctx) })
		time.Sleep(20 * time.Minute)
		for i, engine := range engines {
			version.Add(1)
			want := uint64(version.Load())
			engine.Nudged("api.example.com", fmt.Sprintf(`"shop";v=%d`, want))
			time.Sleep(10 * time.Second)
			for j, each := range engines {
				if got := each.Health().Version; got != want {
					t.Errorf("engine %d heard of %d: engine %d has %d", i, want, j, got)
				}
			}
			time.Sleep(10 * time.Minute)
		}
		cancel()
		running.Wait()
	})
}
