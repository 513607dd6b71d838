package tether_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// Each attempt's context tells which it is, also later, also through an inner client, whose calls are the
// outer one's attempts.
func TestAttemptFrom(t *testing.T) {
	if n := tether.AttemptFrom(t.Context()); n != 0 {
		t.Errorf("%d outside of a call", n)
	}
	for _, nested := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var contexts []context.Context
			b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
				contexts = append(contexts, req.Context())
				return answer(req, 500), nil
			}}
			var base http.RoundTripper = b
			if nested {
				base = client(t, b, tether.Options{}).Transport
			}
			c := client(t, base, tether.Options{InitialRetries: policy.Ptr(2)})
			get(c, "http://api.example")
			numbers := make([]int, 0, 3)
			for _, ctx := range contexts {
				numbers = append(numbers, tether.AttemptFrom(ctx))
			}
			if want := []int{1, 2, 3}; !slices.Equal(numbers, want) {
				t.Errorf("nested %v: attempts %v, want %v", nested, numbers, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var numbers []int
		e := engine(t, tether.Options{})
		what := tether.Call{Scheme: "sql", Host: "orders-db", CallOptions: tether.CallOptions{Idempotent: true}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		e.Do(ctx, what, func(ctx context.Context, _ *tether.Permit) tether.Outcome {
			numbers = append(numbers, tether.AttemptFrom(ctx))
			return tether.Outcome{Class: tether.Transient, Err: errors.New("no answer")}
		})
		if !slices.Equal(numbers, []int{1, 2}) {
			t.Errorf("a function's attempts are %v", numbers)
		}
	})
}
