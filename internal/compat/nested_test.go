package compat_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"golang.org/x/oauth2"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// TestWrappedTwice: an application wraps the client that a library of its own has wrapped already, with
// somebody else's transport between the two. One of them repeats.
func TestWrappedTwice(t *testing.T) {
	for name, between := range map[string]func(http.RoundTripper) http.RoundTripper{
		"otelhttp": func(base http.RoundTripper) http.RoundTripper { return otelhttp.NewTransport(base) },
		"oauth2": func(base http.RoundTripper) http.RoundTripper {
			return &oauth2.Transport{Source: fixedToken, Base: base}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				transport, url, _ := refusable(t, b)
				inner := engine(t, tether.Options{InitialRetries: policy.Ptr(2)})
				outer := engine(t, tether.Options{InitialRetries: policy.Ptr(2)})
				client := outer.Client(&http.Client{Transport: between(inner.Transport(transport))})
				b.failsForever(status(503))
				fails(t, sends(client.Do, http.MethodGet, url))
				b.arrived(t, 3)
				apply(t, inner, kill)
				b.fails()
				if err := sends(client.Do, http.MethodGet, url)(t.Context(), ""); !isKilled(err) {
					t.Errorf("%v hides the inner one's refusal", err)
				}
				b.arrived(t, 0)
			})
		})
	}
}

// TestLoopback is the one test over real sockets, TLS and HTTP/2 as a server and a client agree on it:
// a repeat comes over the same connection, and the idle ones are closed through the wrapper.
func TestLoopback(t *testing.T) {
	b := &backend{healthy: answersJSON}
	connections := map[string]bool{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		connections[r.RemoteAddr] = r.ProtoMajor == 2
		b.mu.Unlock()
		b.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := engine(t, tether.Options{}).Client(server.Client())
	client.Timeout = 10 * time.Second
	b.fails(status(503))
	for range 10 {
		works(t, sends(client.Do, http.MethodPut, server.URL))
	}
	b.arrived(t, 11)
	if len(connections) != 1 {
		t.Errorf("%d connections: %v", len(connections), connections)
	}
	client.CloseIdleConnections()
	works(t, sends(client.Do, http.MethodPut, server.URL))
	if len(connections) != 2 {
		t.Errorf("%d connections after the first was closed", len(connections))
	}
	for address, http2 := range connections {
		if !http2 {
			t.Errorf("%s isn't HTTP/2", address)
		}
	}
}
