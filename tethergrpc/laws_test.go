package tethergrpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// Law 1: against a server that only fails, callers in a loop make no more re-attempts than were
// saved, and law 13: few attempts at all.
func TestLawNoAmplification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(context.Context, int) error { return unavailable }}
		c := b.client(t, newEngine(t, policy.Document{}, twoSaved), idempotent)
		ends := time.Now().Add(time.Minute)
		calls := 0
		for time.Now().Before(ends) {
			calls++
			check(within(t, 2*time.Second), c)
		}
		again := 0
		for _, v := range b.visits() {
			if len(v.md["grpc-previous-rpc-attempts"]) > 0 {
				again++
			}
		}
		if again > 2 || len(b.visits()) > 70 || len(b.visits()) < 5 {
			t.Errorf("%d calls in a minute: %d attempts, %d of them again", calls, len(b.visits()), again)
		}
	})
}

// Laws 2 and 7: while a target is held nothing is sent, whoever calls; who doesn't want to wait is
// refused at once.
func TestLawSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{check: func(_ context.Context, n int) error {
			if n == 1 {
				return withRetryInfo(codes.Unavailable, 20*time.Second)
			}
			return nil
		}}
		c := b.client(t, newEngine(t, policy.Document{}, tether.Options{}), idempotent)
		began := time.Now()
		done := make(chan error, 30)
		for range cap(done) {
			go func() { done <- check(within(t, time.Minute), c) }()
			synctest.Wait()
		}
		now := tether.WithCall(context.Background(), tether.CallOptions{NoWait: true})
		if err := check(now, c); status.Code(err) != codes.Unavailable || !errors.Is(err, pacing.ErrHeld) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		for _, v := range b.visits()[1:] {
			if silence := v.at.Sub(began); silence < 20*time.Second {
				t.Errorf("sent after %v", silence)
			}
		}
	})
}
