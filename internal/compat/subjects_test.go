package compat_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/go-resty/resty/v2"
	gogithub "github.com/google/go-github/v75/github"
	"github.com/hashicorp/go-retryablehttp"
)

// answersJSON serves a document that every one of the clients below takes.
var answersJSON = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
	}
	io.WriteString(w, `{"id":1,"number":1}`)
})

// finish reads an answer to its end and makes an error of a bad one.
func finish(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// sends returns a call over any way of sending requests.
func sends(do func(*http.Request) (*http.Response, error), method, url string) call {
	return func(ctx context.Context, text string) error {
		var body io.Reader
		if method != http.MethodGet {
			body = bytes.NewReader([]byte(text))
		}
		req, err := http.NewRequestWithContext(ctx, method, url, body)
		if err != nil {
			return err
		}
		return finish(do(req))
	}
}

var plain = subject{
	name:    "net/http",
	healthy: answersJSON,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		return sends(wrapped.Do, http.MethodGet, url), sends(wrapped.Do, http.MethodPost, url)
	},
}

// Two ways of saying that a write may be sent twice.
var plainPut = subject{
	name:       "net/http with PUT",
	healthy:    answersJSON,
	repeatable: true,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		return sends(wrapped.Do, http.MethodGet, url), sends(wrapped.Do, http.MethodPut, url)
	},
}

var plainKey = subject{
	name:       "net/http with a key",
	healthy:    answersJSON,
	repeatable: true,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		keyed := func(req *http.Request) (*http.Response, error) {
			req.Header.Set("Idempotency-Key", `"4711"`)
			return wrapped.Do(req)
		}
		return sends(wrapped.Do, http.MethodGet, url), sends(keyed, http.MethodPost, url)
	},
}

var github = subject{
	name:    "go-github",
	healthy: answersJSON,
	open: func(t *testing.T, wrapped *http.Client, address string) (read, write call) {
		client := gogithub.NewClient(wrapped)
		base, err := url.Parse(address + "/")
		if err != nil {
			t.Fatal(err)
		}
		client.BaseURL = base
		return func(ctx context.Context, _ string) error {
				_, _, err := client.Repositories.Get(ctx, "owner", "name")
				return err
			}, func(ctx context.Context, text string) error {
				issue := &gogithub.IssueRequest{Title: &text}
				_, _, err := client.Issues.Create(ctx, "owner", "name", issue)
				return err
			}
	},
}

// restyCalls sends with resty, which doesn't make an error of a bad status by itself.
func restyCalls(client *resty.Client, url string) (read, write call) {
	end := func(resp *resty.Response, err error) error {
		if err == nil && resp.IsError() {
			err = fmt.Errorf("status %d", resp.StatusCode())
		}
		return err
	}
	return func(ctx context.Context, _ string) error {
			return end(client.R().SetContext(ctx).Get(url))
		}, func(ctx context.Context, text string) error {
			return end(client.R().SetContext(ctx).SetBody([]byte(text)).Post(url))
		}
}

var resty2 = subject{
	name:    "resty",
	healthy: answersJSON,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		return restyCalls(resty.NewWithClient(wrapped), url)
	},
}

var restyLoop = subject{
	name:      "resty with its own retries",
	healthy:   answersJSON,
	loop:      4,
	loopsOver: true,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		client := resty.NewWithClient(wrapped).SetRetryCount(3).AddRetryCondition(
			func(resp *resty.Response, err error) bool { return err != nil || resp.StatusCode() >= 500 })
		client.SetLogger(silent{})
		return restyCalls(client, url)
	},
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// elasticCalls sends with the transport that Elastic's clients share. It takes a RoundTripper.
func elasticCalls(t *testing.T, wrapped *http.Client, address string,
	cfg elastictransport.Config) (read, write call) {
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	cfg.URLs, cfg.Transport = []*url.URL{base}, wrapped.Transport
	client, err := elastictransport.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return sends(client.Perform, http.MethodGet, "/index/_doc/1"),
		sends(client.Perform, http.MethodPost, "/index/_doc")
}

var elastic = subject{
	name:    "elastic",
	healthy: answersJSON,
	open: func(t *testing.T, wrapped *http.Client, url string) (read, write call) {
		return elasticCalls(t, wrapped, url, elastictransport.Config{DisableRetry: true})
	},
}

var elasticLoop = subject{
	name:      "elastic with its own retries",
	healthy:   answersJSON,
	loop:      4,
	loopsOver: true,
	open: func(t *testing.T, wrapped *http.Client, url string) (read, write call) {
		return elasticCalls(t, wrapped, url, elastictransport.Config{
			RetryBackoff: func(int) time.Duration { return time.Second }})
	},
}

var retryable = subject{
	name:      "go-retryablehttp",
	healthy:   answersJSON,
	loop:      4,
	loopsOver: true,
	open: func(_ *testing.T, wrapped *http.Client, url string) (read, write call) {
		client := retryablehttp.NewClient()
		client.HTTPClient, client.RetryMax, client.Logger = wrapped, 3, nil
		outside := client.StandardClient()
		return sends(outside.Do, http.MethodGet, url), sends(outside.Do, http.MethodPost, url)
	},
}
