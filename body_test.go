package tether_test

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/tether-go/tether"
)

// upgraded is a connection as net/http hands it over: it can be half closed.
type upgraded struct {
	io.ReadWriter
	halfClosed bool
}

func (u *upgraded) Close() error      { return nil }
func (u *upgraded) CloseWrite() error { u.halfClosed = true; return nil }

// TestUpgradedConnectionIsHalfClosed: a reverse proxy ends its own half and goes on reading. A clock on
// the attempt must not take that away.
func TestUpgradedConnectionIsHalfClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &upgraded{}
		whole := struct{ io.ReadWriteCloser }{conn} // one that can't be half closed
		bodies := []io.ReadWriteCloser{conn, whole}
		c := client(t, &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			resp := answer(req, http.StatusSwitchingProtocols)
			resp.Body = bodies[n-1]
			return resp, nil
		}}, tether.Options{})
		if _, err := c.Engine().Apply([]byte(`{"schema":1,"document":"d","version":1,
			"defaults":{"call":{"attemptTimeout":"2s"}}}`)); err != nil {
			t.Fatal(err)
		}
		for i, want := range []error{nil, http.ErrNotSupported} {
			resp, err := c.Get(api)
			if err != nil {
				t.Fatal(err)
			}
			half, ok := resp.Body.(interface{ CloseWrite() error })
			if !ok {
				t.Fatalf("the body %T can't be half closed", resp.Body)
			}
			if err := half.CloseWrite(); !errors.Is(err, want) {
				t.Errorf("body %d: %v, want %v", i, err, want)
			}
			resp.Body.Close()
		}
		if !conn.halfClosed {
			t.Error("the half close didn't reach the connection")
		}
	})
}
