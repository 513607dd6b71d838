package memnet

import (
	"net"
	"net/http"
	"sync"
	"testing"
)

// serverHost is where Serve and ServeH2C listen. RFC 2606 section 2 keeps .test for this.
const serverHost = "server.test"

// Serve serves handler on a network of its own until the test ends, and returns an HTTP/1.1
// transport and the URL that reaches it. Within a bubble, t must be the bubble's.
//
// At the end of the test every connection is closed, which cancels the contexts of requests still
// being served, and Serve's cleanup waits for their handlers and for net/http's end of each connection. It does not hide a leak: a response
// that the client has neither read to its end, nor closed, nor cancelled keeps a goroutine of the
// transport, and the bubble fails for it.
func Serve(t testing.TB, handler http.Handler) (*http.Transport, string) {
	n := New()
	return n.Transport(), n.Serve(t, serverHost, handler)
}

// ServeH2C is Serve with a transport that speaks HTTP/2 in clear text.
func ServeH2C(t testing.TB, handler http.Handler) (*http.Transport, string) {
	n := New()
	return n.TransportH2C(), n.Serve(t, serverHost, handler)
}

// Serve serves handler on a host of the network, HTTP/1.1 and clear-text HTTP/2, until the test
// ends as with the function of that name, and returns its URL.
func (n *Network) Serve(t testing.TB, host string, handler http.Handler) string {
	l := n.Listen(host)
	running := &gate{handler: handler}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: running, Protocols: protocols, ConnState: running.connState}
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(l); err != http.ErrServerClosed {
			t.Errorf("memnet: serving %s: %v", host, err)
		}
	})
	t.Cleanup(func() {
		server.Close()
		served.Wait()
		running.close()
	})
	return "http://" + host
}

// gate counts the requests being served, which http.Server.Close leaves behind, and keeps the
// connections that handlers took over, which it no longer knows.
type gate struct {
	handler http.Handler

	mu       sync.Mutex // guards what follows
	closed   bool
	hijacked []net.Conn
	serving  sync.WaitGroup // added to under mu, and not once closed

	// open counts the connections of server.Serve, from before it returns. A connection may outlive its handler:
	// net/http lingers for 500 ms after an answer to a body that it has not read.
	open sync.WaitGroup
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	g.serving.Add(1)
	g.mu.Unlock()
	defer g.serving.Done()
	g.handler.ServeHTTP(w, r)
}

func (g *gate) connState(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		g.open.Add(1)
		return
	case http.StateClosed:
		g.open.Done()
		return
	case http.StateHijacked:
		g.open.Done()
	default:
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		conn.Close()
		return
	}
	g.hijacked = append(g.hijacked, conn)
}

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	for _, conn := range g.hijacked {
		conn.Close() // a second Close does no harm
	}
	g.mu.Unlock()
	g.serving.Wait()
	g.open.Wait()
}
