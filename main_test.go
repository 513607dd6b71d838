package tether_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tether-go/tether"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roundTrip is a server without a network: time inside a bubble stands still while it works.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answer is a response with a small body and header fields given as name, value pairs.
func answer(req *http.Request, status int, fields ...string) *http.Response {
	header := make(http.Header)
	for i := 0; i+1 < len(fields); i += 2 {
		header.Add(fields[i], fields[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(strings.NewReader("body of " + http.StatusText(status))),
		ContentLength: -1, Request: req,
	}
}

// errRefused is what a dial to a dead server brings.
var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// backend is a scripted server that records when attempts reach it.
type backend struct {
	mu     sync.Mutex // guards what follows
	serve  func(req *http.Request, n int) (*http.Response, error)
	times  []time.Time
	bodies []string
}

func (b *backend) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		data, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req.Body.Close()
		body = string(data)
	}
	b.mu.Lock()
	b.times = append(b.times, time.Now())
	b.bodies = append(b.bodies, body)
	n, serve := len(b.times), b.serve
	b.mu.Unlock()
	return serve(req, n)
}

func (b *backend) attempts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.times)
}

// attemptsSince counts attempts at or after a moment.
func (b *backend) attemptsSince(t time.Time) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.times {
		if !at.Before(t) {
			n++
		}
	}
	return n
}

// becomes changes what the server does.
func (b *backend) becomes(serve func(*http.Request, int) (*http.Response, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve = serve
}

func always(status int, fields ...string) func(*http.Request, int) (*http.Response, error) {
	return func(req *http.Request, _ int) (*http.Response, error) { return answer(req, status, fields...), nil }
}

func dead(*http.Request, int) (*http.Response, error) { return nil, errRefused }

// client wraps a backend with every default, but for a seed that makes the test repeat itself.
func client(t testing.TB, base http.RoundTripper, opts tether.Options) *tether.Client {
	t.Helper()
	if opts.Seed == 0 {
		opts.Seed = 1
	}
	c, err := tether.NewClient(&http.Client{Transport: base}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get makes a call and returns the status, the body and the error.
func get(c *tether.Client, url string) (int, string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// rejected returns the refusal in an error, or fails the test.
func rejected(t testing.TB, err error) *tether.RejectedError {
	t.Helper()
	var r *tether.RejectedError
	if !errors.As(err, &r) {
		t.Fatalf("error is %v, want a refusal", err)
	}
	return r
}
