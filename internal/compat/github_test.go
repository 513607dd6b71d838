package compat_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	gogithub "github.com/google/go-github/v75/github"

	"github.com/tether-go/tether"
)

// TestGitHubLimits: a client that understands its server's answers still gets them, untouched, and its
// own errors with them. GitHub says 403 where its limits are reached.
func TestGitHubLimits(t *testing.T) {
	for _, test := range []struct {
		name  string
		limit failure
		is    func(error) bool
	}{
		{"primary", func(w http.ResponseWriter) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10))
			w.WriteHeader(http.StatusForbidden)
		}, is[*gogithub.RateLimitError]},
		{"secondary", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte(`{"documentation_url":"https://docs.github.com/#secondary-rate-limits"}`))
		}, is[*gogithub.AbuseRateLimitError]},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{healthy: answersJSON}
				transport, url, _ := refusable(t, b)
				wrapped := engine(t, tether.Options{}).Client(&http.Client{Transport: transport})
				read, _ := github.open(t, wrapped.Client, url)
				b.fails(test.limit)
				for range 2 { // the client itself holds the second back
					if err := read(t.Context(), ""); !test.is(err) {
						t.Errorf("%v isn't the client's own error", err)
					}
				}
				b.arrived(t, 1)
				time.Sleep(2 * time.Minute)
				works(t, read)
			})
		})
	}
}

func is[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
