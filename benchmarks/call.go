package main

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/tether-go/tether"
)

// instant is the cheapest server there is: what remains is what a wrapper costs. Each answer is a response
// of its own, since a wrapper may put its body around the response's.
type instant struct{}

func (instant) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, err := io.Copy(io.Discard, req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// httpContender is a client with its retries, and its breaker if it has one, switched on.
type httpContender struct {
	name   string
	client *http.Client
}

// httpContenders wrap a transport. Three attempts and what else is alike are set so; the rest is as
// each has it by default.
func httpContenders(transport http.RoundTripper) ([]httpContender, error) {
	ours, err := tether.NewClient(&http.Client{Transport: transport}, tether.Options{})
	if err != nil {
		return nil, err
	}
	retryable := retryablehttp.NewClient()
	retryable.HTTPClient = &http.Client{Transport: transport}
	retryable.Logger = nil
	retryable.RetryMax = 2
	retryable.RetryWaitMin, retryable.RetryWaitMax = 250*time.Millisecond, 5*time.Second

	retries := failsafehttp.NewRetryPolicyBuilder().
		WithBackoff(250*time.Millisecond, 5*time.Second).WithJitterFactor(0.5).Build()
	brk := circuitbreaker.NewBuilder[*http.Response]().
		HandleIf(func(resp *http.Response, err error) bool {
			return err != nil || resp != nil && resp.StatusCode >= 500
		}).
		WithFailureRateThreshold(0.5, 20, 30*time.Second).WithDelay(time.Second).WithSuccessThreshold(1).Build()

	return []httpContender{
		{"tether", ours.Client},
		{"plain http.Client", &http.Client{Transport: transport}},
		{"go-retryablehttp", retryable.StandardClient()},
		{"failsafe-go", &http.Client{Transport: failsafehttp.NewRoundTripper(transport, retries, brk)}},
	}, nil
}

const target = "http://api.example.com/v1/items"

// get makes a request and reads its response to the end, as every caller does.
func get(c *http.Client) error {
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	return do(c, req)
}

// put sends a body that can be had again, so that everybody may repeat it.
func put(c *http.Client, body []byte) error {
	req, err := http.NewRequest(http.MethodPut, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	return do(c, req)
}

func do(c *http.Client, req *http.Request) error {
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return err
}

func callTable() (table, error) {
	contenders, err := httpContenders(instant{})
	if err != nil {
		return table{}, err
	}
	body := bytes.Repeat([]byte("x"), 1024)
	gets, puts := row{name: "GET"}, row{name: "PUT of 1 KiB"}
	for _, c := range contenders {
		gets.entries = append(gets.entries, entry{who: c.name, once: func() { must(get(c.client)) }})
		puts.entries = append(puts.entries, entry{who: c.name, once: func() { must(put(c.client, body)) }})
	}
	return table{"A successful call over HTTP", []row{gets, puts}}, nil
}

// must ends a comparison in which somebody fails: its figure would mean nothing.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
