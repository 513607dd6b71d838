package tether_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/policy"
)

// document is one of a version, with further members.
func document(version int, members string) []byte {
	return fmt.Appendf(nil, `{"schema":1,"document":"shop","version":%d%s}`, version, members)
}

const killMember = `,"kill":[{"name":"k","match":{},"until":"2100-01-01T00:00:00Z","reason":"closed"}]`

// TestApplyOrder: a malformed, expired or older document changes nothing, its kills excepted where they
// can be trusted to be meant (law 8).
func TestApplyOrder(t *testing.T) {
	retries := func(n int) string {
		return fmt.Sprintf(`,"defaults":{"call":{"retryPolicy":{"maxAttempts":%d}}}`, n)
	}
	for _, test := range []struct {
		name     string
		document []byte
		want     error
		version  uint64 // in force after it
		killed   bool
	}{
		{"newer", document(6, retries(1)), nil, 6, false},
		{"the same again", document(5, retries(2)), nil, 5, false},
		{"older", document(4, retries(1)+killMember), tether.ErrOlder, 5, false},
		{"same version, other content", document(5, retries(1)+killMember), tether.ErrSameVersion, 5, false},
		{"another document", []byte(`{"schema":1,"document":"other","version":9` + killMember + `}`), tether.ErrOtherDocument, 5, false},
		{"without a name", []byte(`{"schema":1,"version":9` + killMember + `}`), tether.ErrUnidentified, 5, false},
		{"without a version", []byte(`{"schema":1,"document":"shop"` + killMember + `}`), tether.ErrUnidentified, 5, false},
		{"expired", document(6, `,"expires":"1999-01-01T00:00:00Z"`+killMember), tether.ErrExpired, 5, true},
		{"refused, with a kill", document(6, retries(-1)+killMember), nil, 5, true},
		{"torn", document(6, retries(1))[:40], nil, 5, false},
		{"empty", nil, nil, 5, false},
		{"huge", []byte(strings.Repeat("[", 2<<20)), nil, 5, false},
		{"deep", document(6, `,"defaults":`+strings.Repeat(`{"call":`, 100)+"1"+strings.Repeat("}", 100)), nil, 5, false},
		{"kill", document(6, killMember), nil, 6, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{serve: always(200)}
				c := client(t, b, tether.Options{})
				e := c.Engine()
				if _, err := e.Apply(document(5, retries(2))); err != nil {
					t.Fatal(err)
				}
				_, err := e.Apply(test.document)
				if test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("error is %v, want %v", err, test.want)
				}
				if test.version == 6 && err != nil {
					t.Error(err)
				}
				if got := e.Health().Version; got != test.version {
					t.Errorf("version %d is in force, want %d", got, test.version)
				}
				if _, _, err := get(c, api); errors.Is(err, tether.ErrKilled) != test.killed {
					t.Errorf("a call got %v, killed: want %v", err, test.killed)
				}
				if _, err := e.Apply(document(7, "")); err != nil {
					t.Errorf("the next good version: %v", err)
				}
				if _, _, err := get(c, api); err != nil {
					t.Errorf("the next good version left %v", err)
				}
			})
		})
	}
}

// TestApplyKeepsWhatWasLearnt: a push never closes a breaker, shortens a hold or refills a budget (W26).
func TestApplyKeepsWhatWasLearnt(t *testing.T) {
	pushes := []string{
		"", `,"defaults":{"target":{"circuitBreaker":{"window":"60s","consecutiveFailures":3,"openTime":"2s"}}}`,
		`,"defaults":{"target":{"hold":{"max":"7200s"},"retryBudget":{"ratio":0.05}}}`,
		`,"rules":[{"name":"r","match":{"host":"orders-db"},"target":{"pacing":{"mode":"auto"}}}]`,
	}
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, tether.Options{InitialRetries: policy.Ptr(0)})
		open(t, e, query)
		for i, push := range pushes {
			if notes, err := e.Apply(document(i+1, push)); err != nil {
				t.Fatal(notes, err)
			}
			p, err := e.Begin(t.Context(), tether.Call{Host: "orders-db", CallOptions: tether.CallOptions{NoWait: true}})
			if !errors.Is(err, breaker.ErrOpen) {
				t.Fatalf("push %d: an open breaker let %v through, %v", i, p, err)
			}
			if saved := e.Health().Targets[0].RetriesSaved; saved != 0 {
				t.Errorf("push %d refilled the budget to %v", i, saved)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(503, "Retry-After", "600")}
		c := client(t, b, tether.Options{})
		get(c, api)
		until := c.Engine().Health().Targets[0].HeldUntil
		for i, push := range append(pushes, `,"defaults":{"target":{"hold":{"max":"1s"}}}`) {
			if _, err := c.Engine().Apply(document(i+1, push)); err != nil {
				t.Fatal(err)
			}
			get(c, api)
			if now := c.Engine().Health().Targets[0].HeldUntil; !now.Equal(until) || b.attempts() != 1 {
				t.Errorf("push %d: held until %v, was %v; %d attempts", i, now, until, b.attempts())
			}
		}
	})
}

// TestKillWakesWaiters: at once, with an error, wherever they sleep; running attempts are left alone.
func TestKillWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			if req.URL.Path == "/running" {
				<-finish
				return answer(req, 200), nil
			}
			return answer(req, 503, "Retry-After", "8"), nil
		}}
		c := client(t, b, tether.Options{})
		var killed, running atomic.Int64
		var all sync.WaitGroup
		all.Go(func() {
			if status, _, _ := get(c, "http://api.example/running"); status == 200 {
				running.Add(1)
			}
		})
		synctest.Wait()
		get(c, api) // held from now on
		began := time.Now()
		for range 50 {
			all.Go(func() {
				if _, _, err := get(c, api); errors.Is(err, tether.ErrKilled) {
					killed.Add(1)
				}
			})
		}
		time.Sleep(time.Second)
		if _, err := c.Engine().Apply(document(1, killMember)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // refusals side by side are slowed by 100 ms at most
		synctest.Wait()
		if killed.Load() != 50 {
			t.Errorf("%d of 50 waiters were woken", killed.Load())
		}
		close(finish)
		all.Wait()
		if running.Load() != 1 || time.Since(began) > 2*time.Second {
			t.Errorf("the running call ended well: %d, after %v", running.Load(), time.Since(began))
		}
	})
}

// TestKillEndsByItself: at its time, and at the compiled bound at the latest.
func TestKillEndsByItself(t *testing.T) {
	for until, want := range map[string]time.Duration{
		"2000-01-01T01:00:00Z": time.Hour, "2100-01-01T00:00:00Z": 24 * time.Hour,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := client(t, &backend{serve: always(200)}, tether.Options{})
			member := strings.Replace(killMember, "2100-01-01T00:00:00Z", until, 1)
			if _, err := c.Engine().Apply(document(1, member)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(want - time.Second)
			if _, _, err := get(c, api); !errors.Is(err, tether.ErrKilled) {
				t.Errorf("a second before its end: %v", err)
			}
			time.Sleep(time.Second)
			if status, _, err := get(c, api); status != 200 {
				t.Errorf("after its end: %v", err)
			}
		})
	}
}

// TestApplyUnderLoad: a hundred pushes among ten thousand calls; no call is harmed.
func TestApplyUnderLoad(t *testing.T) {
	c := client(t, roundTrip(func(req *http.Request) (*http.Response, error) { return answer(req, 200), nil }), tether.Options{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1250 {
				if status, _, err := get(c, api); status != 200 {
					t.Errorf("%d, %v", status, err)
					return
				}
			}
		})
	}
	for version := range 100 {
		push := document(version+1, fmt.Sprintf(`,"defaults":{"call":{"retryPolicy":{"maxAttempts":%d}},
			"target":{"circuitBreaker":{"consecutiveFailures":%d}}}`, 1+version%3, 2+version%4))
		if _, err := c.Engine().Apply(push); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	if got := c.Engine().Health().Version; got != 100 {
		t.Errorf("version %d is in force", got)
	}
}
