package compat_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/tether-go/tether"
)

// TestWebSocket: the handshake is a GET like any other, repeated and held; what follows is nobody's
// business, and no timeout of an attempt ends it.
func TestWebSocket(t *testing.T) {
	for name, document := range map[string]string{
		"no timeout":      `{"schema":1,"document":"d","version":1}`,
		"attempt timeout": `{"schema":1,"document":"d","version":1,"defaults":{"call":{"attemptTimeout":"2s"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{healthy: http.HandlerFunc(echoFrames)}
				transport, url, _ := refusable(t, b)
				e := engine(t, tether.Options{})
				apply(t, e, document)
				options := &websocket.DialOptions{HTTPClient: e.Client(&http.Client{Transport: transport}).Client}

				b.fails(notBefore)
				conn, _, err := websocket.Dial(t.Context(), url, options)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.CloseNow()
				b.waited(t)
				for _, want := range []string{"hello", "again"} {
					time.Sleep(time.Minute)
					if err := conn.Write(t.Context(), websocket.MessageText, []byte(want)); err != nil {
						t.Fatal(err)
					}
					if _, got, err := conn.Read(t.Context()); string(got) != want || err != nil {
						t.Fatalf("%q, %v", got, err)
					}
				}
				if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
					t.Error(err)
				}

				apply(t, e, kill)
				if _, _, err := websocket.Dial(t.Context(), url, options); !isKilled(err) {
					t.Errorf("%v hides the refusal", err)
				}
				b.arrived(t, 2)
			})
		})
	}
}

func echoFrames(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, message, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		if err := conn.Write(context.Background(), kind, message); err != nil {
			return
		}
	}
}
