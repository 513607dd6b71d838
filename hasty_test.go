package tether_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// within asks for the API once, with that much time.
func within(c *tether.Client, left time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// afterTime is a server whose answers take a time; 0: it has none.
func afterTime(took *time.Duration) func(*http.Request, int) (*http.Response, error) {
	return func(req *http.Request, _ int) (*http.Response, error) {
		var answered <-chan time.Time
		if *took > 0 {
			answered = time.After(*took)
		}
		select {
		case <-answered:
			return answer(req, 200), nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

// TestLoopOfShortDeadlines: a loop whose contexts have a millisecond each is no load generator, from its first second
// on, and stops being kept back when the server answers. // law 13
func TestLoopOfShortDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took time.Duration
		b := &backend{serve: afterTime(&took)}
		c := client(t, b, tether.Options{})
		loop := func(lasting time.Duration) (attempts int) {
			before := b.attempts()
			for began, calls := time.Now(), 0; time.Since(began) < lasting; calls++ {
				if calls > 20000 {
					t.Fatal("calls that take no time")
				}
				within(c, time.Millisecond)
			}
			return b.attempts() - before
		}
		if n := loop(time.Second); n > 25 {
			t.Errorf("%d attempts in the first second", n)
		}
		loop(10 * time.Second)
		if n := loop(10 * time.Second); n > 30 {
			t.Errorf("%d attempts in ten seconds later", n)
		}
	})
}

// TestShortDeadlinesKeepNobodyBack: beside callers who have no time for the answer, those who have it are served at
// once, at a server that is well. // law 10
func TestShortDeadlinesKeepNobodyBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := 20 * time.Millisecond
		c := client(t, &backend{serve: afterTime(&took)}, tether.Options{})
		if err := within(c, time.Second); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			for range 12 {
				within(c, time.Millisecond)
			}
			began := time.Now()
			if err := within(c, time.Second); err != nil {
				t.Fatalf("a call with time is refused: %v", err)
			}
			if waited := time.Since(began) - took; waited > 10*time.Millisecond {
				t.Fatalf("a call with time waits %v", waited)
			}
		}
	})
}
