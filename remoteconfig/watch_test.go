package remoteconfig_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/remoteconfig"
)

// watched is a publisher that can be watched.
type watched struct {
	publisher
	watch func(ctx context.Context, changed func()) error
}

func (w *watched) Watch(ctx context.Context, changed func()) error { return w.watch(ctx, changed) }

// TestFleetIsTold publishes to a fleet of watchers in one moment: everybody has the document within
// the spread, each for one fetch, nobody in step, and the polls go on as flat as they were.
func TestFleetIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 2000
		var mu sync.Mutex
		push := make(chan struct{})
		version := 1
		var polls []time.Duration // since the push
		var pushed time.Time
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		watchers := make([]*remoteconfig.Watcher, size)
		for i := range size {
			source := &watched{watch: func(ctx context.Context, changed func()) error {
				changed()
				select {
				case <-push:
					for range 100 {
						changed()
					}
				case <-ctx.Done():
				}
				<-ctx.Done()
				return ctx.Err()
			}}
			source.set(func(string) (remoteconfig.Fetched, error) {
				mu.Lock()
				defer mu.Unlock()
				if !pushed.IsZero() {
					polls = append(polls, time.Since(pushed))
				}
				return remoteconfig.Fetched{Document: document(version)}, nil
			})
			w, err := remoteconfig.New(source, refuseGarbage{}, remoteconfig.Options{
				Default: embedded(), Rand: random.New(uint64(i + 1)).Float64})
			if err != nil {
				t.Fatal(err)
			}
			watchers[i] = w
			running.Go(func() { _ = w.Run(ctx) })
		}
		time.Sleep(3 * interval) // all are watched, and what setting that up cost is over
		mu.Lock()
		version, pushed = 2, time.Now()
		mu.Unlock()
		close(push)
		time.Sleep(20*time.Second + 1)
		for i, w := range watchers {
			if s := w.Status(); s.Applied != 2 {
				t.Fatalf("client %d has version %d", i, s.Applied)
			}
		}
		time.Sleep(3*interval - time.Since(pushed))
		cancel()
		running.Wait()
		f := fleet{polls: [][]time.Duration{polls}}
		seconds := f.count(time.Second, 10*time.Second)
		if most := peakToMean(seconds); most > 1.5 {
			t.Errorf("told in one second, fetched at peak/mean %.2f: %v", most, seconds)
		}
		after := f.count(10*time.Second, 3*interval)[2:]
		if most := peakToMean(after); most > 1.6 { // 67 in ten seconds vary by chance
			t.Errorf("the polls after a push are in step: peak/mean %.2f: %v", most, after)
		}
		if n := len(polls); n > size*41/10 {
			t.Errorf("%d fetches by %d clients in 3 intervals after a push, want about 4 each", n, size)
		}
	})
}

// TestHintStorm has a store that tells ten times a second of nothing new, for an hour: that costs a
// fetch an interval besides the polls. A new document ends it within the interval.
func TestHintStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &watched{watch: func(ctx context.Context, changed func()) error {
			for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
				changed()
			}
			return ctx.Err()
		}}
		source.publish(string(document(1)))
		run(t, source, refuseGarbage{}, remoteconfig.Options{Rand: random.New(1).Float64})
		time.Sleep(time.Hour)
		if n := source.count(); n < 12 || n > 12*2+8 { // 8: 10 s doubled into 300 s, and the first
			t.Errorf("%d fetches in an hour", n)
		}
	})
}

// TestWatchThatBreaks fails, panics and ends at once: it is set up again about twice an interval,
// whatever the watcher's luck, told once for each reason, and polls go on.
func TestWatchThatBreaks(t *testing.T) {
	cause := errors.New("forbidden")
	for name, fail := range map[string]func(context.Context, func()) error{
		"error":  func(context.Context, func()) error { return cause },
		"nil":    func(context.Context, func()) error { return nil },
		"panic":  func(context.Context, func()) error { panic("source") },
		"breaks": func(_ context.Context, changed func()) error { changed(); return cause },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				watches, events := 0, 0
				source := &watched{watch: func(ctx context.Context, changed func()) error {
					mu.Lock()
					watches++
					mu.Unlock()
					return fail(ctx, changed)
				}}
				source.publish(string(document(1)))
				w := run(t, source, refuseGarbage{}, remoteconfig.Options{
					Rand: random.New(1).Float64,
					Observe: func(e remoteconfig.Event) {
						mu.Lock()
						defer mu.Unlock()
						if e.Kind == remoteconfig.EventWatch {
							events++
						}
					}})
				time.Sleep(100 * interval)
				if s := w.Status(); s.WatchErr == nil || s.Applied != 1 || s.Stale {
					t.Errorf("status %+v", s)
				}
				mu.Lock()
				defer mu.Unlock()
				if watches < 150 || watches > 260 {
					t.Errorf("%d watches in 100 intervals", watches)
				}
				if n := source.count(); n < 95 || n > 320 {
					t.Errorf("%d fetches in 100 intervals", n)
				}
				if name != "breaks" && events != 1 {
					t.Errorf("%d events", events)
				}
			})
		})
	}
}

// TestHintWaitsForASilence: no hint shortens what a server asked for.
func TestHintWaitsForASilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &watched{watch: func(ctx context.Context, changed func()) error {
			for ; ctx.Err() == nil; time.Sleep(time.Second) {
				changed()
			}
			return ctx.Err()
		}}
		source.fail(&remoteconfig.FetchError{RetryAfter: 40 * time.Minute, Err: errors.New("no")})
		run(t, source, refuseGarbage{}, remoteconfig.Options{Rand: random.New(1).Float64})
		time.Sleep(time.Minute)
		first := source.last()
		time.Sleep(39 * time.Minute)
		if n := source.count(); n != 1 {
			t.Errorf("%d attempts by %v", n, time.Since(first))
		}
	})
}
