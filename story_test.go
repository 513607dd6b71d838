package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/retry"
)

// explained makes a call whose response carries its story.
func explained(t testing.TB, c *tether.Client, method, url string) (*http.Response, error) {
	t.Helper()
	ctx := tether.WithCall(t.Context(), tether.CallOptions{Explained: true})
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(req)
}

// storyOf reads a story that must be there.
func storyOf(t testing.TB, resp *http.Response, err error) tether.Story {
	t.Helper()
	story, ok := tether.Explain(resp, err)
	if !ok {
		t.Fatalf("no story of %v, %v", resp, err)
	}
	return story
}

func statuses(s tether.Story) (all []int) {
	for _, a := range s.Attempts {
		all = append(all, a.Status)
	}
	return all
}

// TestW12Explained: 503 for ever brings the last 503, its header and body, and the story of all three
// attempts; http.Client's Timeout, which wraps the body, hides nothing.
func TestW12Explained(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var times []time.Time
			base, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				mu.Lock()
				times = append(times, time.Now())
				mu.Unlock()
				w.Header().Set("Server", "busy")
				http.Error(w, "not now", http.StatusServiceUnavailable)
			}))
			c := client(t, base, tether.Options{InitialRetries: policy.Ptr(2)})
			c.Timeout = timeout
			began := time.Now()
			resp, err := explained(t, c, http.MethodGet, url)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != "not now\n" || resp.Header.Get("Server") != "busy" || err != nil {
				t.Errorf("%q, %v, %v", body, resp.Header, err)
			}
			s := storyOf(t, resp, nil)
			if !slices.Equal(statuses(s), []int{503, 503, 503}) || !errors.Is(s.NotRepeated, retry.ErrAttempts) {
				t.Fatalf("story is %v", s)
			}
			mu.Lock()
			defer mu.Unlock()
			for i, a := range s.Attempts {
				if began = began.Add(a.Wait); !began.Equal(times[i]) || a.Err != nil {
					t.Errorf("attempt %d came at %v by its wait, in truth at %v", i+1, began, times[i])
				}
			}
		})
	}
}

// TestStoryOfResponses: why an answer was the last one.
func TestStoryOfResponses(t *testing.T) {
	held := always(503, "Retry-After", "3000")
	for name, test := range map[string]struct {
		method   string
		serve    func(*http.Request, int) (*http.Response, error)
		statuses []int
		reason   error
		text     string
	}{
		"served at once": {"GET", always(200), []int{200}, nil, "200"},
		"not found":      {"GET", always(404), []int{404}, nil, "404"},
		"unsafe":         {"POST", always(502), []int{502}, retry.ErrUnsafe, "502; not repeated: retry: not safe to repeat"},
		"budget": {"GET", always(502), []int{502, 502}, retry.ErrBudget,
			"502, after 145ms 502; not repeated: retry: budget spent"},
		"held": {"GET", held, []int{503}, retry.ErrWait, "503; not repeated: retry: the wait would be too long"},
		"served later": {"GET", func(req *http.Request, n int) (*http.Response, error) {
			return answer(req, []int{502, 200}[n-1]), nil
		}, []int{502, 200}, nil, "502, after 145ms 200"},
		"answer, then none": {"GET", func(req *http.Request, n int) (*http.Response, error) {
			if n == 2 {
				return nil, errRefused
			}
			return answer(req, 502), nil
		}, []int{502, 0}, retry.ErrBudget, "502, after 145ms not sent; not repeated: retry: budget spent"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				resp, err := explained(t, client(t, &backend{serve: test.serve}, tether.Options{}), test.method, api)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				s := storyOf(t, resp, nil)
				if !slices.Equal(statuses(s), test.statuses) || !errors.Is(s.NotRepeated, test.reason) {
					t.Errorf("%+v", s)
				}
				if s.String() != test.text {
					t.Errorf("told as %q, want %q", s, test.text)
				}
			})
		})
	}
}

// TestStoryOfErrors: errors carry their story without being asked, and show what they showed before.
func TestStoryOfErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: dead}
		c := client(t, b, tether.Options{})
		_, err := c.Get(api)
		s := storyOf(t, nil, err)
		if len(s.Attempts) != 2 || s.Attempts[1].Err != error(errRefused) || s.Attempts[1].Sent != tether.NotSent ||
			s.Attempts[0].Wait != 0 || s.Attempts[1].Wait == 0 || !errors.Is(s.NotRepeated, retry.ErrBudget) {
			t.Errorf("%+v", s)
		}
		var failed *retry.Error
		if !errors.As(err, &failed) || failed.Attempts != 2 || !errors.Is(err, errRefused) {
			t.Errorf("error is %v", err)
		}
		var outer *url.Error
		if !errors.As(err, &outer) || outer.Err.Error() != failed.Error() {
			t.Errorf("text is %q, want %q", outer.Err, failed)
		}
	})
	synctest.Test(t, func(t *testing.T) { // nothing sent
		c := client(t, &backend{serve: dead}, tether.Options{})
		if _, err := c.Engine().Apply(killAll); err != nil {
			t.Fatal(err)
		}
		_, err := c.Get(api)
		s := storyOf(t, nil, err)
		if len(s.Attempts) != 0 || !errors.Is(s.NotRepeated, tether.ErrKilled) || !strings.HasPrefix(s.String(), "nothing sent: ") {
			t.Errorf("%v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the further attempt was refused
		c := client(t, &backend{serve: dead}, tether.Options{})
		go func() {
			synctest.Wait()
			c.Engine().Apply(killAll)
		}()
		_, err := c.Get(api)
		var refused *tether.RejectedError
		if s := storyOf(t, nil, err); len(s.Attempts) != 1 || !errors.As(s.NotRepeated, &refused) {
			t.Errorf("%v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a timeout stays one for url.Error
		cfg := policy.Document{}
		cfg.Defaults.Call.AttemptTimeout = policy.Ptr(time.Second)
		hang := roundTrip(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		_, err := clientOf(t, hang, cfg, 1).Get(api)
		var outer *url.Error
		if s := storyOf(t, nil, err); !errors.As(err, &outer) || !outer.Timeout() || !strings.HasPrefix(s.String(), "timed out, ") {
			t.Errorf("%v, %v", err, s)
		}
	})
	refusal := &tether.RejectedError{Reason: pacing.ErrHeld}
	for name, err := range map[string]error{"none": nil, "a stranger's": io.EOF,
		"a loop of the caller's": &retry.Error{Attempts: 3, Err: refusal, Reason: retry.ErrAttempts}} {
		if s, ok := tether.Explain(nil, err); ok {
			t.Errorf("%s: explained as %v", name, s)
		}
	}
}

// TestStoryOfDo: what is not HTTP has its story too.
func TestStoryOfDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, &backend{}, tether.Options{})
		what := tether.Call{Host: "orders-db", CallOptions: tether.CallOptions{Idempotent: true}}
		err := c.Engine().Do(t.Context(), what, func(context.Context, *tether.Permit) tether.Outcome {
			return tether.Outcome{Class: tether.Transient, Err: io.EOF}
		})
		if s := storyOf(t, nil, err); len(s.Attempts) != 2 || s.Attempts[1].Err != io.EOF || !errors.Is(s.NotRepeated, retry.ErrBudget) {
			t.Errorf("%+v", s)
		}
	})
}

// TestStoryHidesNothing: a response shows the caller's own request unless the call is Explained, and then
// a copy of it, with the caller's trace and values; Explain tells nothing it was not asked for.
func TestStoryHidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(502)}
		c := client(t, b, tether.Options{})
		for _, ask := range []bool{false, true} {
			trace := &httptrace.ClientTrace{}
			ctx := tether.WithCall(httptrace.WithClientTrace(t.Context(), trace), tether.CallOptions{Explained: ask})
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if _, ok := tether.Explain(resp, nil); ok != ask || (resp.Request == req) == ask {
				t.Errorf("asked %v: told %v, same request %v", ask, ok, resp.Request == req)
			}
			if httptrace.ContextClientTrace(resp.Request.Context()) == nil || resp.Request.URL != req.URL || req.Context() != ctx {
				t.Errorf("asked %v: the caller's request or its context was lost", ask)
			}
		}
	})
}

// TestStoryOfEachHop: each hop of a redirect is a call of its own.
func TestStoryOfEachHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			return answer(req, []int{502, 302, 404}[n-1], "Location", api+"/moved"), nil
		}}
		resp, err := explained(t, client(t, b, tether.Options{}), http.MethodGet, api)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		last, first := storyOf(t, resp, nil), storyOf(t, resp.Request.Response, nil)
		if !slices.Equal(statuses(first), []int{502, 302}) || !slices.Equal(statuses(last), []int{404}) {
			t.Errorf("the hops are told as %v and %v", first, last)
		}
	})
}

// TestStoryIsOfOneResponse: a response's context or request, used again, brings no story of the past.
func TestStoryIsOfOneResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(502)}
		c := client(t, b, tether.Options{})
		old, err := explained(t, c, http.MethodGet, api)
		if err != nil {
			t.Fatal(err)
		}
		old.Body.Close()
		b.becomes(always(200))
		plain := &http.Client{Transport: b}
		anew, _ := http.NewRequestWithContext(old.Request.Context(), http.MethodGet, api, nil)
		for _, req := range []*http.Request{anew, old.Request} {
			resp, err := plain.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if s, ok := tether.Explain(resp, nil); ok {
				t.Errorf("a plain client's answer is told as %v", s)
			}
			if resp, err = c.Do(req); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if s := storyOf(t, resp, nil); !slices.Equal(statuses(s), []int{200}) {
				t.Errorf("told as %v", s)
			}
		}
	})
}

// TestStoryHasNoSecret: what a transport says in its errors is not told on.
func TestStoryHasNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leak := &url.Error{Op: "Get", URL: api + "?token=secret", Err: io.EOF}
		c := client(t, roundTrip(func(*http.Request) (*http.Response, error) { return nil, leak }), tether.Options{})
		_, err := c.Get(api + "?token=secret")
		if s := storyOf(t, nil, err); s.Attempts[0].Err != error(leak) || strings.Contains(s.String(), "secret") ||
			!strings.HasPrefix(s.String(), "no answer, after ") {
			t.Errorf("told as %q", s)
		}
	})
}

// TestStoryKeepsNothingAlive: neither a story nor the context that carries it keeps a response.
func TestStoryKeepsNothingAlive(t *testing.T) {
	c := client(t, &backend{serve: always(404)}, tether.Options{})
	resp, err := explained(t, c, http.MethodGet, api)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	story, ctx := storyOf(t, resp, nil), resp.Request.Context()
	response, request := weak.Make(resp), weak.Make(resp.Request)
	resp = nil
	for range 10 {
		runtime.GC()
	}
	if response.Value() != nil || request.Value() != nil {
		t.Error("the response or its request is still there")
	}
	runtime.KeepAlive(story)
	runtime.KeepAlive(ctx)
}

// TestStoryIsACopy: whoever changes a story changes his own.
func TestStoryIsACopy(t *testing.T) {
	c := client(t, &backend{serve: always(404)}, tether.Options{})
	resp, err := explained(t, c, http.MethodGet, api)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			s, _ := tether.Explain(resp, nil)
			s.Attempts[0].Status = i
			_ = fmt.Sprint(s)
		})
	}
	all.Wait()
	if s := storyOf(t, resp, nil); s.Attempts[0].Status != 404 {
		t.Errorf("told as %v", s)
	}
}
