package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/retry"
)

const hedgeDelay = 200 * time.Millisecond // which jitter makes up to 300 ms

// hedged wraps a backend with hedging by a fixed delay, and every other default.
func hedged(t testing.TB, base http.RoundTripper, opts tether.Options) *tether.Client {
	t.Helper()
	return hedgedBy(t, base, tether.HedgingSettings{HedgingDelay: tether.Set(hedgeDelay)}, opts)
}

func hedgedBy(t testing.TB, base http.RoundTripper, h tether.HedgingSettings, opts tether.Options) *tether.Client {
	t.Helper()
	if opts.Seed == 0 {
		opts.Seed = 1
	}
	c, err := tether.NewClient(&http.Client{Transport: base},
		tether.Config{Defaults: tether.Settings{Call: tether.CallSettings{HedgingPolicy: &h}}}, opts)
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
				c := hedged(t, bodies, tether.Options{InitialRetries: tether.Set(2)})
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

// TestHedgeCallersTime: the caller's cancellation and all timeouts end both.
func TestHedgeCallersTime(t *testing.T) {
	for name, test := range map[string]struct {
		call     tether.CallSettings
		cancel   time.Duration
		deadline time.Duration
		want     error
		attempts int
		took     time.Duration
	}{
		"cancelled":       {cancel: 700 * time.Millisecond, want: context.Canceled, attempts: 2, took: 700 * time.Millisecond},
		"deadline":        {deadline: 700 * time.Millisecond, want: context.DeadlineExceeded, attempts: 2, took: 700 * time.Millisecond},
		"deadline before": {deadline: 199 * time.Millisecond, want: context.DeadlineExceeded, attempts: 1, took: 199 * time.Millisecond},
		"call timeout": {call: tether.CallSettings{Timeout: tether.Set(700 * time.Millisecond)}, want: tether.ErrCallTimeout,
			attempts: 2, took: 700 * time.Millisecond},
		"attempt timeout": {call: tether.CallSettings{AttemptTimeout: tether.Set(400 * time.Millisecond),
			RetryPolicy: &tether.RetrySettings{MaxAttempts: tether.Set(2)}}, want: tether.ErrAttemptTimeout, attempts: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: steps(step{wait: time.Hour, status: 200})}
				test.call.HedgingPolicy = &tether.HedgingSettings{HedgingDelay: tether.Set(hedgeDelay)}
				c, err := tether.NewClient(&http.Client{Transport: b},
					tether.Config{Defaults: tether.Settings{Call: test.call}}, tether.Options{Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.cancel > 0 {
					time.AfterFunc(test.cancel, cancel)
				}
				if test.deadline > 0 {
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				began := time.Now()
				_, err = c.Do(req)
				took := time.Since(began)
				if !errors.Is(err, test.want) || b.attempts() != test.attempts {
					t.Errorf("%v after %d attempts, want %v after %d", err, b.attempts(), test.want, test.attempts)
				}
				if test.took > 0 && took != test.took || took > time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// TestHedgeOfNoUse: no hedge is sent that can't be answered in time, or that nobody waits for any more.
func TestHedgeOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{wait: 100 * time.Millisecond, status: 200})}
		c := hedged(t, b, tether.Options{})
		get(c, api)
		b.becomes(steps(step{wait: time.Second, status: 200}))
		c.Timeout = 295 * time.Millisecond // the delay is 200 ms at least, an answer takes 100 ms
		if _, _, err := get(c, api); err == nil || b.attempts() != 2 {
			t.Errorf("%v, %d attempts", err, b.attempts())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(time.Second) // and does not heed the caller
			return answer(req, 200), nil
		}}
		c := hedged(t, b, tether.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		time.AfterFunc(100*time.Millisecond, cancel)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
		}
		if b.attempts() != 1 {
			t.Errorf("%d attempts", b.attempts())
		}
	})
}

// TestHedgeBrokenTransport: a panic of the hedge reaches the caller, as the attempt's would; a goroutine
// that ends harms nobody; neither leaves anything behind.
func TestHedgeBrokenTransport(t *testing.T) {
	for name, test := range map[string]struct {
		attempt, hedge func()
		panics         bool
	}{
		"the hedge panics":   {nil, func() { panic("broken") }, true},
		"the attempt panics": {func() { panic("broken") }, nil, true},
		"the hedge exits":    {nil, runtime.Goexit, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bodies := &tracked{base: roundTrip(func(req *http.Request) (*http.Response, error) {
					hedge := req.Header.Get("N") != ""
					if _, err := after(req, 500*time.Millisecond, nil); err != nil {
						return nil, err
					}
					if do := map[bool]func(){false: test.attempt, true: test.hedge}[hedge]; do != nil {
						do()
					}
					return after(req, time.Second, answer(req, 200))
				})}
				c := hedged(t, bodies, tether.Options{AttemptHeader: "N"})
				var status int
				var recovered any
				func() {
					defer func() { recovered = recover() }()
					status, _, _ = get(c, api)
				}()
				if test.panics != (recovered == "broken") || !test.panics && status != 200 {
					t.Errorf("recovered %v, status %d", recovered, status)
				}
				for i, ctx := range bodies.contexts {
					if ctx.Err() == nil {
						t.Errorf("the context of attempt %d is left", i+1)
					}
				}
				bodies.check(t)
			})
		})
	}
}

// TestHedgeUntidyTransport: transports that write into the request that they are given are common.
func TestHedgeUntidyTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := hedged(t, roundTrip(func(req *http.Request) (*http.Response, error) {
			for range 300 {
				time.Sleep(time.Millisecond)
				req.Header.Set("Authorization", "signed")
				req.URL.Host = "elsewhere.example"
			}
			return answer(req, 200), nil
		}), tether.Options{})
		req, _ := http.NewRequest(http.MethodGet, api, nil)
		req.Header.Set("Accept", "text/plain")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if len(req.Header) != 1 || req.URL.Host != "api.example" {
			t.Errorf("the caller's request became %v %v", req.URL, req.Header)
		}
		if n := c.Engine().Health().Targets[0].Hedges; n != 1 {
			t.Errorf("%d hedges: it proves nothing", n)
		}
	})
}

// TestHedgeNotInDo: a function may not be safe to run twice at once.
func TestHedgeNotInDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := hedged(t, nil, tether.Options{})
		var running, most atomic.Int32
		err := c.Engine().Do(t.Context(), tether.Call{Host: "orders", Method: "GET", CallOptions: tether.CallOptions{Idempotent: true}},
			func(context.Context, *tether.Permit) tether.Outcome {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				time.Sleep(time.Second)
				return tether.Outcome{Class: tether.Healthy}
			})
		if err != nil || most.Load() != 1 {
			t.Errorf("%v, %d at once", err, most.Load())
		}
	})
}

// TestHedgeInner: inside of another wrapper's call, that one does the hedging.
func TestHedgeInner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{wait: time.Second, status: 200})}
		inner := hedged(t, b, tether.Options{})
		outer := client(t, inner.Transport, tether.Options{})
		if status, _, err := get(outer, api); status != 200 || b.attempts() != 1 {
			t.Errorf("%d, %v, %d attempts", status, err, b.attempts())
		}
	})
}

// TestHedgeFailure: where both fail for good the error tells both.
func TestHedgeFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: steps(step{wait: time.Second}, step{wait: time.Millisecond})}
		_, err := hedged(t, b, tether.Options{}).Get(api)
		var failed *retry.Error
		if !errors.As(err, &failed) || failed.Attempts != 2 || !errors.Is(err, io.EOF) || !errors.Is(err, retry.ErrBudget) {
			t.Errorf("%v", err)
		}
		if s := storyOf(t, nil, err); len(s.Attempts) != 2 || !s.Attempts[1].Hedge {
			t.Errorf("%v", s)
		}
	})
}

// TestHedgeAttempts: a hedge is one of the attempts that a call may make.
func TestHedgeAttempts(t *testing.T) {
	for _, most := range []int{1, 2, 3, 4} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: always(200)}
			c, err := tether.NewClient(&http.Client{Transport: b}, tether.Config{Defaults: tether.Settings{Call: tether.CallSettings{
				HedgingPolicy: &tether.HedgingSettings{HedgingDelay: tether.Set(hedgeDelay)},
				RetryPolicy:   &tether.RetrySettings{MaxAttempts: &most}}, Target: tether.TargetSettings{
				RetryBudget: &tether.BudgetSettings{Ratio: tether.Set(1.0)}, Pacing: &tether.PacingSettings{Mode: tether.Set("off")}}}},
				tether.Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			for range 10 { // saves what the budget may hold
				get(c, api)
			}
			before := b.attempts()
			b.becomes(func(req *http.Request, _ int) (*http.Response, error) {
				return after(req, 600*time.Millisecond, answer(req, 502))
			})
			resp, err := explained(t, c, http.MethodGet, api)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			s := storyOf(t, resp, nil)
			if n := b.attempts() - before; n != most || !errors.Is(s.NotRepeated, retry.ErrAttempts) {
				t.Errorf("%d of at most %d attempts: %v", n, most, s)
			}
		})
	}
}
