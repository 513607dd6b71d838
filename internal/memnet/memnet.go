// Package memnet is an in-memory network for tests: a real http.Server and a real http.Transport
// talk over it inside a testing/synctest bubble, where hours of waiting take no time.
//
//	transport, url := memnet.Serve(t, handler)
//	resp, err := (&http.Client{Transport: transport}).Get(url + "/items")
//
// Sockets, and with them httptest.NewServer, stop a bubble's clock: a goroutine that waits for a
// socket may be woken from outside, so it never counts as durably blocked. Every wait here is on a
// sync.Cond, which does. Make a Network, and whatever uses it, inside the bubble that it serves.
//
// The network has no latency and loses nothing; a test that wants either sleeps in its handler. A
// connection behaves as TCP does otherwise: writes are buffered up to a bound, what was written
// before Close still arrives, and writing to a peer that closed fails.
package memnet

import (
	"context"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Network connects dialers with listeners by host and port. It is safe for concurrent use.
type Network struct {
	mu        sync.Mutex // guards what follows, and the listeners' fields
	listeners map[address]*listener
	dialled   int
}

// New returns a network on which nobody listens.
func New() *Network {
	return &Network{listeners: map[address]*listener{}}
}

// Listen listens on a host, "api.example.com", or a host and port, "api.example.com:8080"; without
// a port it is 80. It panics if somebody listens there already.
func (n *Network) Listen(host string) net.Listener {
	addr := canonical(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		panic("memnet: already listening on " + string(addr))
	}
	l := &listener{network: n, addr: addr}
	l.changed.L = &n.mu
	n.listeners[addr] = l
	return l
}

// DialContext connects to the listener on addr, without waiting for it to accept. Where nobody
// listens it fails with a *net.OpError round syscall.ECONNREFUSED. Any network will do.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	to := canonical(addr)
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: to, Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[to]
	if l == nil {
		refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
		return nil, &net.OpError{Op: "dial", Net: network, Addr: to, Err: refused}
	}
	n.dialled++
	from := canonical("client.test:" + strconv.Itoa(n.dialled))
	client, server := pipe(from, to)
	l.pending = append(l.pending, server)
	l.changed.Signal()
	return client, nil
}

// Transport returns a new transport that speaks HTTP/1.1 over the network, and only "http" URLs.
// Its goroutines end when its connections do, on either side, and its responses' bodies.
func (n *Network) Transport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{DialContext: n.DialContext, Protocols: protocols}
}

// TransportH2C is Transport with HTTP/2 in clear text in place of HTTP/1.1, from the first byte on.
func (n *Network) TransportH2C() *http.Transport {
	t := n.Transport()
	t.Protocols.SetHTTP1(false)
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

// address is a host and a port, in lower case.
type address string

func (a address) Network() string { return "mem" }
func (a address) String() string  { return string(a) }

func canonical(host string) address {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "80")
	}
	return address(strings.ToLower(host))
}

// listener is one host's queue of connections.
type listener struct {
	network *Network
	addr    address

	// The network's mutex guards what follows.
	changed sync.Cond
	pending []net.Conn // dialled and not yet accepted; a test is its only bound
	closed  bool
}

func (l *listener) Accept() (net.Conn, error) {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	for len(l.pending) == 0 && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "mem", Addr: l.addr, Err: net.ErrClosed}
	}
	conn := l.pending[0]
	l.pending[0] = nil
	l.pending = l.pending[1:]
	return conn, nil
}

// Close refuses further dials and closes the connections that nobody accepted.
func (l *listener) Close() error {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "mem", Addr: l.addr, Err: net.ErrClosed}
	}
	l.closed = true
	delete(l.network.listeners, l.addr)
	for _, conn := range l.pending {
		conn.Close()
	}
	l.pending = nil
	l.changed.Broadcast()
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }
