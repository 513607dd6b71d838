package tether_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
)

// send makes one call with header fields, and returns its status, 0 for an error.
func (r *routed) send(ctx context.Context, w *two, method, url string, fields ...string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, err
	}
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header[fields[i]] = []string{fields[i+1]}
	}
	resp, err := r.Client(w.client()).Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// TestKillsReachRoutedRepeats: a kill of what was asked for stops a call that the other server keeps (429), too.
func TestKillsReachRoutedRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRouted(t, 100, ""), newTwo()
		w.next.serve = func(req *http.Request, n int) (*http.Response, error) {
			if n == 1 {
				return answer(req, 429, "Retry-After", "3"), nil
			}
			return answer(req, 200), nil
		}
		time.AfterFunc(time.Second, func() {
			_, err := r.Apply(document(2, `,"kill":[{"match":{"host":"api.example"},"until":"2000-01-01T01:00:00Z"}],`+
				routeRule(toV2)+","+checkoutFlag(100)))
			if err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		status, err := r.send(t.Context(), w, "GET", "https://api.example/pay")
		if status != 429 || w.next.attempts() != 1 || time.Since(start) != time.Second {
			t.Errorf("status %d, %v after %v; %d attempts at the other server", status, err, time.Since(start), w.next.attempts())
		}
		if _, err := r.send(t.Context(), w, "GET", "https://v2.example/direct"); err != nil {
			t.Errorf("its own calls are not killed: %v", err)
		}
	})
}

// TestRoutesAreGuardedWhereCallsAreHedged: what isn't routed is hedged, and is still what a route is compared with.
func TestRoutesAreGuardedWhereCallsAreHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRouted(t, 50, `"defaults":{"call":{"hedgingPolicy":{"hedgingDelay":"0.05s"}}},`+routeRule(toV2)), newTwo()
		w.next.serve = failingShare(0.5)
		for i := range 600 {
			r.get(t, w, i)
			time.Sleep(100 * time.Millisecond)
		}
		if told := strings.Join(r.told(tether.EventRoute), "\n"); !strings.Contains(told, "turned off") {
			t.Error("a route that fails half of the calls is kept")
		}
	})
}

// TestRoutesInDefaultsAreGuarded: a call to the route's end itself goes no old way, whatever its flag says.
func TestRoutesInDefaultsAreGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRouted(t, 50, `"defaults":{"call":{"route":`+toV2+`}}`), newTwo()
		w.next.serve = failingShare(0.5)
		for i := range 600 {
			r.get(t, w, i)
			for range 2 {
				ctx := tether.WithAttributes(t.Context(), flags.Attributes{flags.TargetingKey: fmt.Sprint(i)})
				r.send(ctx, w, "GET", "https://v2.example/status")
			}
			time.Sleep(100 * time.Millisecond)
		}
		told := strings.Join(r.told(tether.EventRoute), "\n")
		if !strings.Contains(told, "turned off") || !strings.Contains(told, "the new path failed, 0 of") {
			t.Errorf("calls to the route's end are taken for the old way: %.300q", told)
		}
	})
}

// TestRoutesKeepSecretsHoweverWritten: net/http sends the fields of a map as they are written there.
func TestRoutesKeepSecretsHoweverWritten(t *testing.T) {
	r, w := newRouted(t, 100, ""), newTwo()
	for _, name := range []string{"authorization", "AUTHORIZATION", "cookie", "proxy-Authorization", "Authorization"} {
		w.next.serve = func(req *http.Request, _ int) (*http.Response, error) {
			for field := range req.Header {
				if strings.EqualFold(field, name) {
					t.Errorf("%s arrives", field)
				}
			}
			return answer(req, 200), nil
		}
		if _, err := r.send(t.Context(), w, "GET", "https://api.example/pay", name, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.next.attempts(); n != 5 {
		t.Errorf("%d attempts", n)
	}
}

// TestRoutesHoldWhomTheOtherServerSees is law 2: a server that doesn't see who calls says 429 to everybody, in its own name and
// in the name of a partition.
func TestRoutesHoldWhomTheOtherServerSees(t *testing.T) {
	for name, partition := range map[string]func(*http.Request) string{
		"by default": nil, "by a field": func(req *http.Request) string { return req.Header.Get("Authorization") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, err := tether.New(tether.Options{Seed: 1, Partition: partition,
					Bounds: routing(policy.RouteBound{Origin: "https://v2.example"})})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := e.Apply(document(1, ","+routeRule(toV2)+","+checkoutFlag(100))); err != nil {
					t.Fatal(err)
				}
				r, w := &routed{Engine: e}, newTwo()
				w.next.serve = always(429, "Retry-After", "60")
				for _, who := range []string{"alice", "bob", "carol"} {
					r.send(t.Context(), w, "GET", "https://api.example/pay", "Authorization", who)
				}
				r.send(t.Context(), w, "GET", "https://v2.example/direct")
				if n := w.next.attempts(); n != 1 {
					t.Errorf("%d attempts at a server that asked for silence", n)
				}
				if n := w.old.attempts(); n != 2 {
					t.Errorf("%d calls went where they were asked to", n)
				}
				r.send(t.Context(), w, "GET", "https://v2.example/direct", "Authorization", "alice")
				if n := w.next.attempts(); n != 2 {
					t.Errorf("who shows a credential there is held for those who don't")
				}
			})
		})
	}
}

// TestRoutesFallBackFromWhatCantBeReached: a server whose name isn't known, or whose certificate isn't trusted, serves nobody,
// though it can't help it; where both ways are like that the route isn't to blame.
func TestRoutesFallBackFromWhatCantBeReached(t *testing.T) {
	for name, err := range map[string]error{
		"no such name":   &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}},
		"no resolver":    &net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}},
		"no certificate": &tls.CertificateVerificationError{Err: errors.New("unknown authority")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				away := func(*http.Request, int) (*http.Response, error) { return nil, err }
				for _, percent := range []int{50, 100} {
					r, w := newRouted(t, percent, ""), newTwo()
					w.next.serve = away
					for i := range 200 {
						if method := []string{"GET", "POST"}[i%2]; i < 100 || i%2 == 0 {
							ctx := tether.WithAttributes(t.Context(), flags.Attributes{flags.TargetingKey: fmt.Sprint(i)})
							if status, err := r.send(ctx, w, method, "https://api.example/pay"); status != 200 {
								t.Errorf("%d %%: call %d: %d %v", percent, i, status, err)
							}
						}
					}
					if told := strings.Join(r.told(tether.EventRoute), "\n"); w.old.attempts() != 150 || !strings.Contains(told, "turned off") {
						t.Errorf("%d %%: %d attempts where they were asked to go; told %.200q", percent, w.old.attempts(), told)
					}
				}
				r, w := newRouted(t, 50, ""), newTwo()
				w.next.serve, w.old.serve = away, away
				for i := range 300 {
					r.get(t, w, i)
					time.Sleep(100 * time.Millisecond)
				}
				if told := strings.Join(r.told(tether.EventRoute), "\n"); strings.Contains(told, "turned off") {
					t.Errorf("both ways are away, and the route is left: %.200q", told)
				}
			})
		})
	}
}

// TestKeysAreKnownToOneServer is law 6: a repeat with a key is safe at the server that has seen the key, and at no other.
func TestKeysAreKnownToOneServer(t *testing.T) {
	for _, test := range []struct {
		name    string
		next    func(*http.Request, int) (*http.Response, error)
		options tether.CallOptions
		fields  []string
		olds    int
	}{
		{"the caller's key", always(500), tether.CallOptions{}, []string{"Idempotency-Key", "k"}, 0},
		{"a key that was made", always(500), tether.CallOptions{IdempotencyKey: tether.BareKey}, nil, 0},
		{"it never left", dead, tether.CallOptions{IdempotencyKey: tether.BareKey}, nil, 1},
		{"declared harmless", always(500), tether.CallOptions{Idempotent: true}, nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := newRouted(t, 100, ""), newTwo()
				w.next.serve = test.next
				r.send(tether.WithCall(t.Context(), test.options), w, "POST", "https://api.example/pay", test.fields...)
				if w.old.attempts() != test.olds || w.next.attempts()+test.olds != 2 {
					t.Errorf("%d attempts where it was asked to go, %d elsewhere", w.old.attempts(), w.next.attempts())
				}
			})
		})
	}
}

// TestRoutesNeedAVariant: the empty name is what flags say that fail.
func TestRoutesNeedAVariant(t *testing.T) {
	e, err := tether.New(tether.Options{Bounds: routing(policy.RouteBound{Origin: "https://v2.example"})})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Apply(document(1, ","+routeRule(`{"flag":"missing","to":{"":"https://v2.example"}}`)))
	r, w := &routed{Engine: e}, newTwo()
	r.get(t, w, 1)
	if w.next.attempts() != 0 || err == nil || !strings.Contains(err.Error(), "names no variant") {
		t.Errorf("%d calls are routed by a flag that isn't there: %v", w.next.attempts(), err)
	}
}

// TestRoutedCallsAreCountedOnce: one that can't be sent to the other server is one call all the same.
func TestRoutedCallsAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRouted(t, 100, ""), newTwo()
		w.next.serve = always(503, "Retry-After", "60")
		for i := range 10 {
			r.get(t, w, i)
		}
		calls := uint64(0)
		for _, target := range r.Health().Targets {
			calls += target.Calls
		}
		if calls != 10 {
			t.Errorf("10 calls are counted as %d", calls)
		}
	})
}

// TestAttributesAreTheCalls: who changes the attributes afterwards changes no call under way, and races with none.
func TestAttributesAreTheCalls(t *testing.T) {
	r, w := newRouted(t, 0, routeRule(toV2)), newTwo()
	if _, err := r.Apply(document(2, ","+routeRule(toV2)+`,"flags":{"flags":{"checkout":{"state":"ENABLED","variants":{"on":true,"off":false},
		"defaultVariant":"off","targeting":{"if":[{"==":[{"var":"user"},"a"]},"on","off"]}}}}`)); err != nil {
		t.Fatal(err)
	}
	own := flags.Attributes{"user": "a"}
	ctx := tether.WithAttributes(t.Context(), own)
	own["user"] = "b"
	if r.send(ctx, w, "GET", "https://api.example/pay"); w.next.attempts() != 1 {
		t.Error("the attributes that were given are not the call's")
	}
}

// TestRoutesWhileAllChanges is for the race detector: calls, documents, and a client that is restored.
func TestRoutesWhileAllChanges(t *testing.T) {
	r, w := newRouted(t, 50, ""), newTwo()
	w.next.serve = failingShareOf(2)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				r.send(ctx, w, "GET", "https://api.example/pay")
				cancel()
				if worker == 0 {
					r.Apply(document(i+2, ","+routeRule(toV2)+","+checkoutFlag(i)))
				}
				if worker == 1 {
					if err := r.Restore(fmt.Appendf(nil, `{"tether":1,"client":"client-%d"}`, i)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

// failingShareOf fails every n-th request, for many at once.
func failingShareOf(n int) func(*http.Request, int) (*http.Response, error) {
	return func(req *http.Request, i int) (*http.Response, error) {
		if i%n == 0 {
			return answer(req, 500), nil
		}
		return answer(req, 200), nil
	}
}

// TestStagesReplaceRoutesWhole: half of one route and half of another send calls where nobody meant them to go.
func TestStagesReplaceRoutesWhole(t *testing.T) {
	for name, test := range map[string]struct {
		route  string
		routed bool
	}{
		"taken back":      {`{"flag":"checkout","to":{}}`, false},
		"another variant": {`{"flag":"checkout","to":{"eu":"https://v2.example"}}`, false},
		"the same":        {toV2, true},
	} {
		r, w := newRouted(t, 100, `"defaults":{"call":{"route":`+toV2+`}},"stages":[{"name":"s","percent":100,"patch":{"defaults":{"call":{"route":`+
			test.route+`}}}}]`), newTwo()
		if r.get(t, w, 1); w.next.attempts() == 1 != test.routed {
			t.Errorf("%s: routed is %v", name, !test.routed)
		}
	}
}

// TestRoutesLeaveOpaqueURLs: what names its server in the request line can't be sent to another one.
func TestRoutesLeaveOpaqueURLs(t *testing.T) {
	r, w := newRouted(t, 100, ""), newTwo()
	req, err := http.NewRequest("GET", "https://api.example/pay", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = "//api.example/pay%2F1"
	resp, err := r.Client(w.client()).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); w.next.attempts() != 0 {
		t.Error("an opaque URL was routed")
	}
}

// TestAllStagesWithABadRouteAreRolledBack: a guard knows the flag, and not which of the stages brought the harm.
func TestAllStagesWithABadRouteAreRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stage := func(name string) string {
			return `{"name":"` + name + `","percent":100,"patch":{` + strings.Replace(routeRule(toV2), `"r"`, `"of `+name+`"`, 1) + `}}`
		}
		r, w := newRouted(t, 50, `"stages":[`+stage("first")+","+stage("second")+"]"), newTwo()
		w.next.serve = failingShare(0.5)
		for i := range 600 {
			r.get(t, w, i)
			time.Sleep(100 * time.Millisecond)
		}
		if back := r.Health().RolledBack; len(back) != 2 {
			t.Errorf("rolled back: %q", back)
		}
	})
}

// TestCallsThatComeBackHeedTheNewest: a server that was forced open while a call found no way to the other one gets nothing.
func TestCallsThatComeBackHeedTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e *tether.Engine
		pushed := false
		observe := func(event tether.Event) {
			if event.Kind == tether.EventLoop && !pushed { // told within a call, before it is admitted
				pushed = true
				if _, err := e.Apply(document(2, `,"rules":[{"match":{"host":"api.example"},"call":{"route":`+toV2+`},
					"target":{"circuitBreaker":{"mode":"forced-open"}}}],"kill":[{"match":{"host":"v2.example"},"until":"2000-01-01T01:00:00Z"}],`+
					checkoutFlag(100))); err != nil {
					t.Error(err)
				}
			}
		}
		e, err := tether.New(tether.Options{Seed: 1, Observe: observe, Bounds: routing(policy.RouteBound{Origin: "https://v2.example"})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Apply(document(1, ","+routeRule(toV2)+","+checkoutFlag(100))); err != nil {
			t.Fatal(err)
		}
		r, w := &routed{Engine: e}, newTwo()
		for i := range 100 {
			r.get(t, w, i)
			time.Sleep(time.Second)
		}
		for i := 0; !pushed && i < 1000; i++ {
			r.get(t, w, i)
		}
		if r.get(t, w, 1); !pushed || w.old.attempts() != 0 {
			t.Errorf("pushed is %v, %d attempts at a server that is forced open", pushed, w.old.attempts())
		}
	})
}
