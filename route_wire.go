package tether

import (
	"context"
	"net/http"

	"github.com/tether-go/tether/policy"
)

// reroute makes a request, which is the attempt's own, one for another server.
func reroute(o *policy.Origin, req *http.Request) {
	u := *req.URL
	u.Scheme, u.Host = o.Scheme, o.Host
	req.URL, req.Host = &u, ""
	if o.SameTrust {
		return
	}
	u.User = nil
	req.Header = req.Header.Clone()
	for name := range req.Header { // which net/http sends as it is written
		switch http.CanonicalHeaderKey(name) {
		case "Cookie", "Authorization", "Proxy-Authorization":
			delete(req.Header, name)
		}
	}
}

type redirectKey struct{}

// received takes from a response what must not become the word of the server that was asked for. A redirect is
// marked: net/http shows what it knows of a server to those below its domain, whoever sends it there.
func received(o *policy.Origin, resp *http.Response) {
	if o.SameTrust {
		return
	}
	resp.Header.Del("Set-Cookie") // http.Client's jar would take it for that of what was asked for
	mark(o, resp)
}

func mark(o *policy.Origin, resp *http.Response) {
	if resp.StatusCode/100 == 3 {
		resp.Request = resp.Request.WithContext(context.WithValue(resp.Request.Context(), redirectKey{}, o))
	}
}

// redirector returns the server, if it isn't trusted, whose redirect to itself the request follows; else nil.
func redirector(req *http.Request) *policy.Origin {
	if req.Response == nil || req.Response.Request == nil {
		return nil
	}
	from, _ := req.Response.Request.Context().Value(redirectKey{}).(*policy.Origin)
	scheme, host := policy.OriginOf(req.URL.Scheme, req.URL.Host)
	if from == nil || !from.Is(policy.Origin{Scheme: scheme, Host: host}) {
		return nil
	}
	return from
}

// seen is the request as the server sees it that the call goes to.
func (c *call) seen() *http.Request {
	if !c.routed() {
		return c.http.request
	}
	req := c.http.request.WithContext(c.http.request.Context())
	reroute(c.routing.to, req)
	return req
}

// withheld tells that the server asks who calls, where that was kept from it.
func (c *call) withheld(out *Outcome) bool {
	return out.Status == http.StatusUnauthorized && c.routed() && len(c.seen().Header) < len(c.http.request.Header)
}
