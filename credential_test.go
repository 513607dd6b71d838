package tether_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// TestSignedRequestsAreHeldTogether: a 429 holds the caller's further requests although each has another signature,
// and another caller's go on. // law 2
func TestSignedRequestsAreHeldTogether(t *testing.T) {
	sign := func(id, signature string) string {
		return "AWS4-HMAC-SHA256 Credential=" + id + "/20261201/eu/s3/aws4_request, Signature=" + signature
	}
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			if n == 1 {
				return answer(req, 429, "Retry-After", "30"), nil
			}
			return answer(req, 200), nil
		}}
		c := client(t, b, tether.Options{})
		ask := func(authorization string) error {
			ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", authorization)
			resp, err := c.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		_ = ask(sign("one", "a")) // the 429
		if err := ask(sign("one", "b")); !errors.Is(err, pacing.ErrHeld) {
			t.Errorf("the caller that was told to wait got %v", err)
		}
		if err := ask(sign("two", "c")); err != nil {
			t.Errorf("another caller got %v", err)
		}
	})
}
