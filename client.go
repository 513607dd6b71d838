package tether

import (
	"net/http"
)

// Client is an [http.Client] whose calls cannot overwhelm the servers that they go to. Its embedded
// client goes wherever a plain *http.Client is wanted. It is safe for concurrent use, and nothing of
// it needs to be closed.
type Client struct {
	*http.Client
	engine *Engine
}

// NewClient wraps base, which is copied and never changed; nil stands for the settings of
// [http.DefaultClient]. The zero Options turn every protection on.
//
// The wrapping happens at the transport: base's Jar, CheckRedirect and Timeout work as before, Timeout
// bounds all attempts together, and each hop of a redirect is a call of its own to its own host.
func NewClient(base *http.Client, opts Options) (*Client, error) {
	engine, err := New(opts)
	if err != nil {
		return nil, err
	}
	return engine.Client(base), nil
}

// Engine returns the client's engine, which may serve other clients too.
func (c *Client) Engine() *Engine { return c.engine }

// Client wraps base as [NewClient] does. All clients of an engine share what it learns.
func (e *Engine) Client(base *http.Client) *Client {
	if base == nil {
		base = http.DefaultClient
	}
	wrapped := *base
	wrapped.Transport = e.Transport(base.Transport)
	return &Client{Client: &wrapped, engine: e}
}

// Transport wraps base for whatever takes an [http.RoundTripper]; nil stands for
// [http.DefaultTransport]. Place it outside of transports that sign or trace, so that each attempt is
// signed and traced by itself. Place it inside of those that repeat, or that fetch a token when they
// need one: within an attempt, a token's failure would pass for the server's, and be repeated.
func (e *Engine) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{engine: e, base: base}
}
