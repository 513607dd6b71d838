package remoteconfig_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/random"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/remoteconfig"
)

var _ remoteconfig.Nudged = (*tether.Engine)(nil)

// nudgedFleet is clients that call a backend once a second, and their config server.
type nudgedFleet struct {
	mu        sync.Mutex    // guards what follows
	published int           // version
	field     func() string // that the backend's answers have
	polls     [][]time.Time // of each client
	has       []time.Time   // when each had version 2
	fail      error         // of polls

	bare, cached bool // without a document to start with; with a cache
}

func (f *nudgedFleet) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	header := http.Header{}
	if f.field != nil {
		header.Set("Tether-Config", f.field())
	}
	return &http.Response{StatusCode: 200, Header: header, Body: http.NoBody, Request: req}, nil
}

const nudgesHere = `, "nudge": ["api.example"], "rules": []`

// run has clients live for a time; a call every so often makes each active.
func (f *nudgedFleet) run(t *testing.T, size int, lasts, every time.Duration, during func()) {
	t.Helper()
	f.polls, f.has, f.published = make([][]time.Time, size), make([]time.Time, size), 1
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var all sync.WaitGroup
	for i := range size {
		engine, err := tether.New(tether.Options{Seed: uint64(i) + 1,
			Policy: policy.Document{Nudge: []string{"api.example"}}})
		if err != nil {
			t.Fatal(err)
		}
		rand := random.New(uint64(i) + 1).Float64
		source := fetchFunc(func(context.Context, string) (remoteconfig.Fetched, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.polls[i] = append(f.polls[i], time.Now())
			if f.published == 2 && f.has[i].IsZero() && f.fail == nil {
				f.has[i] = time.Now()
			}
			return remoteconfig.Fetched{Document: []byte(with(f.published, nudgesHere))}, f.fail
		})
		opts := remoteconfig.Options{Rand: rand}
		if !f.bare {
			opts.Default = remoteconfig.FS(fstest.MapFS{"d": {Data: []byte(with(1, nudgesHere))}}, "d")
		}
		if f.cached {
			opts.CacheDir = t.TempDir()
		}
		w, err := remoteconfig.New(source, engine, opts)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { _ = w.Run(ctx) })
		all.Go(func() {
			client := engine.Client(&http.Client{Transport: f})
			time.Sleep(time.Duration(rand() * float64(every)))
			for ctx.Err() == nil {
				if resp, err := client.Get("http://api.example/"); err == nil {
					resp.Body.Close()
				}
				time.Sleep(every)
			}
		})
	}
	during()
	all.Wait()
}

func (f *nudgedFleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// pollsSince counts polls, and the most of them in one second.
func (f *nudgedFleet) pollsSince(start time.Time) (count, peak int) {
	seconds := make(map[time.Duration]int)
	for _, polls := range f.polls {
		for _, at := range polls {
			if !at.Before(start) {
				second := at.Sub(start) / time.Second
				seconds[second]++
				count, peak = count+1, max(peak, seconds[second])
			}
		}
	}
	return count, peak
}

// TestNudgeReachesActiveClients publishes a version that the backends name at once.
func TestNudgeReachesActiveClients(t *testing.T) {
	size := sized(500, 100)
	synctest.Test(t, func(t *testing.T) {
		var f nudgedFleet
		var pushed time.Time
		f.run(t, size, 12*time.Minute, time.Second, func() {
			time.Sleep(7 * time.Minute)
			f.set(func() {
				f.published, pushed = 2, time.Now()
				f.field = func() string { return `"shop";v=2` }
			})
		})
		in10s := 0
		for _, has := range f.has {
			if !has.IsZero() && has.Sub(pushed) <= 10*time.Second {
				in10s++
			}
		}
		count, peak := f.pollsSince(pushed)
		t.Logf("%d of %d have it within 10 s; %d polls, at most %d in a second (usual: %.1f)", in10s, size,
			count, peak, float64(size)/300)
		if in10s < size*99/100 {
			t.Error("want 99 %")
		}
		usual := float64(size) / 8
		if most := usual + 4*math.Sqrt(usual); float64(peak) > most { // four standard deviations
			t.Errorf("want %d polls in a second, and by chance at most %.0f", int(usual), most)
		}
		_, later := f.pollsSince(pushed.Add(time.Minute))
		if later > 12 { // 1.7 are usual, and at most 12 by chance
			t.Errorf("%d polls in a second after a minute: clients have come into step", later)
		}
		if count > size*21/10 { // one early, and those of 300 s
			t.Errorf("%d polls in 300 s", count)
		}
	})
}

// TestNudgeReachesLaunchedClients publishes a version soon after a fleet's launch, before most of the first
// polls. A fleet without a cache hears of it from PollMin on.
func TestNudgeReachesLaunchedClients(t *testing.T) {
	for _, test := range []struct {
		name         string
		bare, cached bool
		after        time.Duration // the launch
	}{
		{"with a cache", false, true, time.Second},
		{"with a cache, without a document", true, true, time.Second},
		{"without a cache", false, false, 30 * time.Second},
		{"with nothing", true, false, 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				size := sized(500, 100)
				if test.cached {
					size = sized(500, 20) // each write waits for the disk
				}
				f := nudgedFleet{bare: test.bare, cached: test.cached}
				var pushed time.Time
				f.run(t, size, 7*time.Minute, time.Second, func() {
					time.Sleep(test.after)
					f.set(func() {
						f.published, pushed = 2, time.Now()
						f.field = func() string { return `"shop";v=2, "other";v=99` }
					})
				})
				in10s := 0
				for i, has := range f.has {
					if !has.IsZero() && has.Sub(pushed) <= 10*time.Second {
						in10s++
					}
					// One before it was published, one that was early, and two usual ones.
					if n := len(f.polls[i]); n > 4 {
						t.Errorf("client %d polled %d times in 7 min", i, n)
					}
				}
				_, peak := f.pollsSince(pushed)
				_, later := f.pollsSince(pushed.Add(time.Minute))
				t.Logf("%d of %d have it within 10 s; at most %d polls in a second, %d after a minute", in10s, size, peak, later)
				if in10s < size*99/100 {
					t.Error("want 99 %")
				}
				usual := float64(size) / 8
				if most := usual + float64(size)/60 + 4*math.Sqrt(usual); float64(peak) > most {
					t.Errorf("want by chance at most %.0f", most)
				}
				if later > 12*size/500+4 {
					t.Error("clients have come into step")
				}
			})
		})
	}
}

// TestNudgeInACrashLoop: programs that die every ten seconds, or forty, and start beside a standing nudge poll
// no more often than PollMin allows without a cache, and as usual with one (law 9).
func TestNudgeInACrashLoop(t *testing.T) {
	for _, life := range []time.Duration{10 * time.Second, 40 * time.Second} {
		for _, cached := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				const lasts = 2 * time.Hour
				dir, polls, rand := t.TempDir(), 0, random.New(1).Float64
				source := fetchFunc(func(context.Context, string) (remoteconfig.Fetched, error) {
					polls++
					return remoteconfig.Fetched{Document: []byte(with(1, nudgesHere))}, nil
				})
				opts := remoteconfig.Options{Rand: rand, Default: remoteconfig.FS(
					fstest.MapFS{"d": {Data: []byte(with(1, nudgesHere))}}, "d")}
				most := int(lasts / (30 * time.Second))
				if cached {
					opts.CacheDir, most = dir, int(lasts/(interval*9/10))+4
				}
				for range int(lasts / life) {
					engine := newEngine(t, nil)
					ctx, end := context.WithTimeout(t.Context(), life)
					w, err := remoteconfig.New(source, engine, opts)
					if err != nil {
						t.Fatal(err)
					}
					time.AfterFunc(time.Second, func() { engine.Nudged("api.example", `"shop";v=2`) })
					_ = w.Run(ctx) // it ends with ctx
					end()
				}
				t.Logf("lives of %v, cache %t: %d polls in %v", life, cached, polls, lasts)
				if polls > most {
					t.Errorf("want at most %d", most)
				}
			})
		}
	}
}

// TestNudgeLies has every answer name what was never published, for a day or six hours.
func TestNudgeLies(t *testing.T) {
	n := 0
	for _, test := range []struct {
		name  string
		field func() string
		early int // polls a client, at most
	}{
		{"2^63-1", func() string { return `"shop";v=9223372036854775807` }, 0},
		{"the largest", func() string { return `"shop";v=999999999999999` }, 3},
		{"ever larger", func() string { n++; return fmt.Sprintf(`"shop";v=%d`, n+5) }, 3},
		{"two in turn", func() string { n++; return fmt.Sprintf(`"shop";v=%d`, 7+n%2) }, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 10
				lasts := sized(24*time.Hour, 6*time.Hour)
				f := nudgedFleet{field: test.field}
				start := time.Now()
				f.run(t, size, lasts, 30*time.Second, func() {})
				count, _ := f.pollsSince(start)
				t.Logf("%.1f polls a client in %v", float64(count)/size, lasts)
				if usual := size * int(lasts/interval); count > usual+size*(test.early+2) || count < usual*9/10 {
					t.Errorf("%d polls, usual are %d", count, usual)
				}
				for i, polls := range f.polls {
					early := 0
					for n := 1; n < len(polls); n++ {
						if polls[n].Sub(polls[n-1]) < interval*9/10 {
							early++
						}
					}
					if early > test.early+1 { // the planned poll after the last one is near it, too
						t.Errorf("client %d: %d polls were near the one before", i, early)
					}
				}
			})
		})
	}
}

// TestNudgeAfterLie: a number that was ignored for good doesn't hide true ones, nor come back.
func TestNudgeAfterLie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := nudgedFleet{field: func() string { return `"shop";v=999` }}
		var pushed time.Time
		f.run(t, sized(20, 5), 3*time.Hour, time.Second, func() {
			time.Sleep(time.Hour)
			f.set(func() { f.published = 2 }) // comes by a usual poll
			time.Sleep(time.Hour)
			f.set(func() { f.published, pushed, f.field = 3, time.Now(), func() string { return `"shop";v=3` } })
		})
		slow := 0
		for _, polls := range f.polls {
			early := 0
			for n := 1; n < len(polls); n++ {
				if polls[n].Sub(polls[n-1]) < interval*9/10 {
					early++
				}
			}
			if early > 6 { // three for the lie, one for version 3, and the planned polls after each
				t.Errorf("%d polls were near the one before", early)
			}
			for _, at := range polls {
				if !at.Before(pushed) {
					if at.Sub(pushed) > 10*time.Second {
						slow++
					}
					break
				}
			}
		}
		if slow > 0 {
			t.Errorf("%d clients didn't hear of version 3", slow)
		}
	})
}

// TestNudgeSparesTheSource: what the config server asked for is kept, whatever backends say.
func TestNudgeSparesTheSource(t *testing.T) {
	for _, fail := range []error{
		&remoteconfig.FetchError{RetryAfter: 30 * time.Minute, Err: context.DeadlineExceeded},
		&remoteconfig.FetchError{Err: context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			var f nudgedFleet
			var from time.Time
			f.run(t, sized(20, 5), 3*time.Hour, time.Second, func() {
				time.Sleep(time.Hour)
				f.set(func() { f.fail = fail })
				time.Sleep(331 * time.Second) // everybody was told
				f.set(func() { from, f.field = time.Now(), func() string { return `"shop";v=2` } })
			})
			least := interval * 9 / 10
			if fail.(*remoteconfig.FetchError).RetryAfter > 0 {
				least = 30 * time.Minute
			}
			for i, polls := range f.polls {
				for n := 1; n < len(polls); n++ {
					if polls[n-1].After(from.Add(-331*time.Second)) && polls[n].Sub(polls[n-1]) < least {
						t.Errorf("client %d polled %v after a failure", i, polls[n].Sub(polls[n-1]))
					}
				}
			}
		})
	}
}

// TestVersionIsTold: polls tell the version in force, and only where they may.
func TestVersionIsTold(t *testing.T) {
	for _, test := range []struct {
		name, document string
		quiet          bool
		want           string
	}{
		{"told", `{"schema": 1, "document": "sh\"op", "version": 41}`, false, `"sh\"op";v=41`},
		{"not told", `{"schema": 1, "document": "shop", "version": 41}`, true, ""},
		{"no name", `{}`, false, ""},
		{"not ASCII", `{"schema": 1, "document": "läden", "version": 41}`, false, ""},
		{"too large", `{"schema": 1, "document": "shop", "version": 1000000000000000}`, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			told := "none"
			server := roundTrip(func(req *http.Request) (*http.Response, error) {
				told = req.Header.Get("Tether-Config")
				return &http.Response{StatusCode: 503, Body: http.NoBody, Request: req}, nil
			})
			source := remoteconfig.HTTP{URL: "http://config.example", NoVersion: test.quiet,
				Client: &http.Client{Transport: server}}
			w, err := remoteconfig.New(source, refuseGarbage{}, remoteconfig.Options{
				Default: remoteconfig.FS(fstest.MapFS{"d": {Data: []byte(test.document)}}, "d")})
			if err != nil {
				t.Fatal(err)
			}
			_ = w.FetchOnce(t.Context())
			if told != test.want {
				t.Errorf("told %q, want %q", told, test.want)
			}
		})
	}
}
