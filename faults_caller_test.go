package tether_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// X: laws 13 and 4: a server that hangs, and callers with less than a second of patience.
func TestFaultHangShortTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			if n > 100 {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			time.Sleep(5 * time.Millisecond)
			return answer(req, 200), nil
		}}
		c := client(t, b, tether.Options{})
		c.Timeout = 200 * time.Millisecond
		for range 100 {
			get(c, "http://api.example")
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			get(c, "http://api.example")
		}
		if n := b.attempts() - 100; n > 90 {
			t.Errorf("%d attempts in a minute at a server that hangs; breaker %v", n, c.Engine().Health().Targets[0].Breaker)
		}
	})
}

// BB: retry.Do keeps the whole last error.
func TestFaultFinalInside(t *testing.T) {
	err := retry.Do(t.Context(), retry.Policy{}, func(context.Context) error {
		return fmt.Errorf("reading the order: %w", retry.Final(io.EOF))
	})
	if err == nil || err.Error() != "reading the order: EOF" {
		t.Errorf("error is %q", err)
	}
}

// CC: waiting of one call is at most maxWait.
func TestFaultBrakeBeyondMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: dead}
		c, _ := tether.NewClient(&http.Client{Transport: b}, tether.Options{Policy: policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{
			MaxWait: policy.Ptr(50 * time.Millisecond)}}}, Seed: 1})
		for range 6 {
			get(c, "http://api.example")
		}
		for range 5 {
			began := time.Now()
			get(c, "http://api.example")
			if took := time.Since(began); took > 50*time.Millisecond {
				t.Errorf("waited %v, maxWait is 50 ms", took)
			}
		}
	})
}
