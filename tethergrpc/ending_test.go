package tethergrpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// endable is a context whose end is another one than its parent's.
type endable struct {
	context.Context
	end error
}

func (c *endable) Err() error {
	if c.Context.Err() != nil {
		return c.end
	}
	return nil
}

// TestCallerEndsTheBackoff: law 12. The status is the caller's end, and the server's last word is in the error.
func TestCallerEndsTheBackoff(t *testing.T) {
	for end, code := range map[error]codes.Code{
		context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b := &backend{check: func(context.Context, int) error {
				time.AfterFunc(time.Nanosecond, cancel)
				return status.Error(codes.Unavailable, "not now")
			}}
			c := b.client(t, newEngine(t, policy.Document{}, twoSaved), idempotent)
			err := check(&endable{ctx, end}, c)
			var failed *retry.Error
			if status.Code(err) != code || !errors.Is(err, end) || !errors.As(err, &failed) {
				t.Fatalf("the error is %v, want the status %v", err, code)
			}
			if status.Code(failed.Err) != codes.Unavailable {
				t.Errorf("the last failure is %v", failed.Err)
			}
			if n := len(b.visits()); n != 1 {
				t.Errorf("%d visits", n)
			}
		})
	}
}
