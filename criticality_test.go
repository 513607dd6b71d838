package tether_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/retry"
)

// askAs makes a call of a criticality with that much time.
func askAs(c *tether.Client, level criticality.Level, within time.Duration) error {
	ctx, cancel := context.WithTimeout(criticality.With(context.Background(), level), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// TestCriticalGoFirst: of calls that wait for our own limit the critical ones go first, whenever they came.
func TestCriticalGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limited(t, &backend{serve: always(200)}, 1, 1, 0, tether.Options{})
		askAs(c, criticality.Default, time.Minute)
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		for i, level := range []criticality.Level{-1, 0, 1, -1, 0, 1} {
			all.Go(func() {
				if err := askAs(c, level, time.Minute); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, fmt.Sprint(level, " ", i))
			})
			synctest.Wait()
		}
		all.Wait()
		want := []string{"critical 2", "critical 5", "default 1", "default 4", "sheddable 0", "sheddable 3"}
		if !slices.Equal(order, want) {
			t.Errorf("served in the order %q", order)
		}
	})
}

// TestLimitCountsWhoGoesBefore: a call is refused at once where the limit leaves it no turn, by those that
// go before it and not by those that it overtakes.
func TestLimitCountsWhoGoesBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limited(t, &backend{serve: always(200)}, 1, 1, 0, tether.Options{})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { askAs(c, criticality.Default, time.Minute) })
			synctest.Wait()
		}
		began := time.Now()
		r := rejected(t, askAs(c, criticality.Sheddable, 10*time.Second))
		if r.Stage != tether.StageRate || time.Since(began) > 0 || r.Criticality != criticality.Sheddable {
			t.Errorf("after %v: %+v", time.Since(began), r)
		}
		if err := askAs(c, criticality.Critical, 10*time.Second); err != nil || time.Since(began) > 3*time.Second {
			t.Errorf("critical, after %v: %v", time.Since(began), err)
		}
		all.Wait()
	})
}

// TestShedInTrouble: while failures say that the server has too little for all, calls give way to more
// critical ones, and are told so; without such ones they don't.
func TestShedInTrouble(t *testing.T) {
	for _, above := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: always(200)}
			var shed int
			c := client(t, b, tether.Options{Observe: func(e tether.Event) {
				if e.Kind == tether.EventRefused && e.Shed {
					shed++
				}
			}})
			most := criticality.Default
			if above {
				most = criticality.Critical
			}
			for range 40 {
				askAs(c, most, 10*time.Second)
				askAs(c, criticality.Sheddable, 10*time.Second)
				time.Sleep(time.Second / 2)
			}
			if shed > 0 || b.attempts() != 80 {
				t.Fatalf("%d shed, %d attempts on a healthy server", shed, b.attempts())
			}
			// Half of what leaves is served, slowly, and the rest is told "not now".
			b.becomes(func(req *http.Request, n int) (*http.Response, error) {
				time.Sleep(500 * time.Millisecond)
				if n%2 == 0 {
					return answer(req, 503), nil
				}
				return answer(req, 200), nil
			})
			var mu sync.Mutex
			var shedErr, others int
			var all sync.WaitGroup
			for i := range 120 {
				level := criticality.Sheddable
				if i%4 == 0 {
					level = most
				}
				all.Go(func() {
					err := askAs(c, level, 5*time.Second)
					mu.Lock()
					defer mu.Unlock()
					var r *tether.RejectedError
					switch {
					case !errors.As(err, &r) || !r.Shed:
					case level != criticality.Sheddable:
						others++
					case !errors.Is(err, pacing.ErrPaced) || !strings.Contains(err.Error(), "more critical calls go before this sheddable one"):
						t.Errorf("the reason of %v", err)
					default:
						shedErr++
					}
				})
				time.Sleep(250 * time.Millisecond)
			}
			all.Wait()
			if shedErr == 0 || others > 0 || shed == 0 {
				t.Errorf("above %v: %d sheddable calls were shed, %d others, %d events", above, shedErr, others, shed)
			}
		})
	}
}

// TestNobodyToGiveWayTo: where all calls are equal, none is shed in the same trouble.
func TestNobodyToGiveWayTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, &backend{serve: always(503)}, tether.Options{Observe: func(e tether.Event) {
			if e.Shed {
				t.Errorf("shed: %+v", e)
			}
		}})
		for range 20 {
			askAs(c, criticality.Sheddable, 5*time.Second)
		}
	})
}

// TestLastRetryIsReserved: in trouble the budget's last re-attempt is for the most critical calls.
func TestLastRetryIsReserved(t *testing.T) {
	for level, want := range map[criticality.Level]int{criticality.Sheddable: 1, criticality.Critical: 2} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: always(200)}
			c := client(t, b, tether.Options{InitialRetries: policy.Ptr(1)})
			askAs(c, criticality.Critical, time.Minute)
			b.becomes(always(503))
			before := b.attempts()
			ctx := criticality.With(t.Context(), level)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(req.WithContext(tether.WithCall(ctx, tether.CallOptions{Explained: true})))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := b.attempts() - before; got != want {
				t.Errorf("%v: %d attempts, want %d", level, got, want)
			}
			story, _ := tether.Explain(resp, nil)
			if reserved := strings.Contains(fmt.Sprint(story.NotRepeated), "kept for more critical calls"); reserved != (want == 1) ||
				!errors.Is(story.NotRepeated, retry.ErrBudget) {
				t.Errorf("%v: %v", level, story.NotRepeated)
			}
		})
	}
}

// TestCriticalityTravels: over a real connection, through a handler, and on to the next server; the
// configuration has the last word.
func TestCriticalityTravels(t *testing.T) {
	const field = "X-Shop-Criticality"
	var got []string
	last := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, strings.Join(r.Header.Values(field), "|"))
	}))
	defer last.Close()
	onward, err := tether.NewClient(last.Client(), tether.Options{CriticalityHeader: field})
	if err != nil {
		t.Fatal(err)
	}
	middle := httptest.NewServer(criticality.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		// Options of a call leave its criticality alone.
		ctx := tether.WithCall(r.Context(), tether.CallOptions{Idempotent: true})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, last.URL, nil)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := onward.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	}), field))
	defer middle.Close()
	lowered := policy.Document{Rules: []policy.Rule{{Match: policy.Match{Path: "/search"},
		Call: policy.CallSettings{Criticality: policy.Ptr(criticality.Default)}}}}
	first, err := tether.NewClient(middle.Client(), tether.Options{Policy: lowered, CriticalityHeader: field})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		ctx    context.Context
		path   string
		header string
		want   string
	}{
		{t.Context(), "/", "", ""},
		{criticality.With(t.Context(), criticality.Critical), "/", "", "critical"},
		{criticality.With(t.Context(), criticality.Sheddable), "/", "critical", "sheddable"},
		{criticality.With(t.Context(), criticality.Critical), "/search", "", ""},
		{t.Context(), "/", "critical", ""}, // what the caller wrote is replaced
	} {
		req, err := http.NewRequestWithContext(tc.ctx, http.MethodGet, middle.URL+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.header != "" {
			req.Header.Set(field, tc.header)
		}
		got = nil
		resp, err := first.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if len(got) != 1 || got[0] != tc.want || req.Header.Get(field) != tc.header {
			t.Errorf("%+v: the last server saw %q, the caller's request has %q", tc, got, req.Header.Get(field))
		}
	}
	if _, err := tether.New(tether.Options{CriticalityHeader: "no name"}); err == nil {
		t.Error("a header that is no token is taken")
	}
}
