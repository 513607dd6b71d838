package tether_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// TestCallerEndsTheBackoff: law 12. A call that its caller ends after an attempt tells both: the failure and the end.
func TestCallerEndsTheBackoff(t *testing.T) {
	for _, attempts := range []int{1, 2} {
		for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if end == context.DeadlineExceeded {
					ctx = &endable{ctx, end}
				}
				b := &backend{}
				b.serve = func(req *http.Request, n int) (*http.Response, error) {
					if n == attempts {
						time.AfterFunc(time.Nanosecond, cancel)
					}
					return dead(req, n)
				}
				c := client(t, b, tether.Options{InitialRetries: policy.Ptr(2)})
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(req)
				if err == nil {
					resp.Body.Close()
				}
				var failed *retry.Error
				if !errors.As(err, &failed) || failed.Attempts != attempts || !errors.Is(failed.Reason, end) {
					t.Fatalf("%v: the error is %v", end, err)
				}
				if !errors.Is(err, end) || !errors.Is(err, errRefused) {
					t.Errorf("%v, %d attempts: the error %v isn't both", end, attempts, err)
				}
				var timeout interface{ Timeout() bool }
				if errors.As(err, &timeout) && timeout.Timeout() != (end == context.DeadlineExceeded) {
					t.Errorf("%v: Timeout is %v", end, timeout.Timeout())
				}
				if story, known := tether.Explain(nil, err); !known || !errors.Is(story.NotRepeated, end) {
					t.Errorf("the story is %v", story)
				}
			})
		}
	}
}

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
