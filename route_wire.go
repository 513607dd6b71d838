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
	if !o.SameTrust {
		withhold(req)
	}
}

// withhold takes from a request, which is a copy of the caller's, what only the server that was asked for may see.
func withhold(req *http.Request) {
	u := *req.URL
	u.User = nil
	req.URL, req.Host = &u, ""
	req.Header = req.Header.Clone()
	for name := range req.Header { // which net/http sends as it is written
		switch http.CanonicalHeaderKey(name) {
		case "Cookie", "Authorization", "Proxy-Authorization":
			delete(req.Header, name)
		}
	}
}

// detour is the way of a call that a server which isn't trusted sends elsewhere. net/http shows a subdomain what
// its domain may see, and another port the same, whoever sends it there.
type detour struct{ asked policy.Origin }

type detourKey struct{}

// detour returns the way on which the call is, or will be if its response is a redirect; nil: none. A wrapper
// further in may know of one that this one doesn't.
func (h *httpCall) detour(resp *http.Response) *detour {
	switch {
	case h.from != nil:
		return h.from
	case h.routed() && !h.routing.to.SameTrust:
		return &detour{h.routing.asked}
	}
	return detourIn(resp)
}

// detourIn returns the way that a redirect is marked with; nil: none.
func detourIn(resp *http.Response) *detour {
	if resp == nil || resp.StatusCode/100 != 3 || resp.Request == nil {
		return nil
	}
	d, _ := resp.Request.Context().Value(detourKey{}).(*detour)
	return d
}

// follow takes from a response what must not become the word of the server that was asked for, and marks a
// redirect.
func (d *detour) follow(resp *http.Response) {
	if d == nil {
		return
	}
	resp.Header.Del("Set-Cookie") // http.Client's jar would take it for that of what was asked for, or of its domain
	if resp.StatusCode/100 == 3 {
		resp.Request = resp.Request.WithContext(context.WithValue(resp.Request.Context(), detourKey{}, d))
	}
}

// detourOf returns the way on which a request is that follows a redirect; nil: none. It ends at the origin that
// was asked for, and nowhere else.
func detourOf(req *http.Request) *detour {
	d := detourIn(req.Response)
	if d == nil {
		return nil
	}
	if scheme, host := policy.OriginOf(req.URL.Scheme, req.URL.Host); d.asked.Is(policy.Origin{Scheme: scheme, Host: host}) {
		return nil
	}
	return d
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
