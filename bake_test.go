package tether_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// lasting answers after a time, as a server does that is given up on.
func lasting(status int, took func() time.Duration) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(took()):
			return answer(req, status), nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

const shortTimeout = `{"name":"short","percent":100,"bake":"900s","patch":{"defaults":{"call":{"attemptTimeout":"1s"}}}}`

// calling makes calls every so often, for a time, and returns when the stage was rolled back, 0 if it wasn't.
func calling(t *testing.T, e *tether.Engine, base http.RoundTripper, every, lasts time.Duration) (back time.Duration) {
	t.Helper()
	c := e.Client(&http.Client{Transport: base})
	for start := time.Now(); time.Since(start) < lasts; time.Sleep(every) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
		}
		cancel()
		if back == 0 && len(e.Health().RolledBack) > 0 {
			back = time.Since(start)
		}
	}
	return back
}

// TestBake: a stage is rolled back where its timeouts end what would have been served, and for nothing else.
func TestBake(t *testing.T) {
	after := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
	tail := func(share float64, slow time.Duration) func() time.Duration {
		random := rand.New(rand.NewPCG(1, 2))
		return func() time.Duration {
			if random.Float64() < share {
				return slow
			}
			return 50 * time.Millisecond
		}
	}
	mostlyDead := func() func() time.Duration {
		random := rand.New(rand.NewPCG(3, 4))
		return func() time.Duration {
			if random.Float64() < 0.8 {
				return time.Hour
			}
			return 3 * time.Second
		}
	}
	hang := lasting(200, after(time.Hour))
	var flips int
	for _, test := range []struct {
		name  string
		stage string
		base  http.RoundTripper
		every time.Duration
		back  bool
	}{
		{"slower than the stage's timeout", shortTimeout, lasting(200, after(1500*time.Millisecond)), 5 * time.Second, true},
		{"half of the calls are", shortTimeout, lasting(200, tail(0.5, 3*time.Second)), 5 * time.Second, true},
		{"a client that calls rarely", shortTimeout, lasting(200, after(3*time.Second)), 45 * time.Second, true},
		{"call timeout", strings.ReplaceAll(shortTimeout, "attemptTimeout", "timeout"),
			lasting(200, after(3*time.Second)), 5 * time.Second, true},
		{"hedged", strings.ReplaceAll(shortTimeout, `"attemptTimeout"`, `"hedgingPolicy":{"hedgingDelay":"0.5s"},"attemptTimeout"`),
			lasting(200, after(3*time.Second)), 5 * time.Second, true},
		{"rule", `{"name":"short","percent":100,"patch":{"rules":[{"match":{"host":"api.example"},"call":{"attemptTimeout":"1s"}}]}}`,
			lasting(200, after(3*time.Second)), 5 * time.Second, true},

		{"healthy", shortTimeout, lasting(200, after(100*time.Millisecond)), time.Second, false},
		{"a tail of one in ten", shortTimeout, lasting(200, tail(0.1, 3*time.Second)), time.Second, false},
		{"hangs for everyone", shortTimeout, hang, 2 * time.Second, false},
		{"refuses for everyone", shortTimeout, roundTrip(func(*http.Request) (*http.Response, error) { return nil, errRefused }), time.Second, false},
		{"500 for everyone", shortTimeout, lasting(500, after(10*time.Millisecond)), time.Second, false},
		{"500 after long, for everyone", shortTimeout, lasting(500, after(3*time.Second)), 2 * time.Second, false},
		{"503 after long, for everyone", shortTimeout, lasting(503, after(3*time.Second)), 2 * time.Second, false},
		{"slow for half a minute", shortTimeout, lasting(200, func() time.Duration {
			if flips++; flips < 12 {
				return 3 * time.Second
			}
			return 50 * time.Millisecond
		}), time.Second, false},
		{"without bake", strings.ReplaceAll(shortTimeout, "900s", "0s"), lasting(200, after(3*time.Second)), 5 * time.Second, false},
		{"another host's rule", `{"name":"short","percent":100,"patch":{"rules":[{"match":{"host":"other"},"call":{"attemptTimeout":"1s"}}]}}`,
			lasting(200, after(3*time.Second)), 5 * time.Second, false},
		{"mostly dead for everyone", shortTimeout, lasting(200, mostlyDead()), time.Second, false},
		{"a longer timeout", strings.ReplaceAll(shortTimeout, `"1s"`, `"9s"`), lasting(200, after(10*time.Second)), 15 * time.Second, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := ""
				if test.name == "a longer timeout" || test.name == "mostly dead for everyone" {
					base = `"defaults":{"call":{"attemptTimeout":"5s"}},`
				}
				e := newEngine(t, tether.Options{Seed: 1, Bounds: policy.Bounds{MinHedgingDelay: time.Millisecond}})
				if _, err := e.Apply(document(1, `,`+base+`"stages":[`+test.stage+`]`)); err != nil {
					t.Fatal(err)
				}
				back := calling(t, e, test.base, test.every, 20*time.Minute)
				if (back > 0) != test.back {
					t.Errorf("rolled back: %v, want %v", back, test.back)
				}
				if test.back {
					t.Logf("back after %v", back.Round(time.Second))
				}
				if back > 15*time.Minute {
					t.Errorf("only after its bake: %v", back)
				}
			})
		})
	}
}

// TestBakeDuringAKill: refusals that the document asks for are no evidence.
func TestBakeDuringAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, tether.Options{Seed: 1})
		if _, err := e.Apply(document(1, killMember+`,"stages":[`+shortTimeout+`]`)); err != nil {
			t.Fatal(err)
		}
		if back := calling(t, e, &backend{serve: always(200)}, time.Second, 20*time.Minute); back > 0 {
			t.Errorf("rolled back after %v", back)
		}
	})
}

// TestBakeLatches: a stage that was rolled back stays off in later versions and processes, until its name
// changes; everything else stays as it was, kills too.
func TestBakeLatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []tether.Event
		e := newEngine(t, tether.Options{Seed: 1, Observe: func(e tether.Event) { events = append(events, e) }})
		kill := `,"kill":[{"match":{"path":"/export"},"until":"2100-01-01T00:00:00Z"}]`
		other := `{"name":"other","percent":100,"patch":{"schedules":{"sync":{"every":"600s"}}}}`
		doc := func(version int, name string) []byte {
			return document(version, kill+`,"stages":[`+other+`,`+strings.ReplaceAll(shortTimeout, "short", name)+`]`)
		}
		if _, err := e.Apply(doc(1, "short")); err != nil {
			t.Fatal(err)
		}
		slow := lasting(200, func() time.Duration { return 3 * time.Second })
		if back := calling(t, e, slow, 5*time.Second, 10*time.Minute); back == 0 {
			t.Fatal("it isn't rolled back")
		}
		is := func(e *tether.Engine, version uint64, on, back []string) {
			t.Helper()
			if h := e.Health(); h.Version != version || !slices.Equal(h.Stages, on) || !slices.Equal(h.RolledBack, back) {
				t.Errorf("version %d, on %q, rolled back %q", h.Version, h.Stages, h.RolledBack)
			}
			c := e.Client(&http.Client{Transport: &backend{serve: always(200)}})
			if _, err := c.Get("http://api.example/export"); !errors.Is(err, tether.ErrKilled) {
				t.Errorf("the kill is gone: %v", err)
			}
		}
		is(e, 1, []string{"other"}, []string{"short"})
		if n := len(slices.DeleteFunc(events, func(e tether.Event) bool { return e.Kind != tether.EventRolledBack })); n != 1 {
			t.Errorf("%d events", n)
		}
		if _, err := e.Apply(doc(2, "short")); err != nil {
			t.Fatal(err)
		}
		is(e, 2, []string{"other"}, []string{"short"})

		var last tether.Event
		next := newEngine(t, tether.Options{Seed: 2, Observe: func(e tether.Event) {
			if (e.Kind == tether.EventStaged || e.Kind == tether.EventRolledBack) && strings.HasPrefix(e.Note, "short") {
				last = e
			}
		}})
		if _, err := next.Readopt(doc(2, "short"), time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := next.Restore(e.Snapshot()); err != nil {
			t.Fatal(err)
		}
		is(next, 2, []string{"other"}, []string{"short"})
		if last.Kind != tether.EventRolledBack {
			t.Errorf("the last that was said of the stage is %v", last)
		}
		if _, err := next.Apply(doc(3, "longer")); err != nil {
			t.Fatal(err)
		}
		is(next, 3, []string{"other", "longer"}, nil)
	})
}

// TestBakeFleet: of a fleet, exactly those clients that have the stage come back to what served them.
func TestBakeFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 100
		staged, rolledBack, failed := 0, 0, 0
		var last time.Duration
		slow := lasting(200, func() time.Duration { return 2 * time.Second })
		for i := range clients {
			e := newEngine(t, tether.Options{Seed: uint64(i) + 1})
			stage := strings.Replace(shortTimeout, "100", "10", 1)
			if _, err := e.Apply(document(1, `,"stages":[`+stage+`]`)); err != nil {
				t.Fatal(err)
			}
			on := len(e.Health().Stages) > 0
			back := calling(t, e, slow, 10*time.Second, 15*time.Minute)
			if on {
				staged++
			}
			if back > 0 {
				rolledBack++
				last = max(last, back)
			}
			if (back > 0) != on {
				t.Errorf("client %d: staged %v, rolled back %v", i, on, back)
			}
			resp, err := e.Client(&http.Client{Transport: slow}).Get(api)
			if err != nil {
				failed++
				continue
			}
			resp.Body.Close()
		}
		t.Logf("%d of %d staged, %d rolled back, the last after %v", staged, clients, rolledBack, last.Round(time.Second))
		if failed > 0 || staged < 3 {
			t.Errorf("%d clients fail after the bake; %d were staged", failed, staged)
		}
	})
}

// TestBakeUnderLoad rolls back while many call and newer versions come: once, and with everything else as it was.
func TestBakeUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, tether.Options{Seed: 1})
		slow := lasting(200, func() time.Duration { return 3 * time.Second })
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { calling(t, e, slow, 5*time.Second, 10*time.Minute) })
		}
		for version := range 20 {
			if _, err := e.Apply(document(version+1, `,"stages":[`+shortTimeout+`]`)); err != nil {
				t.Error(err)
			}
			time.Sleep(15 * time.Second)
		}
		all.Wait()
		if h := e.Health(); h.Version != 20 || !slices.Equal(h.RolledBack, []string{"short"}) || len(h.Stages) > 0 {
			t.Errorf("version %d, on %q, rolled back %q", h.Version, h.Stages, h.RolledBack)
		}
	})
}

// visit makes a call to a URL with 20 s of patience.
func visit(t *testing.T, e *tether.Engine, base http.RoundTripper, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := e.Client(&http.Client{Transport: base}).Do(req); err == nil {
		resp.Body.Close()
	}
}

// byPlace answers as slowly as the call's host and path say.
func byPlace(places map[string]time.Duration) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		return lasting(200, func() time.Duration { return places[req.URL.Host+req.URL.Path] })(req)
	}
}

// TestBakeEndsOnce: a stage that has baked isn't watched again because other versions come.
func TestBakeEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, tether.Options{Seed: 1})
		good := lasting(200, func() time.Duration { return 10 * time.Millisecond })
		stage := strings.Replace(shortTimeout, "900s", "3600s", 1)
		for version := range 5 { // the last two come after its hour
			if _, err := e.Apply(document(version+1, `,"stages":[`+stage+`]`)); err != nil {
				t.Fatal(err)
			}
			calling(t, e, good, time.Minute, 25*time.Minute)
		}
		slow := lasting(200, func() time.Duration { return 3 * time.Second })
		if back := calling(t, e, slow, 5*time.Second, 50*time.Minute); back > 0 {
			t.Errorf("rolled back %v after the server became slow for everybody, long after its bake", back)
		}
	})
}

// TestBakeBesideOtherCalls: calls that a stage cuts are tried the old way although there are many others, to
// another host or of another path, that it doesn't harm, or that fail whatever it does.
func TestBakeBesideOtherCalls(t *testing.T) {
	for _, other := range []struct {
		url  string
		took time.Duration
	}{{"http://busy.example/", 20 * time.Millisecond}, {"http://api.example/fast", 20 * time.Millisecond},
		{"http://busy.example/", time.Hour}} {
		t.Run(fmt.Sprint(other.url, other.took), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, tether.Options{Seed: 1})
				if _, err := e.Apply(document(1, `,"defaults":{"target":{"pacing":{"mode":"off"},`+
					`"circuitBreaker":{"mode":"forced-closed"}}},"stages":[`+shortTimeout+`]`)); err != nil {
					t.Fatal(err)
				}
				place := strings.TrimPrefix(other.url, "http://")
				base := byPlace(map[string]time.Duration{"api.example/slow": 3 * time.Second, place: other.took})
				for range 100 {
					visit(t, e, base, "http://api.example/slow")
					for range 10 {
						visit(t, e, base, other.url)
					}
				}
				if back := e.Health().RolledBack; !slices.Equal(back, []string{"short"}) {
					t.Errorf("rolled back: %q", back)
				}
			})
		})
	}
}

// TestBakeOfStagesTogether: whatever stages meet, those go whose timeouts end what would be served, and no other.
func TestBakeOfStagesTogether(t *testing.T) {
	stage := func(name, timeout, bake string) string {
		return fmt.Sprintf(`{"name":%q,"percent":100,"bake":%q,"patch":{"defaults":{"call":{"attemptTimeout":%q}}}}`, name, bake, timeout)
	}
	for _, test := range []struct {
		name   string
		stages []string
		back   []string
	}{
		{"the same twice", []string{stage("a", "1s", "900s"), stage("b", "1s", "900s")}, []string{"a", "b"}},
		{"the later is longer", []string{stage("a", "1s", "900s"), stage("b", "2s", "900s")}, []string{"a", "b"}},
		{"the later is shorter", []string{stage("a", "2s", "900s"), stage("b", "1s", "900s")}, []string{"a", "b"}},
		{"only the later does harm", []string{stage("a", "5s", "900s"), stage("b", "1s", "900s")}, []string{"b"}},
		{"only the earlier would", []string{stage("a", "1s", "900s"), stage("b", "5s", "900s")}, nil},
		{"beside one that isn't watched", []string{stage("a", "2s", "0s"), stage("b", "1s", "900s")}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, tether.Options{Seed: 1})
				if _, err := e.Apply(document(1, `,"stages":[`+strings.Join(test.stages, ",")+`]`)); err != nil {
					t.Fatal(err)
				}
				calling(t, e, lasting(200, func() time.Duration { return 3 * time.Second }), 4*time.Second, 14*time.Minute)
				back := e.Health().RolledBack
				slices.Sort(back)
				if !slices.Equal(back, test.back) {
					t.Errorf("rolled back: %q, want %q", back, test.back)
				}
			})
		})
	}
}
