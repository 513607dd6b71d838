package remoteconfig_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/remoteconfig"
)

func TestOneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &publisher{}
		source.publish("{}")
		w := run(t, source, refuseGarbage{}, remoteconfig.Options{})
		synctest.Wait()
		if err := w.Run(t.Context()); !errors.Is(err, remoteconfig.ErrRunning) {
			t.Errorf("Run: %v", err)
		}
		if err := w.FetchOnce(t.Context()); !errors.Is(err, remoteconfig.ErrRunning) {
			t.Errorf("FetchOnce: %v", err)
		}
	})
}

// TestRunEndsInAFetch cancels a Run whose source hangs. That is no failure, and not a poll more.
func TestRunEndsInAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polls := 0
		source := fetchFunc(func(ctx context.Context, _ string) (remoteconfig.Fetched, error) {
			polls++
			<-ctx.Done()
			return remoteconfig.Fetched{}, ctx.Err()
		})
		dir := t.TempDir()
		for range 50 { // each life is cut short in its first poll, or before it
			w, err := remoteconfig.New(source, refuseGarbage{}, remoteconfig.Options{CacheDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
			start, before := time.Now(), polls
			for ctx.Err() == nil && polls == before {
				life, end := context.WithTimeout(ctx, time.Second)
				if err := w.Run(life); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Run returned %v", err)
				}
				end()
			}
			cancel()
			if s := w.Status(); s.Failures != 0 || s.LastErr != nil {
				t.Errorf("a poll that was cancelled counts as failed: %+v", s)
			}
			time.Sleep(70*time.Second - time.Since(start))
		}
		if most := 50*70/270 + 1; polls > most || polls < 5 {
			t.Errorf("%d polls in %v, want at most %d", polls, 50*70*time.Second, most)
		}
	})
}

// TestCrashLoop has a process that dies in its poll, and is started anew every 10 s for a day. The
// plan on disk keeps it from polling more often than usual.
func TestCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, polls, lasts := t.TempDir(), 0, sized(24*time.Hour, 6*time.Hour)
		for start := time.Now(); time.Since(start) < lasts; time.Sleep(10 * time.Second) {
			life, kill := context.WithCancel(t.Context())
			source := fetchFunc(func(context.Context, string) (remoteconfig.Fetched, error) {
				polls++
				copied := t.TempDir() // what is on disk at the moment of the kill
				if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
					t.Error(err)
				}
				dir = copied
				kill()
				return remoteconfig.Fetched{}, context.Canceled
			})
			w, err := remoteconfig.New(source, refuseGarbage{}, remoteconfig.Options{CacheDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			_ = w.FetchOnce(life)
			kill()
		}
		usual := int(lasts / interval) // each up to 10 s late
		if polls < usual*87/100 || polls > usual*105/100 {
			t.Errorf("%d polls in %v, usual are %d", polls, lasts, usual)
		}
	})
}

// TestCrashLoopWithoutACache has processes die again and again, with nothing that outlives them. One that
// has a document to start with polls at most at the usual rate; one that has none, once a minute. (law 9)
func TestCrashLoopWithoutACache(t *testing.T) {
	for _, life := range []time.Duration{5 * time.Second, 30 * time.Second, 59 * time.Second, 2 * time.Minute} {
		for _, preset := range []remoteconfig.Source{embedded(), nil} {
			gap := interval * 9 / 10
			if preset == nil {
				gap = time.Minute
			}
			synctest.Test(t, func(t *testing.T) {
				const clients, lasts = 20, time.Hour
				polls, rand := 0, random.New(1).Float64
				source := fetchFunc(func(context.Context, string) (remoteconfig.Fetched, error) {
					polls++
					return remoteconfig.Fetched{Document: document(1)}, nil
				})
				for range clients * int(lasts/life) {
					ctx, end := context.WithTimeout(t.Context(), life)
					w, err := remoteconfig.New(source, refuseGarbage{}, remoteconfig.Options{Default: preset, Rand: rand})
					if err != nil {
						t.Fatal(err)
					}
					_ = w.Run(ctx) // it ends with ctx
					end()
				}
				if most := clients * int(lasts/gap) * 11 / 10; polls > most {
					t.Errorf("lives of %v, document %t: %d polls, want at most %d", life, preset != nil, polls, most)
				}
			})
		}
	}
}

// TestFetchOncePrograms starts a program every minute for a day.
func TestFetchOncePrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, source := t.TempDir(), &publisher{}
		source.publish(string(document(1)))
		for range 24 * 60 {
			w, err := remoteconfig.New(source, refuseGarbage{}, remoteconfig.Options{CacheDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.FetchOnce(t.Context()); err != nil || w.Status().Applied != 1 {
				t.Fatalf("error %v, status %+v", err, w.Status())
			}
			time.Sleep(time.Minute)
		}
		if n := source.count(); n < 200 || n > 288*11/10 {
			t.Errorf("%d polls in a day", n)
		}
	})
}

func TestFetchOnceTellsWhy(t *testing.T) {
	source, cause := &publisher{}, errors.New("reset")
	source.fail(cause)
	w, err := remoteconfig.New(source, refuseGarbage{}, remoteconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.FetchOnce(t.Context()); !errors.Is(err, cause) {
		t.Errorf("error %v, want the source's", err)
	}
	if err := w.FetchOnce(t.Context()); err != nil || source.count() != 1 {
		t.Errorf("at once again: error %v, %d polls", err, source.count())
	}
}

// TestDefaultAndCache has the higher version win, and the other one where it is refused.
func TestDefaultAndCache(t *testing.T) {
	tests := []struct{ name, cached, preset, want string }{
		{"both, cache newer", `{"version": 3}`, `{"version": 2}`, `{"version": 3}`},
		{"both, program newer", `{"version": 3}`, `{"version": 4}`, `{"version": 4}`},
		{"program's refused", `{"version": 3}`, `garbage`, `{"version": 3}`},
		{"only the program's", "", `{"version": 4}`, `{"version": 4}`},
		{"neither", "", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source, opts := &publisher{}, remoteconfig.Options{CacheDir: t.TempDir()}
			if test.cached != "" {
				source.publish(test.cached)
				w, err := remoteconfig.New(source, refuseGarbage{}, opts)
				if err != nil || w.FetchOnce(t.Context()) != nil {
					t.Fatal("can't fill the cache")
				}
			}
			opts.Default = fetchFunc(func(context.Context, string) (remoteconfig.Fetched, error) {
				if test.preset == "" {
					return remoteconfig.Fetched{}, fs.ErrNotExist
				}
				return remoteconfig.Fetched{Document: []byte(test.preset)}, nil
			})
			var got string
			source.fail(errors.New("down"))
			w, err := remoteconfig.New(source, targetFunc(func(document []byte) error {
				if document[0] == '{' {
					got = string(document)
					return nil
				}
				return errors.New("garbage")
			}), opts)
			if err != nil {
				t.Fatal(err)
			}
			_ = w.FetchOnce(t.Context())
			if got != test.want {
				t.Errorf("in force: %q, want %q", got, test.want)
			}
		})
	}
}

type targetFunc func(document []byte) error

func (f targetFunc) Apply(document []byte) ([]string, error) { return nil, f(document) }

// TestRefusedIsTriedAgain has the target's clock wrong at first: 304 for what it refused doesn't
// keep the document from it, and doesn't tell the observer twice.
func TestRefusedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []remoteconfig.EventKind
		clock := errors.New("expired")
		source := &publisher{}
		source.set(func(tag string) (remoteconfig.Fetched, error) {
			if tag == "1" {
				return remoteconfig.Fetched{Unchanged: true, Tag: tag}, nil
			}
			return remoteconfig.Fetched{Document: document(1), Tag: "1"}, nil
		})
		w := run(t, source, targetFunc(func([]byte) error {
			mu.Lock()
			defer mu.Unlock()
			return clock
		}), remoteconfig.Options{Observe: func(e remoteconfig.Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e.Kind)
		}})
		time.Sleep(5 * interval)
		if s := w.Status(); s.Wanted != 1 || s.Refused != 1 || s.Applied != 0 || !s.Stale {
			t.Errorf("refused: %+v", s)
		}
		mu.Lock()
		clock = nil
		mu.Unlock()
		time.Sleep(interval * 11 / 10)
		if s := w.Status(); s.Applied != 1 || s.Refused != 0 || s.RefusedErr != nil {
			t.Errorf("taken: %+v", s)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(events) != 2 || events[0] != remoteconfig.EventRefused ||
			events[1] != remoteconfig.EventApplied {
			t.Errorf("events %v", events)
		}
	})
}

// TestFile replaces, deletes and restores a file under a watcher. A deleted one costs nobody
// anything, so it is asked as usual.
func TestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "config.json")
		write := func(version int) {
			t.Helper()
			if err := os.WriteFile(path+".new", document(version), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
		write(1)
		w := run(t, remoteconfig.File(path), refuseGarbage{},
			remoteconfig.Options{PollInterval: 30 * time.Second})
		want := func(applied uint64, cause error) {
			t.Helper()
			time.Sleep(34 * time.Second)
			if s := w.Status(); s.Applied != applied || !errors.Is(s.LastErr, cause) {
				t.Errorf("status %+v, want version %d and error %v", s, applied, cause)
			}
		}
		want(1, nil)
		write(2)
		want(2, nil)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		want(2, fs.ErrNotExist)
		time.Sleep(24 * time.Hour)
		write(3)
		want(3, nil)
		if err := os.Truncate(path, 2<<20); err != nil {
			t.Fatal(err)
		}
		want(3, remoteconfig.ErrTooLarge)
	})
}

// TestStatusUnderLoad is for the race detector.
func TestStatusUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &publisher{}
		source.publish("{}")
		var w *remoteconfig.Watcher
		ready := make(chan struct{})
		w = run(t, source, refuseGarbage{}, remoteconfig.Options{Rand: func() float64 { return -1 },
			Observe: func(remoteconfig.Event) {
				<-ready
				w.Refresh()
				_ = w.Status()
			}})
		close(ready)
		var users sync.WaitGroup
		for range 8 {
			users.Go(func() {
				for range 200 {
					w.Refresh()
					_ = w.Status()
					time.Sleep(time.Second)
				}
			})
		}
		users.Wait()
	})
}
