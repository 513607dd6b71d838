package tether_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/tether-go/tether"
)

// TestHoldIsNotEscapedByAnotherSpelling: a server's 503 covers it however a caller writes its name. // law 2
func TestHoldIsNotEscapedByAnotherSpelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			sent++
			header := http.Header{"Retry-After": {"60"}}
			return &http.Response{StatusCode: 503, Header: header, Body: http.NoBody, Request: req}, nil
		})
		client, err := tether.NewClient(&http.Client{Transport: base}, tether.Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Get("http://api.example.com/"); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"api.example.com.", "api.example.com:080", "API.Example.com.:", "api.example.com"} {
			_, err := client.Get("http://" + host + "/")
			if rejected := (*tether.RejectedError)(nil); !errors.As(err, &rejected) {
				t.Errorf("%s: %v, want a refusal", host, err)
			}
		}
		if sent != 1 {
			t.Errorf("%d requests left, want 1", sent)
		}
	})
}
