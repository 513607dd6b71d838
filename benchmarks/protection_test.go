package main

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// ailing fails with 502 as often as it is told, then it serves.
type ailing struct {
	instant
	left, seen int
}

func (a *ailing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.instant.RoundTrip(req)
	if a.seen++; a.left > 0 {
		a.left--
		resp.StatusCode = http.StatusBadGateway
	}
	return resp, err
}

// TestRetriesAreOn: what is compared must do what it is there for.
func TestRetriesAreOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &ailing{}
		clients, err := httpContenders(server)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			server.left, server.seen = 1, 0
			must(put(c.client, []byte("x")))
			want := 2
			if c.name == "plain http.Client" {
				want = 1
			}
			if server.seen != want {
				t.Errorf("%s makes %d attempts where the first fails, want %d", c.name, server.seen, want)
			}
		}
	})
}

// TestBreakersAreOn counts what a server that never recovers sees of 100 calls.
func TestBreakersAreOn(t *testing.T) {
	broken := errors.New("broken")
	ways, err := breakerWays()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ways {
		calls := 0
		for range 100 {
			_ = w.do(func() error { calls++; return broken })
		}
		if calls > 25 {
			t.Errorf("%s lets %d of 100 failing calls through: it never opens", w.who, calls)
		}
	}
}

// TestClientsBreakersAreOn: of 100 calls to a server that never recovers, none of which has time to wait.
func TestClientsBreakersAreOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &ailing{}
		clients, err := httpContenders(server)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			server.left, server.seen = 1000, 0
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
				must(err)
				_ = do(c.client, req) // fails, or is a 502
				cancel()
			}
			has := c.name == "tether" || c.name == "failsafe-go"
			if opened := server.seen <= 50; opened != has {
				t.Errorf("%s sends %d of 100 failing calls", c.name, server.seen)
			}
		}
	})
}

func TestRetryWaysRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ways, err := retryWays()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range ways {
			calls := 0
			err := w.do(func() error {
				if calls++; calls == 1 {
					return errors.New("once")
				}
				return nil
			})
			if err != nil || calls != 2 {
				t.Errorf("%s: %d calls, %v", w.who, calls, err)
			}
		}
	})
}
