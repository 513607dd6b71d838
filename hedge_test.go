package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

const hedgeDelay = 200 * time.Millisecond // which jitter makes up to 300 ms

// hedged wraps a backend with hedging by a fixed delay, and every other default.
func hedged(t testing.TB, base http.RoundTripper, opts tether.Options) *tether.Client {
	t.Helper()
	return hedgedBy(t, base, policy.HedgingSettings{HedgingDelay: policy.Ptr(hedgeDelay)}, opts)
}

func hedgedBy(t testing.TB, base http.RoundTripper, h policy.HedgingSettings, opts tether.Options) *tether.Client {
	t.Helper()
	return clientBy(t, base, policy.Settings{Call: policy.CallSettings{HedgingPolicy: &h}}, opts)
}

func clientBy(t testing.TB, base http.RoundTripper, own policy.Settings, opts tether.Options) *tether.Client {
	t.Helper()
	if opts.Seed == 0 {
		opts.Seed = 1
	}
	opts.Policy = policy.Document{Defaults: own}
	c, err := tether.NewClient(&http.Client{Transport: base}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// after answers once a time has passed, unless the attempt is ended before.
func after(req *http.Request, wait time.Duration, resp *http.Response) (*http.Response, error) {
	select {
	case <-time.After(wait):
		return resp, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// step is what one attempt meets.
type step struct {
	wait   time.Duration
	status int // 0: the connection breaks
	fields []string
}

// steps plays one step an attempt, the last for ever.
func steps(all ...step) func(*http.Request, int) (*http.Response, error) {
	return func(req *http.Request, n int) (*http.Response, error) {
		s := all[min(n, len(all))-1]
		if s.status == 0 {
			if _, err := after(req, s.wait, nil); err != nil {
				return nil, err
			}
			return nil, io.EOF
		}
		return after(req, s.wait, answer(req, s.status, append(s.fields, "Attempt", fmt.Sprint(n))...))
	}
}

// TestHedge: of an attempt and its hedge the first that serves is the call's answer; one that fails waits
// for the other; both failing are repeated as one.
func TestHedge(t *testing.T) {
	const ms = time.Millisecond
	never := step{time.Hour, 200, nil}
	for name, test := range map[string]struct {
		steps    []step
		attempt  string // whose answer it is
		status   int
		statuses []int
		hedges   uint64
		took     [2]time.Duration
	}{
		"served in time":     {[]step{{150 * ms, 200, nil}}, "1", 200, []int{200}, 0, [2]time.Duration{150 * ms, 150 * ms}},
		"the hedge is first": {[]step{never, {10 * ms, 200, nil}}, "2", 200, []int{0, 200}, 1, [2]time.Duration{210 * ms, 310 * ms}},
		"a 404 serves":       {[]step{never, {10 * ms, 404, nil}}, "2", 404, []int{0, 404}, 1, [2]time.Duration{210 * ms, 310 * ms}},
		"the attempt is":     {[]step{{400 * ms, 200, nil}, never}, "1", 200, []int{200, 0}, 1, [2]time.Duration{400 * ms, 400 * ms}},
		"it fails, the hedge serves": {[]step{{400 * ms, 502, nil}, {500 * ms, 200, nil}}, "2", 200, []int{502, 200}, 1,
			[2]time.Duration{700 * ms, 800 * ms}},
		"the hedge breaks, it serves": {[]step{{600 * ms, 200, nil}, {10 * ms, 0, nil}}, "1", 200, []int{200, 0}, 1,
			[2]time.Duration{600 * ms, 600 * ms}},
		"the hedge says no, it serves": {[]step{{600 * ms, 200, nil}, {10 * ms, 503, []string{"Retry-After", "60"}}}, "1", 200,
			[]int{200, 503}, 1, [2]time.Duration{600 * ms, 600 * ms}},
		"both fail, a repeat serves": {[]step{{600 * ms, 502, nil}, {10 * ms, 500, nil}, {ms, 200, nil}}, "3", 200,
			[]int{502, 500, 200}, 1, [2]time.Duration{600 * ms, 2 * time.Second}},
		"a hold of the hedge keeps the repeat back": {[]step{{600 * ms, 502, nil}, {10 * ms, 503, []string{"Retry-After", "2"}},
			{ms, 200, nil}}, "3", 200, []int{502, 503, 200}, 1, [2]time.Duration{2210 * ms, 6 * time.Second}},
		"a hold that is too long is no repeat": {[]step{{600 * ms, 502, nil}, {10 * ms, 503, []string{"Retry-After", "60"}}}, "1", 502,
			[]int{502, 503}, 1, [2]time.Duration{600 * ms, 600 * ms}},
		"what the policy repeats doesn't serve": {[]step{{400 * ms, 425, nil}, {500 * ms, 200, nil}}, "2", 200, []int{425, 200}, 1,
			[2]time.Duration{700 * ms, 800 * ms}},
		"failing at once is no reason": {[]step{{ms, 502, nil}, {ms, 200, nil}}, "2", 200, []int{502, 200}, 0,
			[2]time.Duration{2 * ms, time.Second}},
		"three attempts, both kinds": {[]step{{ms, 502, nil}, never, {ms, 200, nil}}, "3", 200, []int{502, 0, 200}, 1,
			[2]time.Duration{200 * ms, time.Second}},
		"both answers stay failures": {[]step{{600 * ms, 502, nil}, {500 * ms, 500, nil}, {ms, 503, nil}}, "3", 503,
			[]int{502, 500, 503}, 1, [2]time.Duration{600 * ms, 2 * time.Second}},
		"the last failure has no answer": {[]step{{600 * ms, 0, nil}, {10 * ms, 502, nil}, {ms, 0, nil}}, "2", 502,
			[]int{0, 502, 0}, 1, [2]time.Duration{600 * ms, 2 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: steps(test.steps...)}
				bodies := &tracked{base: b}
				c := hedged(t, bodies, tether.Options{InitialRetries: policy.Ptr(2)})
				began := time.Now()
				resp, err := explained(t, c, http.MethodGet, api)
				took := time.Since(began)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != test.status || resp.Header.Get("Attempt") != test.attempt ||
					string(body) != "body of "+http.StatusText(test.status) || err != nil {
					t.Errorf("got %d of attempt %s, %q, %v", resp.StatusCode, resp.Header.Get("Attempt"), body, err)
				}
				if took < test.took[0] || took > test.took[1] {
					t.Errorf("took %v, want %v", took, test.took)
				}
				s := storyOf(t, resp, nil)
				if !slices.Equal(statuses(s), test.statuses) {
					t.Errorf("story is %v", s)
				}
				if h := c.Engine().Health().Targets[0]; h.Hedges != test.hedges || h.Attempts != uint64(len(test.statuses)) {
					t.Errorf("%d hedges among %d attempts", h.Hedges, h.Attempts)
				}
				bodies.check(t)
			})
		})
	}
}

// tracked counts what a transport handed out and what has ended: bodies and contexts.
type tracked struct {
	base           http.RoundTripper
	opened, closed atomic.Int64
	mu             sync.Mutex // guards what follows
	contexts       []context.Context
	numbers        []string // that the server was told
}

func (b *tracked) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.contexts = append(b.contexts, req.Context())
	b.numbers = append(b.numbers, req.Header.Get("Attempt-Number"))
	b.mu.Unlock()
	resp, err := b.base.RoundTrip(req)
	if err == nil {
		b.opened.Add(1)
		resp.Body = &counted{Reader: resp.Body, closed: &b.closed}
	}
	return resp, err
}

// check is called when the call's body has ended: nothing of it may be left.
func (b *tracked) check(t testing.TB) {
	t.Helper()
	if o, c := b.opened.Load(), b.closed.Load(); o != c {
		t.Errorf("%d bodies were opened, %d closed", o, c)
	}
}

// TestHedgeEvents: a hedge is reported, with the number that the server gets, and its loser's end.
func TestHedgeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bodies := &tracked{base: &backend{serve: steps(step{wait: time.Hour, status: 200}, step{status: 200})}}
		var events []tether.Event
		c := hedged(t, bodies, tether.Options{AttemptHeader: "Attempt-Number", Observe: func(e tether.Event) { events = append(events, e) }})
		resp, err := explained(t, c, http.MethodGet, api)
		if err != nil {
			t.Fatal(err)
		}
		if bodies.contexts[0].Err() == nil {
			t.Error("the attempt goes on though its hedge was served")
		}
		if bodies.contexts[1].Err() != nil {
			t.Error("the winner's context ended before its body")
		}
		resp.Body.Close()
		if bodies.contexts[1].Err() == nil {
			t.Error("the winner's context outlives its body")
		}
		if !slices.Equal(bodies.numbers, []string{"", "1"}) {
			t.Errorf("the server was told %q", bodies.numbers)
		}
		if len(events) != 1 || events[0].Kind != tether.EventHedge || events[0].Attempt != 1 ||
			events[0].Wait < hedgeDelay || events[0].Wait > hedgeDelay*3/2 {
			t.Errorf("events are %+v", events)
		}
		s := storyOf(t, resp, nil)
		if !errors.Is(s.Attempts[0].Err, tether.ErrOutrun) || s.Attempts[0].Hedge || !s.Attempts[1].Hedge ||
			s.Attempts[1].Wait != events[0].Wait {
			t.Errorf("%+v", s)
		}
		if want := fmt.Sprintf("outrun, hedged after %v 200", events[0].Wait.Round(time.Millisecond)); s.String() != want {
			t.Errorf("told as %q, want %q", s, want)
		}
	})
}

// TestHedgeOnlySafe: what is sent twice at once must be safe to ask twice at once.
func TestHedgeOnlySafe(t *testing.T) {
	for _, test := range []struct {
		method   string
		body     io.Reader
		declared bool
		field    string
		hedges   int
	}{
		{"GET", nil, false, "", 1}, {"HEAD", nil, false, "", 1}, {"OPTIONS", nil, false, "", 1}, {"TRACE", nil, false, "", 1},
		{"GET", http.NoBody, false, "", 1}, {"GET", strings.NewReader("query"), false, "", 0},
		{"GET", strings.NewReader("query"), true, "", 1},
		{"GET", nil, false, "Upgrade", 0},
		{"PUT", strings.NewReader("x"), false, "", 0}, {"DELETE", nil, false, "", 0}, {"POST", nil, false, "", 0},
		{"POST", nil, false, "Idempotency-Key", 0},
		{"PUT", strings.NewReader("x"), true, "", 1}, {"POST", strings.NewReader("x"), true, "", 1},
		{"POST", io.MultiReader(strings.NewReader("a stream")), true, "", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: steps(step{wait: time.Second, status: 200})}
			c := hedged(t, b, tether.Options{})
			ctx := tether.WithCall(t.Context(), tether.CallOptions{Idempotent: test.declared})
			req, err := http.NewRequestWithContext(ctx, test.method, api, test.body)
			if err != nil {
				t.Fatal(err)
			}
			if test.field != "" {
				req.Header.Set(test.field, "x")
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := b.attempts() - 1; got != test.hedges {
				t.Errorf("%+v: %d hedges", test, got)
			}
			if b.bodies[0] != b.bodies[len(b.bodies)-1] {
				t.Errorf("%+v: the bodies were %q", test, b.bodies)
			}
		})
	}
}
