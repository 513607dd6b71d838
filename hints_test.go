package tether_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/retry"
)

// tenant makes calls to one path after another with one credential, none of which waits.
type tenant struct {
	t      testing.TB
	client *tether.Client
	token  string
}

func (c tenant) get(path string) (int, error) {
	ctx := tether.WithCall(c.t.Context(), tether.CallOptions{NoWait: true})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", c.token)
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// wants checks which paths are held and which are served.
func (c tenant) wants(held bool, paths ...string) {
	c.t.Helper()
	for _, path := range paths {
		if _, err := c.get(path); errors.Is(err, pacing.ErrHeld) != held {
			c.t.Errorf("%s %s: %v, want held %v", c.token, path, err, held)
		}
	}
}

// TestEveryFormHolds: an answer that names a time in whatever form keeps every call of its credential
// back until then, and no other's.
func TestEveryFormHolds(t *testing.T) {
	epoch := func(now time.Time) string { return strconv.FormatInt(now.Add(20*time.Second).Unix(), 10) }
	type form struct {
		name   string
		status int
		fields func(now time.Time) []string
		all    bool // other credentials too
	}
	fixed := func(fields ...string) func(time.Time) []string { return func(time.Time) []string { return fields } }
	forms := []form{
		{"list", 429, fixed("RateLimit", `"default";r=0;t=20`), false},
		{"list, 503", 503, fixed("RateLimit", `"default";r=0;t=20`), true},
		{"dictionary", 429, fixed("RateLimit", "limit=10, remaining=0, reset=20"), false},
		{"three fields", 429, fixed("RateLimit-Remaining", "0", "RateLimit-Reset", "20"), false},
		{"delta", 429, fixed("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "20"), false},
		{"epoch", 429, func(now time.Time) []string {
			return []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", epoch(now)}
		}, false},
		{"epoch, the server's clock a day off", 429, func(now time.Time) []string {
			theirs := now.Add(24 * time.Hour)
			return []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", epoch(theirs),
				"Date", theirs.UTC().Format(http.TimeFormat)}
		}, false},
		{"tokens", 429, fixed("x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "20s"), false},
		{"milliseconds", 429, fixed("retry-after-ms", "20000"), false},
		{"x-retry-in", 429, fixed("X-Retry-In", "20s"), false},
		{"403, primary", 403, fixed("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "20"), false},
		{"403, secondary", 403, fixed("Retry-After", "20"), false},
		{"200, nothing left", 200, fixed("RateLimit", `"default";r=0;t=20`), false},
		{"304, nothing left", 304, fixed("RateLimit", `"default";r=0;t=20`), false},
		{"404, nothing left", 404, fixed("RateLimit", `"default";r=0;t=20`), false},
		{"500, nothing left", 500, fixed("RateLimit", `"default";r=0;t=20`), false},
		{"bare, by profile", 429, fixed(), false},
	}
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
					if n == 1 {
						return answer(req, form.status, form.fields(began)...), nil
					}
					return answer(req, 200), nil
				}}
				opts := tether.Options{HintProfiles: map[string]hint.Profile{
					"api.example": {Bare429: 20 * time.Second}}}
				c := client(t, b, opts)
				told := tenant{t, c, "told"}
				if status, err := told.get("/a"); status != form.status || err != nil {
					t.Fatalf("the first call got %d, %v", status, err)
				}
				for time.Since(began) < 20*time.Second {
					told.wants(true, "/a", "/b")
					time.Sleep(500 * time.Millisecond)
				}
				if n := b.attempts(); n != 1 {
					t.Errorf("%d attempts before T", n-1)
				}
				time.Sleep(10 * time.Second)
				if told.get("/a"); b.attempts() != 2 {
					t.Error("nothing came back after T")
				}
				b.becomes(func(req *http.Request, n int) (*http.Response, error) {
					return answer(req, form.status, form.fields(time.Now())...), nil
				})
				c = client(t, b, opts)
				tenant{t, c, "told"}.get("/a")
				tenant{t, c, "other"}.wants(form.all, "/c")
			})
		})
	}
}

// TestWhatHoldsNobody: numbers that don't say "not before" keep nobody back (law 10).
func TestWhatHoldsNobody(t *testing.T) {
	for name, fields := range map[string][]string{
		"plenty":              {"RateLimit", `"default";r=500;t=60`, "RateLimit-Policy", `"default";q=1000;w=60`},
		"from a cache":        {"RateLimit", `"default";r=0;t=60`, "Age", "1"},
		"no reset":            {"X-RateLimit-Remaining", "0"},
		"reset in the past":   {"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "946684800"},
		"no limit at all":     {"X-RateLimit-Limit", "0", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "60"},
		"bytes":               {"RateLimit", `"b";r=0;t=60`, "RateLimit-Policy", `"b";q=9;w=60;qu="content-bytes"`},
		"tokens and requests": {"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "60s"},
		"tokens":              {"x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "60s"},
		"malformed":           {"RateLimit", `"default";r=0;t=60,`},
		"retry-after":         {"Retry-After", "60"},
		"retry-after of zero": {"Retry-After", "0", "RateLimit", `"default";r=7;t=1`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(t, &backend{serve: always(200, fields...)}, tether.Options{})
				for i := range 200 {
					if _, err := (tenant{t, c, "a"}).get("/" + strconv.Itoa(i%3)); err != nil {
						t.Fatalf("call %d: %v", i, err)
					}
					time.Sleep(250 * time.Millisecond)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := client(t, &backend{serve: always(403, "X-RateLimit-Remaining", "4000", "X-RateLimit-Reset", "60")}, tether.Options{})
		for range 20 {
			if _, err := (tenant{t, c, "a"}).get("/"); err != nil {
				t.Fatalf("a 403 about rights: %v", err)
			}
		}
	})
}

// TestVerdicts: the server's word about a repeat goes before the policy's statuses; whether a repeat is
// safe, and the budget, are not the server's to say.
func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		method, field, verdict string
		status, attempts       int
		reason                 error
	}{
		{"GET", "x-should-retry", "false", 503, 1, retry.ErrForbidden},
		{"GET", "Stripe-Should-Retry", "false", 500, 1, retry.ErrForbidden},
		{"GET", "x-should-retry", "false", 429, 1, retry.ErrForbidden},
		{"GET", "x-should-retry", "true", 409, 2, retry.ErrBudget},
		{"GET", "x-should-retry", "true", 501, 2, retry.ErrBudget},
		{"GET", "x-should-retry", "True", 409, 1, nil},
		{"GET", "x-should-retry", "true", 200, 1, nil},
		{"POST", "x-should-retry", "true", 409, 1, retry.ErrUnsafe},
		{"POST", "Stripe-Should-Retry", "true", 500, 1, retry.ErrUnsafe},
		{"GET", "x-should-retry", "perhaps", 500, 2, retry.ErrBudget},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: always(test.status, test.field, test.verdict)}
			resp, err := explained(t, client(t, b, tether.Options{}), test.method, api)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			story := storyOf(t, resp, nil)
			if b.attempts() != test.attempts || !errors.Is(story.NotRepeated, test.reason) {
				t.Errorf("%s, %d, %s: %d attempts: %v, want %d: %v", test.method, test.status, test.verdict,
					b.attempts(), story.NotRepeated, test.attempts, test.reason)
			}
		})
	}
}

// TestThrottling403: GitHub's 403 is repeated where a 429 would be, after the wait that it names.
func TestThrottling403(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			if n == 1 {
				return answer(req, 403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "3"), nil
			}
			return answer(req, 200), nil
		}}
		began := time.Now()
		if status, _, err := get(client(t, b, tether.Options{}), api); status != 200 || time.Since(began) < 3*time.Second {
			t.Errorf("%d, %v after %v", status, err, time.Since(began))
		}
	})
}

// quotaOf is a server that names a partition for each path, and refuses one of them.
func quotaOf(header string, names map[string]string, refuse string) func(*http.Request, int) (*http.Response, error) {
	return func(req *http.Request, _ int) (*http.Response, error) {
		name := names[req.URL.Path[len("/v1/items"):]]
		status, fields := 200, []string{header, name}
		if header == "RateLimit" {
			fields[1] = fmt.Sprintf(`%q;r=900;t=60`, name)
		}
		if name == refuse {
			status, fields = 429, append(fields, "Retry-After", "30")
		}
		return answer(req, status, fields...), nil
	}
}

// TestPartitions: a word about one bucket, resource or policy covers the requests that are known to
// belong to it, of the credential that was told; one tenant's limit never stalls another.
func TestPartitions(t *testing.T) {
	paths := map[string]string{"/search": "search", "/search/4711": "search", "/search/4712": "search", "/list": "core", "/new": "core"}
	for _, header := range []string{"X-RateLimit-Bucket", "X-RateLimit-Resource", "RateLimit"} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: quotaOf(header, paths, "")}
			c := client(t, b, tether.Options{})
			a, other := tenant{t, c, "a"}, tenant{t, c, "b"}
			a.wants(false, "/search/4711", "/list", "/search")
			b.becomes(quotaOf(header, paths, "search"))
			if status, err := a.get("/search"); status != 429 {
				t.Fatal(status, err)
			}
			a.wants(true, "/search", "/search/4711", "/search/4712")
			a.wants(false, "/list", "/new", "/unknown")
			b.becomes(quotaOf(header, paths, ""))
			other.wants(false, "/search", "/list")
			if header == "RateLimit" {
				return
			}
			b.becomes(always(429, "X-RateLimit-Global", "true", header, "core", "Retry-After", "40"))
			if status, err := a.get("/new"); status != 429 {
				t.Fatal(status, err)
			}
			a.wants(true, "/list", "/new", "/unknown")
			time.Sleep(30*time.Second + time.Millisecond)
			a.wants(true, "/search", "/search/4711", "/list", "/unknown")
			b.becomes(always(200))
			other.wants(false, "/search", "/list")
		})
	}
}

// TestPoliciesThatDivideNothing: a policy's name covers everything until the server has named another one
// for other requests, and again when it names several for the same.
func TestPoliciesThatDivideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(429, "RateLimit", `"default";r=0;t=30`)}
		a := tenant{t, client(t, b, tether.Options{}), "a"}
		a.get("/search")
		a.wants(true, "/search", "/list")
	})
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(429, "RateLimit", `"minute";r=0;t=30, "hour";r=9;t=60`)}
		a := tenant{t, client(t, b, tether.Options{}), "a"}
		a.get("/search")
		a.wants(true, "/search", "/list")
	})
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200, "RateLimit", `"minute";r=900;t=30`)}
		a := tenant{t, client(t, b, tether.Options{}), "a"}
		a.wants(false, "/search", "/list")
		b.becomes(always(200, "RateLimit", `"other";r=900;t=30`))
		a.wants(false, "/new")
		b.becomes(always(429, "RateLimit", `"minute";r=0;t=30`))
		a.get("/search")
		a.wants(true, "/search", "/list")
		b.becomes(always(200, "RateLimit", `"hour";r=900;t=30`))
		a.wants(false, "/new") // the second policy of one route: their names divide nothing
		a.wants(true, "/new", "/search", "/list", "/unknown")
		time.Sleep(90 * time.Second)
		b.becomes(always(429, "RateLimit", `"hour";r=0;t=30`))
		a.get("/new")
		a.wants(true, "/new", "/search", "/list", "/unknown")
	})
}

// TestHintsOverTheWire: a field in several lines and in whatever case, as net/http's own server and
// both protocols carry it.
func TestHintsOverTheWire(t *testing.T) {
	serve := map[string]func(testing.TB, http.Handler) (*http.Transport, string){
		"HTTP/1": memnet.Serve, "HTTP/2": memnet.ServeH2C,
	}
	for name, serve := range serve {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					asked++
					w.Header()["ratelimit"] = []string{`"minute";r=30;t=20`, `"hour";r=0;t=1800`}
					w.WriteHeader(http.StatusOK)
				}))
				c := client(t, transport, tether.Options{})
				if status, _, err := get(c, url); status != 200 || err != nil {
					t.Fatal(status, err)
				}
				began := time.Now()
				_, _, err := get(c, url)
				if r := rejected(t, err); !errors.Is(err, pacing.ErrHeld) || asked != 1 ||
					r.RetryAt.Sub(began) < 1799*time.Second || time.Since(began) > 50*time.Millisecond {
					t.Errorf("%v after %v, %d requests", err, time.Since(began), asked)
				}
			})
		})
	}
}
