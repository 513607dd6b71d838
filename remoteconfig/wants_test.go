package remoteconfig_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/remoteconfig"
)

// publisher is a source whose answer a test changes.
type publisher struct {
	mu    sync.Mutex // guards what follows
	reply func(tag string) (remoteconfig.Fetched, error)
	polls []time.Time
}

func (p *publisher) Fetch(_ context.Context, tag string) (remoteconfig.Fetched, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.polls = append(p.polls, time.Now())
	return p.reply(tag)
}

func (p *publisher) set(reply func(tag string) (remoteconfig.Fetched, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reply = reply
}

func (p *publisher) publish(document string) {
	p.set(func(string) (remoteconfig.Fetched, error) {
		return remoteconfig.Fetched{Document: []byte(document)}, nil
	})
}

func (p *publisher) fail(err error) {
	p.set(func(string) (remoteconfig.Fetched, error) { return remoteconfig.Fetched{}, err })
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.polls)
}

func (p *publisher) last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.polls[len(p.polls)-1]
}

// run runs a watcher until the test ends.
func run(t *testing.T, source remoteconfig.Source, target remoteconfig.Target,
	opts remoteconfig.Options) *remoteconfig.Watcher {
	t.Helper()
	w, err := remoteconfig.New(source, target, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return w
}

func newEngine(t *testing.T, observe func(tether.Event)) *tether.Engine {
	t.Helper()
	engine, err := tether.New(tether.Options{Seed: 1, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestW26 changes the policy of an engine whose breaker is open: it stays open. A document that is
// published again, with or without 304, is not even handed on.
func TestW26(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var applied atomic.Int32
		engine := newEngine(t, func(e tether.Event) {
			if e.Kind == tether.EventApplied {
				applied.Add(1)
			}
		})
		client := engine.Client(&http.Client{Transport: roundTrip(
			func(*http.Request) (*http.Response, error) { return nil, errors.New("no answer") })})
		push := func(version int) {
			t.Helper()
			source := &publisher{}
			source.publish(string(document(version)))
			w, err := remoteconfig.New(source, engine, remoteconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.FetchOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		push(1)
		ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
		get := func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example.com", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Do(req)
			return err
		}
		for range 20 {
			time.Sleep(30 * time.Second) // what comes sooner is refused by pacing
			_ = get()
		}
		if err := get(); !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("the breaker isn't open: %v", err)
		}
		push(2)
		if err := get(); !errors.Is(err, breaker.ErrOpen) || applied.Load() != 2 {
			t.Errorf("after %d documents: %v, want the breaker open still", applied.Load(), err)
		}

		source := &publisher{}
		source.publish(string(document(3)))
		var handed atomic.Int32
		run(t, source, targetFunc(func(document []byte) error {
			handed.Add(1)
			_, err := engine.Apply(document)
			return err
		}), remoteconfig.Options{})
		time.Sleep(10 * time.Hour)
		if polls := source.count(); polls < 100 || handed.Load() != 1 || applied.Load() != 3 {
			t.Errorf("%d polls of one document handed it on %d times", polls, handed.Load())
		}
	})
}

// TestW27 publishes every kind of bad document between good ones. Each leaves the good one in force
// and is told; the next good one is applied.
func TestW27(t *testing.T) {
	bad := map[string]string{
		"empty":      "",
		"truncated":  `{"schema": 1, "document": "shop", "version": 9`,
		"large":      strings.Repeat(" ", 1<<20) + "{}",
		"deep":       strings.Repeat(`{"a":`, 50_000) + "1" + strings.Repeat("}", 50_000),
		"duplicates": `{"schema": 1, "document": "shop", "version": 900, "version": 901}`,
		"NaN":        `{"schema": 1, "document": "shop", "version": NaN}`,
		"negative":   `{"schema": 1, "document": "shop", "version": -1}`,
		"blank":      `{"schema": 1, "document": "shop", "version": 9, "rules": [{}, null]}`,
		"lethal": `{"schema": 1, "document": "shop", "version": 900, "defaults": {"call":
			{"retryPolicy": {"maxAttempts": 1000000, "initialBackoff": "0s", "maxBackoff": "0s"}}}}`,
		"another":  `{"schema": 1, "document": "other", "version": 900}`,
		"replayed": string(document(1)),
		"changed":  `{"schema": 1, "document": "shop", "version": 2, "label": "not as before"}`,
		"panic":    "panic",
	}
	for name, text := range bad {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told atomic.Int32
				engine := newEngine(t, nil)
				source := &publisher{}
				source.publish(string(document(2)))
				w := run(t, source, panics{engine}, remoteconfig.Options{
					Observe: func(e remoteconfig.Event) {
						if e.Kind == remoteconfig.EventRefused || e.Kind == remoteconfig.EventFailed {
							told.Add(1)
						}
					}})
				time.Sleep(2 * time.Minute)
				source.publish(text)
				time.Sleep(interval * 11 / 10)
				s := w.Status()
				most := int32(1)
				if name == "large" { // a fetch that fails is told each time
					most = 2
				}
				if n := told.Load(); s.Applied != 2 || s.LastErr == nil || n < 1 || n > most {
					t.Errorf("told %d times; status %+v", told.Load(), s)
				}
				if name == "replayed" && (s.Wanted != 1 || s.Refused != 1 ||
					!errors.Is(s.RefusedErr, tether.ErrOlder)) {
					t.Errorf("status %+v, want version 1 refused as older", s)
				}
				// An explicit rollback: higher version, older content.
				source.publish(string(document(3)))
				time.Sleep(2*interval + time.Minute)
				if s := w.Status(); s.Applied != 3 || s.Wanted != 3 || s.RefusedErr != nil ||
					s.LastErr != nil || s.Stale {
					t.Errorf("the next good document: %+v", s)
				}
			})
		})
	}
}

// panics is an engine with a mistake in it.
type panics struct{ *tether.Engine }

func (p panics) Apply(document []byte) ([]string, error) {
	if string(document) == "panic" {
		panic("a mistake")
	}
	return p.Engine.Apply(document)
}

// TestW28 has a server slow its clients down, by either word, and clients that call Refresh all the
// time: the rate is the server's to say. TestFleetPollsFlat and TestFleetNeverAboveTheUsualRate
// have the rest.
func TestW28(t *testing.T) {
	const slow = `{"schema": 1, "document": "shop", "version": 1, "pollInterval": "3600s"}`
	tests := []struct {
		name     string
		document string
		cache    string
		want     time.Duration
	}{
		{"nobody says", string(document(1)), "", interval},
		{"the document", slow, "max-age=60", time.Hour},
		{"the server", string(document(1)), "max-age=600", 10 * time.Minute},
		{"the server, too often", string(document(1)), "max-age=1", interval},
		{"the server, for ever", string(document(1)), "max-age=99999999999", 24 * time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var polls, whole atomic.Int32
				transport, url := memnet.Serve(t, http.HandlerFunc(
					func(w http.ResponseWriter, r *http.Request) {
						polls.Add(1)
						w.Header().Set("ETag", `"1"`)
						w.Header().Set("Cache-Control", test.cache)
						if r.Header.Get("If-None-Match") == `"1"` {
							w.WriteHeader(http.StatusNotModified)
							return
						}
						whole.Add(1)
						w.Write([]byte(test.document))
					}))
				defer transport.CloseIdleConnections()
				source := remoteconfig.HTTP{URL: url, Client: &http.Client{Transport: transport}}
				w := run(t, source, newEngine(t, nil), remoteconfig.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				var impatient sync.WaitGroup
				impatient.Go(func() {
					for ctx.Err() == nil {
						w.Refresh()
						time.Sleep(7 * time.Second)
					}
				})
				const intervals = 50
				time.Sleep(intervals * test.want)
				cancel()
				impatient.Wait()
				// Refresh cuts what a wait has beyond the interval: 2.5 % of all, and a little by chance.
				if n := polls.Load(); n < intervals*8/10 || n > intervals+4 {
					t.Errorf("%d polls in %d intervals of %v", n, intervals, test.want)
				}
				if whole.Load() != 1 {
					t.Errorf("the document was sent %d times", whole.Load())
				}
			})
		})
	}
}

// TestW29 has nothing end for good, and no network at the start punished.
func TestW29(t *testing.T) {
	t.Run("401 for two hours", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source := &publisher{}
			source.publish(string(document(1)))
			w := run(t, source, newEngine(t, nil), remoteconfig.Options{})
			time.Sleep(2 * time.Minute)
			source.fail(&remoteconfig.FetchError{Err: errors.New("the server answered 401")})
			time.Sleep(2 * time.Hour)
			if s := w.Status(); s.Applied != 1 || !s.Stale || s.Failures < 3 || s.Age < 110*time.Minute {
				t.Errorf("during it: %+v", s)
			}
			source.publish(string(document(2)))
			time.Sleep(time.Hour)
			if s := w.Status(); s.Applied != 2 || s.Stale || s.Failures != 0 {
				t.Errorf("an hour after it: %+v", s)
			}
			before := source.count()
			time.Sleep(10 * interval)
			if n := source.count() - before; n < 9 {
				t.Errorf("%d polls in 10 intervals after it", n)
			}
		})
	})
	offline := &remoteconfig.FetchError{Local: true, Err: errors.New("no network")}
	t.Run("offline start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source := &publisher{}
			source.fail(offline)
			w := run(t, source, newEngine(t, nil), remoteconfig.Options{})
			time.Sleep(24 * time.Hour)
			if s := w.Status(); s.Failures != 0 || s.LastErr == nil {
				t.Errorf("offline: %+v", s)
			}
			before := source.count()
			for source.count() == before { // so that no other poll is due in what follows
				time.Sleep(time.Second)
			}
			before = source.count()
			time.Sleep(6 * time.Second)
			source.publish(string(document(1)))
			w.Refresh()
			time.Sleep(10 * time.Second)
			if source.count() == before {
				t.Error("Refresh did nothing")
			}
			if s := w.Status(); s.Applied != 1 {
				t.Errorf("10 s after the network is back: %+v", s)
			}
		})
	})
	t.Run("offline start, nobody calls Refresh", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source := &publisher{}
			source.fail(offline)
			w := run(t, source, newEngine(t, nil), remoteconfig.Options{})
			time.Sleep(24 * time.Hour)
			source.publish(string(document(1)))
			time.Sleep(66 * time.Second)
			if s := w.Status(); s.Applied != 1 {
				t.Errorf("a minute after the network is back: %+v", s)
			}
		})
	})
	t.Run("Refresh ends a wait, not a silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source := &publisher{}
			source.fail(errors.New("reset"))
			w := run(t, source, newEngine(t, nil), remoteconfig.Options{})
			time.Sleep(12 * time.Hour)
			before := 0
			for before != source.count() { // until a wait is among the longer ones
				before = source.count()
				time.Sleep(time.Until(source.last().Add(interval + time.Second)))
			}
			source.fail(&remoteconfig.FetchError{RetryAfter: 50 * time.Minute, Err: errors.New("503")})
			w.Refresh()
			time.Sleep(6 * time.Second)
			if n := source.count() - before; n != 1 {
				t.Fatalf("%d polls after Refresh", n)
			}
			for range 49 * 6 {
				w.Refresh()
				time.Sleep(10 * time.Second)
			}
			if n := source.count() - before; n != 1 {
				t.Errorf("%d polls in the silence", n-1)
			}
		})
	})
}
