package remoteconfig_test

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/remoteconfig"
)

const interval = 300 * time.Second

type fetchFunc func(ctx context.Context, tag string) (remoteconfig.Fetched, error)

func (f fetchFunc) Fetch(ctx context.Context, tag string) (remoteconfig.Fetched, error) {
	return f(ctx, tag)
}

func document(version int) []byte {
	return fmt.Appendf(nil, `{"schema": 1, "document": "shop", "version": %d}`, version)
}

// refuseGarbage is a target that takes what looks like a document.
type refuseGarbage struct{}

func (refuseGarbage) Apply(document []byte) ([]string, error) {
	if len(document) == 0 || document[0] != '{' {
		return nil, errors.New("garbage")
	}
	return nil, nil
}

// fleet is clients that start in the same moment.
type fleet struct {
	watchers []*remoteconfig.Watcher

	mu    sync.Mutex // guards polls
	polls [][]time.Duration
}

// embedded is a document to start with, as a cache has it.
func embedded() remoteconfig.Source {
	return remoteconfig.FS(fstest.MapFS{"d": {Data: document(1)}}, "d")
}

// runFleet runs clients for a time, with a document to start with or nil, and returns their polls
// since the start.
func runFleet(t *testing.T, size int, lasts time.Duration, preset remoteconfig.Source,
	reply fetchFunc) *fleet {
	t.Helper()
	f := &fleet{polls: make([][]time.Duration, size)}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var running sync.WaitGroup
	for i := range size {
		source := fetchFunc(func(ctx context.Context, tag string) (remoteconfig.Fetched, error) {
			f.mu.Lock()
			f.polls[i] = append(f.polls[i], time.Since(start))
			f.mu.Unlock()
			return reply(ctx, tag)
		})
		w, err := remoteconfig.New(source, refuseGarbage{}, remoteconfig.Options{
			Default: preset, Rand: random.New(uint64(i + 1)).Float64,
		})
		if err != nil {
			t.Fatal(err)
		}
		f.watchers = append(f.watchers, w)
		running.Go(func() { _ = w.Run(ctx) })
	}
	running.Wait()
	return f
}

// count returns the polls in each bucket of a width, up to a time.
func (f *fleet) count(width, until time.Duration) []int {
	buckets := make([]int, until/width)
	for _, polls := range f.polls {
		for _, at := range polls { // what is left of until, less than a bucket, doesn't count
			if at/width < time.Duration(len(buckets)) {
				buckets[at/width]++
			}
		}
	}
	return buckets
}

func peakToMean(buckets []int) float64 {
	peak, sum := 0, 0
	for _, n := range buckets {
		peak, sum = max(peak, n), sum+n
	}
	return float64(peak) * float64(len(buckets)) / float64(sum)
}

// raceDetector tells whether the tests run ten times slower than usual.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestFleetPollsFlat starts 100,000 clients, or a tenth of them, in the same moment. With a document to start with, the
// server sees a flat rate from the first second on. Without one, each must soon have one: they come
// within a minute, which is five times the usual rate and once, and then have dispersed.
func TestFleetPollsFlat(t *testing.T) {
	size := sized(100_000, 10_000)
	tests := []struct {
		name   string
		preset remoteconfig.Source
		rounds time.Duration
		most   []float64 // of each interval; the last stands for what follows
	}{
		{"with a document", embedded(), 2, []float64{1.2}}, // measured: 1.04
		// Measured: 3.10, then 1.04; 4.5 and then slowly less while the second wait was the usual one.
		{"without", nil, 2, []float64{3.5, 1.2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := runFleet(t, size, test.rounds*interval, test.preset, func(_ context.Context,
					tag string) (remoteconfig.Fetched, error) {
					if tag == "1" {
						return remoteconfig.Fetched{Unchanged: true}, nil
					}
					return remoteconfig.Fetched{Document: document(1), Tag: "1"}, nil
				})
				buckets := f.count(10*time.Second, test.rounds*interval)
				perRound := len(buckets) / int(test.rounds)
				for round := range int(test.rounds) {
					ratio := peakToMean(buckets[round*perRound:][:perRound])
					t.Logf("%d clients, interval %d: peak/mean %.2f", size, round+1, ratio)
					if most := test.most[min(round, len(test.most)-1)]; ratio > most {
						t.Errorf("interval %d: peak/mean %.2f, want at most %.1f", round+1, ratio, most)
					}
				}
			})
		})
	}
}

// TestFleetNeverAboveTheUsualRate has the config server fail for two days in every way, or for three
// hours, and then publish a new version.
func TestFleetNeverAboveTheUsualRate(t *testing.T) {
	refused := func(after time.Duration) fetchFunc {
		return func(context.Context, string) (remoteconfig.Fetched, error) {
			return remoteconfig.Fetched{},
				&remoteconfig.FetchError{RetryAfter: after, Err: errors.New("no")}
		}
	}
	const usual, longest = interval * 11 / 10, time.Hour + interval*11/10
	tests := []struct {
		name    string
		follows time.Duration // when everybody must, from the end of the outage on
		fail    fetchFunc
	}{
		{"503", usual, refused(0)},
		{"503, Retry-After 1 s", usual, refused(time.Second)},
		{"429, Retry-After 40 min", longest, refused(40 * time.Minute)},
		{"503, Retry-After for ever", longest, refused(1<<63 - 1)},
		{"503 until the hour", longest, func(ctx context.Context, _ string) (remoteconfig.Fetched, error) {
			now := time.Now()
			return refused(now.Truncate(time.Hour).Add(time.Hour).Sub(now))(ctx, "")
		}},
		{"garbage", usual, func(context.Context, string) (remoteconfig.Fetched, error) {
			return remoteconfig.Fetched{Document: []byte("<html>"), Tag: "x"}, nil
		}},
		{"garbage, max-age 1 s", usual, refusedIn(time.Second)},
		{"garbage, max-age a day", usual, refusedIn(24 * time.Hour)},
		{"hangs", usual + 30*time.Second, func(ctx context.Context, _ string) (remoteconfig.Fetched, error) {
			<-ctx.Done()
			return remoteconfig.Fetched{}, ctx.Err()
		}},
		{"resets", usual, func(context.Context, string) (remoteconfig.Fetched, error) {
			return remoteconfig.Fetched{}, errors.New("connection reset")
		}},
		{"no network", usual, func(context.Context, string) (remoteconfig.Fetched, error) {
			return remoteconfig.Fetched{}, &remoteconfig.FetchError{Local: true, Err: errors.New("down")}
		}},
		{"panics", usual, func(context.Context, string) (remoteconfig.Fetched, error) {
			panic("source")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { outage(t, test.follows, test.fail) })
		})
	}
}

// refusedIn answers what no target takes, and names an interval.
func refusedIn(maxAge time.Duration) fetchFunc {
	return func(context.Context, string) (remoteconfig.Fetched, error) {
		return remoteconfig.Fetched{Document: []byte("<html>"), Tag: "x", MaxAge: maxAge}, nil
	}
}

// outage runs a fleet through days of failures and looks at the rate, during it and after, and
// at when everybody has the new version: after an interval, or the silence that the server asked for.
func outage(t *testing.T, follows time.Duration, fail fetchFunc) {
	t.Helper()
	const size = 200
	down := sized(48*time.Hour, 3*time.Hour)
	back := down + time.Hour + interval*11/10 + 30*time.Second
	start := time.Now()
	f := runFleet(t, size, back, embedded(), func(ctx context.Context, tag string) (
		remoteconfig.Fetched, error) {
		switch {
		case time.Since(start) < down:
			return fail(ctx, tag)
		case tag == "2":
			return remoteconfig.Fetched{Unchanged: true}, nil
		}
		return remoteconfig.Fetched{Document: document(2), Tag: "2"}, nil
	})
	var last time.Duration // that any client follows again
	for i, polls := range f.polls {
		first := slices.IndexFunc(polls, func(at time.Duration) bool { return at >= down })
		if first < 0 {
			t.Fatalf("client %d didn't poll again", i)
		}
		last = max(last, polls[first]-down)
		for n := 1; n < len(polls); n++ {
			if gap := polls[n] - polls[n-1]; gap < interval*9/10 {
				t.Fatalf("client %d polled at %v and %v", i, polls[n-1], polls[n])
			}
		}
		if s := f.watchers[i].Status(); s.Applied != 2 || s.Failures != 0 {
			t.Fatalf("client %d doesn't follow: %+v", i, s)
		}
	}
	if t.Logf("everybody follows %v after the outage", last.Round(time.Second)); last > follows {
		t.Errorf("want within %v", follows)
	}
	for i, n := range f.count(interval, back) {
		if n > size*5/4 { // 200 clients vary by chance
			t.Errorf("%d polls in interval %d, want about %d at most", n, i+1, size)
		}
	}
}
