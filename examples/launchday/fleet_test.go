package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRetryPlainly(t *testing.T) {
	failure := errors.New("reset")
	tests := []struct {
		name     string
		status   int // 0: failure
		deadline time.Duration
		want     []time.Duration // when the attempts left
	}{
		{"success", 200, time.Second, ms(0)},
		{"not found", 404, time.Second, ms(0)},
		{"too many requests", 429, time.Second, ms(0, 100, 300, 700)},
		{"busy", 503, time.Second, ms(0, 100, 300, 700)},
		{"error", 0, time.Second, ms(0, 100, 300, 700)},
		{"deadline", 503, 250 * time.Millisecond, ms(0, 100)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var left []time.Duration
				client := &http.Client{Transport: roundTripper(
					func(*http.Request) (*http.Response, error) {
						left = append(left, time.Since(start))
						if test.status == 0 {
							return nil, failure
						}
						body := io.NopCloser(strings.NewReader(""))
						return &http.Response{StatusCode: test.status, Body: body}, nil
					})}
				ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := retryPlainly(client, r)
				if !reflect.DeepEqual(left, test.want) {
					t.Errorf("attempts at %v, want %v", left, test.want)
				}
				timedOut := test.deadline < 700*time.Millisecond
				if timedOut != errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v, timed out %v", err, timedOut)
				}
				if (test.status == 0) != errors.Is(err, failure) {
					t.Errorf("error %v", err)
				}
				if err == nil && resp.StatusCode != test.status {
					t.Errorf("status %d, want %d", resp.StatusCode, test.status)
				}
			})
		})
	}
}

func ms(of ...int) []time.Duration {
	var all []time.Duration
	for _, n := range of {
		all = append(all, time.Duration(n)*time.Millisecond)
	}
	return all
}

// The kill reaches every client of the tether fleet and no other, and the release ends it.
func TestKillAndRelease(t *testing.T) {
	b := newBackend(4000, 3, 10)
	if err := b.listen(); err != nil {
		t.Fatal(err)
	}
	tether, err := newTetherFleet(b, 3, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	plain := newPlainFleet(b, 3, 10)
	defer tether.close()
	defer plain.close()
	callAll := func(f *fleet, second int) {
		for client := range f.clients {
			f.call(t.Context(), client, second, rootPath)
		}
	}
	expect := func(when string, f *fleet, second, answered, refused int) {
		t.Helper()
		a, r := f.answered[second].Load(), f.refused.Load()
		if a != int64(answered) || r != int64(refused) {
			t.Errorf("%s: %d answered, %d refused, want %d and %d", when, a, r, answered, refused)
		}
	}
	for _, f := range []*fleet{plain, tether} {
		callAll(f, 0)
		expect("before", f, 0, 3, 0)
		if err := f.kill(1, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		callAll(f, 1)
	}
	expect("killed, plain", plain, 1, 3, 0)
	expect("killed, tether", tether, 1, 0, 3)
	if err := tether.release(2); err != nil {
		t.Fatal(err)
	}
	callAll(tether, 2)
	if tether.answered[2].Load() == 0 {
		t.Error("released, and no call was answered")
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
}
