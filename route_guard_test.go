package tether_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
)

// failingShare answers 500 to a share of the requests.
func failingShare(share float64) func(*http.Request, int) (*http.Response, error) {
	random := rand.New(rand.NewPCG(1, 2))
	return func(req *http.Request, _ int) (*http.Response, error) {
		if random.Float64() < share {
			return answer(req, 500), nil
		}
		return answer(req, 200), nil
	}
}

// TestRoutesAreGuarded: a route that is clearly worse at the same time is left by itself, and tried again later; what fails for
// both, or hardly ever, is not its fault.
func TestRoutesAreGuarded(t *testing.T) {
	for _, test := range []struct {
		name      string
		next, old float64
		off       bool
	}{
		{"noise", 0.001, 0, false},
		{"both fail", 0.3, 0.3, false},
		{"a third fails", 0.3, 0, true},
		{"the old way is worse", 0, 0.3, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := newRouted(t, 50, ""), newTwo()
				w.next.serve, w.old.serve = failingShare(test.next), failingShare(test.old)
				minute := func(from int) {
					for i := range 600 {
						r.get(t, w, from+i)
						time.Sleep(100 * time.Millisecond)
					}
				}
				minute(0)
				notes := strings.Join(r.told(tether.EventRoute), "; ")
				if off := strings.Contains(notes, "checkout: turned off: "); off != test.off {
					t.Fatalf("turned off is %v: %s", off, notes)
				}
				before := w.next.attempts()
				minute(1000)
				if is := w.next.attempts() - before; test.off && is > 0 || !test.off && is < 200 {
					t.Errorf("%d of 600 calls were routed in the second minute", is)
				}
				if !test.off {
					return
				}
				// A document of another version, even one that raises the share, doesn't turn it on again; the latch's end does.
				if _, err := r.Apply(document(2, ","+routeRule(toV2)+","+checkoutFlag(100))); err != nil {
					t.Fatal(err)
				}
				minute(2000)
				if w.next.attempts() != before {
					t.Error("a push ended the latch")
				}
				w.next.becomes(always(200))
				time.Sleep(90 * time.Minute)
				// A call that panics, or whose caller is gone, says nothing and holds up nobody.
				w.next.becomes(func(*http.Request, int) (*http.Response, error) { panic("in the transport") })
				func() {
					defer func() { _ = recover() }()
					r.get(t, w, 1)
				}()
				gone, cancel := context.WithCancel(t.Context())
				cancel()
				w.next.becomes(func(req *http.Request, _ int) (*http.Response, error) { return nil, req.Context().Err() })
				req, err := http.NewRequestWithContext(gone, http.MethodGet, "https://api.example/pay", nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Client(w.client()).Do(req); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				w.next.becomes(always(200))
				minute(3000)
				if is := w.next.attempts() - before; is < 500 {
					t.Errorf("after the latch %d of 600 calls were routed", is)
				}
				if !slices.Contains(r.told(tether.EventRoute), "checkout: turned on") {
					t.Error(r.told(tether.EventRoute))
				}
			})
		})
	}
}

// TestGuardSettingsReachRoutes: the document says how much worse is too much, and for how long.
func TestGuardSettingsReachRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRouted(t, 50, routeRule(toV2)+`,"flagSettings":{"guards":{"checkout":{"worseBy":0.9}}}`), newTwo()
		w.next.serve = failingShare(0.3)
		for i := range 600 {
			r.get(t, w, i)
			time.Sleep(100 * time.Millisecond)
		}
		if notes := strings.Join(r.told(tether.EventRoute), "; "); strings.Contains(notes, "turned off") {
			t.Error(notes)
		}
	})
}

// TestStagesWithBadRoutesAreRolledBack: a route that a stage brought, fails against the old path at the same time: the
// stage's. One that the document has too, or a server that fails for both, isn't.
func TestStagesWithBadRoutesAreRolledBack(t *testing.T) {
	stage := `"stages":[{"name":"s","percent":100,"patch":{` + strings.Replace(routeRule(toV2), `"r"`, `"rs"`, 1) + `}}]`
	for _, test := range []struct {
		name, members string
		next, old     float64
		back          bool
	}{
		{"bad", stage, 0.5, 0, true},
		{"good", stage, 0, 0, false},
		{"bad for both", stage, 0.5, 0.5, false},
		{"without bake", strings.Replace(stage, `"percent"`, `"bake":"0s","percent"`, 1), 0.5, 0, false},
		{"the document's own", routeRule(toV2) + "," + stage, 0.5, 0, false},
		{"another flag's", strings.ReplaceAll(stage, `"rules":[`, `"rules":[{"match":{"host":"other"},"call":{"attemptTimeout":"30s"}},`), 0.5, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := newRouted(t, 50, test.members), newTwo()
				w.next.serve, w.old.serve = failingShare(test.next), failingShare(test.old)
				for i := range 600 {
					r.get(t, w, i)
					time.Sleep(100 * time.Millisecond)
				}
				if back := len(r.Health().RolledBack) > 0; back != test.back {
					t.Errorf("rolled back is %v: %q", back, r.told(tether.EventRolledBack))
				}
				before := w.next.attempts()
				r.get(t, w, 1)
				if test.back && w.next.attempts() != before {
					t.Error("it still routes")
				}
			})
		})
	}
}

// TestRoutesShowInStories: where a call went is in its story.
func TestRoutesShowInStories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRouted(t, 100, ""), newTwo()
		w.next.serve = always(503)
		ctx := tether.WithCall(tether.WithAttributes(t.Context(), flags.Attributes{"x": 1}), tether.CallOptions{Explained: true})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example/pay", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.Client(w.client()).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		story, ok := tether.Explain(resp, nil)
		if !ok || len(story.Attempts) != 2 || !story.Attempts[0].Routed || story.Attempts[1].Routed ||
			!strings.HasPrefix(story.String(), "routed 503, after ") || !strings.HasSuffix(story.String(), " 200") {
			t.Errorf("%v %v", ok, story)
		}
		counted := make(map[string][3]uint64)
		for _, target := range r.Health().Targets {
			counted[target.Target] = [3]uint64{target.Calls, target.Attempts, target.Retries}
		}
		if counted["v2.example"] != [3]uint64{1, 1, 0} || counted["api.example"] != [3]uint64{0, 1, 1} || len(counted) != 2 {
			t.Errorf("calls, attempts, retries: %v", counted)
		}
	})
}
