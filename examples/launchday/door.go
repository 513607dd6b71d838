package main

import (
	"errors"
	"net"
	"net/http"
	"time"
)

func (b *backend) track(conn net.Conn, state http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch state {
	case http.StateNew:
		b.conns[conn] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(b.conns, conn)
	}
}

// door goes on accepting in an outage, so that the backend itself can count who knocks: a closed
// port would refuse unseen. Accept and reset cost it next to nothing.
type door struct {
	net.Listener
	backend *backend
}

func (d door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil: // no file descriptors: the report tells, once
			d.backend.mu.Lock()
			d.backend.unaccepted++
			d.backend.mu.Unlock()
			time.Sleep(5 * time.Millisecond)
		case d.backend.turnsAway():
			reset(conn)
		default:
			return conn, nil
		}
	}
}

func (b *backend) turnsAway() bool {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mode != resetting {
		return false
	}
	b.second(now).attempts++
	return true
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // Close then sends RST instead of FIN
	}
	conn.Close()
}
