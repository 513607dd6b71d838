package tether_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
)

// two are the server that is asked for and the one that a route goes to.
type two struct{ old, next *backend }

func newTwo() *two {
	return &two{&backend{serve: always(200)}, &backend{serve: always(200)}}
}

func (w *two) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Host, "v2.") {
		return w.next.RoundTrip(req)
	}
	return w.old.RoundTrip(req)
}

func (w *two) client() *http.Client { return &http.Client{Transport: w} }

// routed is an engine with a route to v2.example for a share of the users, and what it told.
type routed struct {
	*tether.Engine
	mu     sync.Mutex // guards events
	events []tether.Event
}

func newRouted(t testing.TB, percent int, members string) *routed {
	t.Helper()
	r := new(routed)
	var err error
	r.Engine, err = tether.New(tether.Options{Seed: 1, Bounds: policy.Bounds{MinHedgingDelay: time.Millisecond, Routes: []policy.RouteBound{{Origin: "https://v2.example"}}},
		Cohort:  map[string]string{"place": "lab"},
		Observe: func(e tether.Event) { r.mu.Lock(); r.events = append(r.events, e); r.mu.Unlock() }})
	if err != nil {
		t.Fatal(err)
	}
	if members == "" {
		members = routeRule(toV2)
	}
	if _, err := r.Apply(document(1, ","+members+","+checkoutFlag(percent))); err != nil {
		t.Fatal(err)
	}
	return r
}

// told are the notes of one kind of event.
func (r *routed) told(kind tether.EventKind) (notes []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind {
			notes = append(notes, e.Note)
		}
	}
	return notes
}

// get asks for a user, and returns the status, 0 for an error.
func (r *routed) get(t testing.TB, w *two, user int) int {
	t.Helper()
	ctx := tether.WithAttributes(t.Context(), flags.Attributes{flags.TargetingKey: fmt.Sprint(user)})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example/pay", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.Client(w.client()).Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestRoutesKeepTheRequest: on real servers, what arrives where. Only what belongs to the server that was
// asked for stays away from the other one.
func TestRoutesKeepTheRequest(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			network := memnet.New()
			seen := make(chan *http.Request, 1)
			handler := func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				w.Header().Set("Set-Cookie", "theirs=1")
				seen <- r
			}
			asked := network.Serve(t, "api.example", http.HandlerFunc(handler))
			network.Serve(t, "v2.example:8080", http.HandlerFunc(handler))
			wire := network.Transport()
			defer wire.CloseIdleConnections()
			base := roundTrip(func(req *http.Request) (*http.Response, error) {
				if (req.URL.User != nil) != trusted {
					t.Errorf("trusted %v: sent for %v", trusted, req.URL.User)
				}
				return wire.RoundTrip(req)
			})
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			e, err := tether.New(tether.Options{Seed: 1, Bounds: routing(policy.RouteBound{Origin: "http://v2.example:8080", SameTrust: trusted})})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Apply(document(1, ","+routeRule(`{"flag":"checkout","to":{"on":"http://v2.example:8080"}}`)+","+checkoutFlag(100))); err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequest(http.MethodPut, strings.Replace(asked, "://", "://user:secret@", 1)+"/a%2Fb?q=1", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Cookie", "ours=1")
			req.Header.Set("X-Other", "kept")
			resp, err := e.Client(&http.Client{Transport: base, Jar: jar}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			got := <-seen
			body, _ := io.ReadAll(got.Body)
			if got.Host != "v2.example:8080" || got.RequestURI != "/a%2Fb?q=1" || got.Method != http.MethodPut || string(body) != "body" ||
				got.Header.Get("X-Other") != "kept" {
				t.Errorf("arrived: %s %s %s %q %v", got.Method, got.Host, got.RequestURI, body, got.Header)
			}
			if has := got.Header.Get("Cookie") != "" || got.Header.Get("Authorization") != ""; has != trusted {
				t.Errorf("trusted %v: %v", trusted, got.Header)
			}
			if heard := len(jar.Cookies(req.URL)) > 0; heard != trusted {
				t.Errorf("trusted %v: the jar has %v", trusted, jar.Cookies(req.URL))
			}
			if resp.Request.URL != req.URL || req.Header.Get("Cookie") != "ours=1" || req.URL.User == nil {
				t.Errorf("the caller's request became %v %v", resp.Request.URL.Host, req.Header)
			}
		})
	}
}

// TestRoutesByUserSessionObjectAndPlace: requirement 3 of the SRE book's framework. The share that is routed at 1 % is part
// of the one at 10 %.
func TestRoutesByUserSessionObjectAndPlace(t *testing.T) {
	const users = 1000
	gone := make(map[int]bool)
	last := 0
	for version, percent := range []int{1, 10, 50, 100} {
		r, w := newRouted(t, percent, ""), newTwo()
		count := 0
		for user := range users {
			before := w.next.attempts()
			r.get(t, w, user)
			is := w.next.attempts() > before
			if gone[user] && !is {
				t.Fatalf("step %d: user %d came back", version, user)
			}
			if is {
				gone[user], count = true, count+1
			}
		}
		if count <= last || percent == 100 && count != users || percent == 10 && (count < 60 || count > 140) {
			t.Errorf("%d %%: %d of %d, %d before", percent, count, users, last)
		}
		last = count
	}
	r, w := newRouted(t, 0, ""), newTwo()
	if _, err := r.Apply(document(2, ","+routeRule(toV2)+`,"flags":{"flags":{"checkout":{"state":"ENABLED","variants":{"on":true,"off":false},
		"defaultVariant":"off","targeting":{"if":[{"==":[{"var":"place"},"lab"]},"on","off"]}}}}`)); err != nil {
		t.Fatal(err)
	}
	if r.get(t, w, 1); w.next.attempts() != 1 {
		t.Error("the client's cohort is not known to the flag")
	}
	for attribute, rule := range map[string]string{
		"session": `{"if":[{"==":[{"var":"session"},"s1"]},"on","off"]}`,
		"object":  `{"if":[{"in":[{"var":"object"},["cart-7","s1"]]},"on","off"]}`,
		"place":   `{"fractional":[{"var":"place"},["on",50],["off",50]]}`,
	} {
		r, w := newRouted(t, 0, ""), newTwo()
		flag := `"flags":{"flags":{"checkout":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"off","targeting":` + rule + `}}}`
		if _, err := r.Apply(document(2, ","+routeRule(toV2)+","+flag)); err != nil {
			t.Fatal(err)
		}
		went := make(map[bool]bool)
		for _, value := range []string{"s1", "s2", "s3", "s4"} {
			var first bool
			for i := range 3 {
				ctx := tether.WithAttributes(t.Context(), flags.Attributes{attribute: value, flags.TargetingKey: fmt.Sprint(i)})
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example/pay", nil)
				before := w.next.attempts()
				resp, err := r.Client(w.client()).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				is := w.next.attempts() > before
				if i > 0 && is != first {
					t.Errorf("%s %s: its calls go both ways", attribute, value)
				}
				first = is
			}
			went[first] = true
		}
		if len(went) != 2 {
			t.Errorf("%s: all went one way", attribute)
		}
	}
}

// TestRoutesFallBack: what the other server's end of a call makes of it. Old and next are attempts there.
func TestRoutesFallBack(t *testing.T) {
	kill := func(host string) string {
		return `"kill":[{"match":{"host":"` + host + `"},"until":"2000-01-01T01:00:00Z"}],` + routeRule(toV2)
	}
	for _, test := range []struct {
		name, method, members string
		next                  func(*http.Request, int) (*http.Response, error)
		old                   func(*http.Request, int) (*http.Response, error)
		status                int // 0: an error
		olds, nexts           int
	}{
		{"serves", "GET", "", always(200), always(200), 200, 0, 1},
		{"503", "GET", "", always(503), always(200), 200, 1, 1},
		{"503 that asks for an hour", "GET", "", always(503, "Retry-After", "3600"), always(200), 200, 1, 1},
		{"500 of a PUT", "PUT", "", always(500), always(200), 200, 1, 1},
		{"500 of a POST", "POST", "", always(500), always(200), 500, 0, 1},
		{"refused", "GET", "", dead, always(200), 200, 1, 1},
		{"refused POST: it never left", "POST", "", dead, always(200), 200, 1, 1},
		{"404", "GET", "", always(404), always(200), 404, 0, 1},
		{"429: this caller asks too much", "GET", "", always(429), always(200), 429, 0, 2},
		{"says: don't repeat", "GET", "", always(503, "x-should-retry", "false"), always(200), 503, 0, 1},
		{"one attempt only", "GET", strings.Replace(routeRule(toV2), `"maxWait"`, `"retryPolicy":{"maxAttempts":1},"maxWait"`, 1),
			always(503), always(200), 503, 0, 1},
		{"no budget", "GET", `"defaults":{"target":{"retryBudget":{"ratio":0}}},` + routeRule(toV2), always(503), always(200), 503, 0, 1},
		{"both fail", "GET", "", always(503), always(502), 502, 1, 1},
		{"429 with one attempt only", "GET", strings.Replace(routeRule(toV2), `"maxWait"`, `"retryPolicy":{"maxAttempts":1},"maxWait"`, 1),
			always(429), always(200), 429, 0, 1},
		{"no time to wait", "GET", strings.Replace(routeRule(toV2), `"5s"`, `"0s"`, 1), always(503), always(200), 503, 0, 1},
		{"hangs", "GET", strings.Replace(routeRule(toV2), `"maxWait"`, `"attemptTimeout":"2s","maxWait"`, 1), func(req *http.Request, _ int) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, always(200), 200, 1, 1},
		{"it is not hedged", "GET", `"defaults":{"call":{"hedgingPolicy":{"hedgingDelay":"0.01s"}}},` + routeRule(toV2), func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(time.Second)
			return answer(req, 200), nil
		}, always(200), 200, 0, 1},
		{"it is killed", "POST", kill("v2.example"), always(200), always(200), 200, 1, 0},
		{"what was asked for is killed", "GET", kill("api.example"), always(200), always(200), 0, 0, 0},
		{"its breaker is forced open", "POST", `"rules":[{"match":{"host":"api.example"},"call":{"route":` + toV2 +
			`}},{"match":{"host":"v2.example"},"target":{"circuitBreaker":{"mode":"forced-open"}}}]`, always(200), always(200), 200, 1, 0},
		{"call settings are those of what was asked for", "GET", `"rules":[{"match":{"host":"v2.example"},"call":{"retryPolicy":{"maxAttempts":1}}},
			{"match":{"host":"api.example"},"call":{"route":` + toV2 + `}}]`, always(503), always(200), 200, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := newRouted(t, 100, test.members), newTwo()
				w.next.serve, w.old.serve = test.next, test.old
				var body io.Reader
				want := ""
				if test.method[0] == 'P' {
					want, body = "order", strings.NewReader("order")
				}
				req, err := http.NewRequest(test.method, "https://api.example/pay", body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := r.Client(w.client()).Do(req)
				status := 0
				if err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				if status != test.status || w.old.attempts() != test.olds || w.next.attempts() != test.nexts {
					t.Errorf("status %d, want %d; attempts %d and %d, want %d and %d: %v", status, test.status,
						w.old.attempts(), w.next.attempts(), test.olds, test.nexts, err)
				}
				for _, b := range append(w.old.bodies, w.next.bodies...) {
					if b != want {
						t.Errorf("sent %q", b)
					}
				}
				if fell := r.told(tether.EventRoute); len(fell) != test.olds || test.olds > 0 && fell[0] != "checkout: fell back" {
					t.Errorf("told of falling back: %q", fell)
				}
				if refused := len(r.told(tether.EventRefused)); test.status == 0 && (refused != 1 || !errors.Is(err, tether.ErrKilled)) {
					t.Errorf("%d refusals told: %v", refused, err)
				}
			})
		})
	}
}

// TestRoutesDontWait: while the other server asks for silence, calls go where they were asked to, at once.
func TestRoutesDontWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRouted(t, 100, ""), newTwo()
		w.next.serve = always(503, "Retry-After", "60")
		start := time.Now()
		for i := range 20 {
			if status := r.get(t, w, i); status != 200 {
				t.Errorf("call %d: status %d", i, status)
			}
		}
		if n := w.next.attempts(); n != 1 || time.Since(start) > time.Second {
			t.Errorf("%d attempts at the silent server, in %v", n, time.Since(start))
		}
		w.next.becomes(always(200))
		time.Sleep(2 * time.Minute)
		for i := range 20 {
			r.get(t, w, i)
			time.Sleep(time.Second)
		}
		if n := w.next.attempts(); n < 15 {
			t.Errorf("%d attempts after the hold", n)
		}
	})
}

// TestRoutesDontAmplify is law 1 over both servers: with the route's end dead, no call is sent more than twice, and those
// that are come from the budget; what it gets falls with its breaker.
func TestRoutesDontAmplify(t *testing.T) {
	for name, old := range map[string]func(*http.Request, int) (*http.Response, error){"old serves": always(200), "old is dead": always(500)} {
		synctest.Test(t, func(t *testing.T) {
			r, w := newRouted(t, 100, ""), newTwo()
			w.next.serve, w.old.serve = always(500), old
			const calls = 2000
			start := time.Now()
			for i := range calls {
				r.get(t, w, i)
				time.Sleep(50 * time.Millisecond)
			}
			sent := w.old.attempts() + w.next.attempts()
			if most := calls * 11 / 10; sent > most+3 {
				t.Errorf("%s: %d attempts for %d calls", name, sent, calls)
			}
			if name == "old serves" && w.old.attempts() < calls*9/10 {
				t.Errorf("%d of %d calls were served", w.old.attempts(), calls)
			}
			// 20 before its breaker opens, a second after the first; then a probe about every second.
			if most := 25 + 1.25*time.Since(start).Seconds(); float64(w.next.attempts()) > most {
				t.Errorf("%s: %d attempts at the dead server, at most %.0f", name, w.next.attempts(), most)
			}
		})
	}
}
