package tether

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/hint"
)

// TestPartitionsAreBounded: a server that invents routes, partitions and credentials costs no memory
// beyond the caps.
func TestPartitionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		client := e.Client(&http.Client{Transport: tripper(func(req *http.Request) *http.Response {
			n++
			return &http.Response{StatusCode: 429, Body: http.NoBody, Header: http.Header{
				"Retry-After": {"30"}, "X-Ratelimit-Bucket": {fmt.Sprint("bucket", n)}}}
		})})
		for i := range 5000 {
			req, _ := http.NewRequestWithContext(WithCall(t.Context(), CallOptions{NoWait: true}), http.MethodGet,
				"http://api.example/"+strings.Repeat("x", i%997)+"/"+fmt.Sprint(i%7), nil)
			req.Header.Set("Authorization", fmt.Sprint(i))
			client.Do(req)
		}
		for _, at := range e.targets.ByKey {
			if len(at.Lanes) < target.MaxLanes {
				t.Errorf("only %d lanes after %d answers: it proves nothing", len(at.Lanes), n)
			}
			if len(at.Lanes) > target.MaxLanes+1 || len(at.Partitions.ByRoute) > target.MaxRoutes {
				t.Errorf("%d lanes, %d routes", len(at.Lanes), len(at.Partitions.ByRoute))
			}
		}
		var ps target.Partitions
		for route := range uint64(3 * target.MaxRoutes) {
			ps.Learn(route, route%5, hint.SomeRequests, time.Now())
			if is := ps.ByRoute[route]; len(ps.ByRoute) > target.MaxRoutes || is.Name != route%5 {
				t.Fatalf("route %d: %d routes, %v", route, len(ps.ByRoute), is)
			}
		}
	})
}

type tripper func(*http.Request) *http.Response

func (f tripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req), nil }

// TestPartitionHolds plays random answers of random partitions to two credentials and compares with the
// rules: a call is held if its credential was told so of all requests, or of the partition that its
// route was seen in; the other credential's never for it.
func TestPartitionHolds(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			e, err := New(Options{Seed: seed + 1})
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(seed, 7))
			c := call{visit: visit{engine: e, Entry: target.Entry{Target: e.targets.Make(target.Key{Host: "x"}, target.SettingsOf(builtinPolicy()), 1)}}}
			whole := map[uint64]time.Time{}
			parts := map[[2]uint64]time.Time{}
			last := map[uint64]uint64{}                 // the name that a route had last
			former := map[uint64]map[uint64]time.Time{} // those before, each until its hold of then ends
			for step := range 300 {
				credential, route := 1+rng.Uint64N(2), 1+rng.Uint64N(6)
				name, scope := 1+rng.Uint64N(3), hint.SomeRequests
				if rng.IntN(4) == 0 {
					name, scope = 99, hint.AllRequests
				}
				if rng.IntN(2) == 0 {
					wait := time.Duration(1+rng.IntN(20)) * time.Second
					c.Target.Hold(c.Target.LaneFor(credential, route, name, scope, true, e.rand), wait)
					until := time.Now().Add(wait)
					if scope == hint.AllRequests {
						whole[credential] = latest(whole[credential], until)
					} else {
						key := [2]uint64{credential, name}
						parts[key] = latest(parts[key], until)
						if before := last[route]; before != 0 && before != name {
							if former[route] == nil {
								former[route] = map[uint64]time.Time{}
							}
							former[route][before] = latest(parts[[2]uint64{1, before}], parts[[2]uint64{2, before}])
						}
						last[route] = name
					}
				}
				for credential := uint64(1); credential < 3; credential++ {
					for route := uint64(1); route < 7; route++ {
						want := whole[credential].After(time.Now())
						want = want || parts[[2]uint64{credential, last[route]}].After(time.Now())
						for name, until := range former[route] {
							want = want || until.After(time.Now()) && parts[[2]uint64{credential, name}].After(time.Now())
						}
						got := false
						if l := c.Target.Lane(credential, route); l != nil {
							until, _ := l.Gate.Status()
							got = !until.IsZero()
						}
						if got != want {
							t.Fatalf("seed %d, step %d: credential %d, route %d: held %v, want %v",
								seed, step, credential, route, got, want)
						}
					}
				}
				time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
			}
		})
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func builtinPolicy() *policy.Resolved {
	return policy.Compile(policy.Document{}, policy.Document{}, policy.Bounds{}).Resolve("https", "a.example", "", "", "")
}
