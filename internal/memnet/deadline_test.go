package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/memnet"
)

func TestServerDeadline(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		got := make(chan error, 1)
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(2 * time.Second))
			_, err := r.Body.Read(make([]byte, 1))
			got <- err
		}))
		body, never := io.Pipe()
		defer never.Close()
		start := time.Now()
		if resp, err := transport.RoundTrip(request(t, "POST", url, body)); err == nil {
			resp.Body.Close()
		}
		var timeout net.Error
		if err := <-got; !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("got %v, want a timeout", err)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
	})
}

func TestClientDeadline(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		gone := make(chan time.Time, 1)
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			gone <- time.Now()
		}))
		start := time.Now()
		client := &http.Client{Transport: transport, Timeout: 3 * time.Second}
		if _, err := client.Get(url); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want deadline exceeded", err)
		}
		if heard := (<-gone).Sub(start); heard != 3*time.Second {
			t.Errorf("the server heard after %v, want 3s", heard)
		}
	})
}

// TestEndOfTest: calls that a test leaves behind end with it, on both sides, and its end waits for
// the handlers. A goroutine that stays would fail the bubble.
func TestEndOfTest(t *testing.T) {
	ended := 0
	// leave calls without a context that could end the call in place of the server.
	leave := func(transport *http.Transport, url string) {
		go func() {
			if resp, err := (&http.Client{Transport: transport}).Get(url); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
		synctest.Wait()
	}
	t.Run("left", func(t *testing.T) {
		protocols(t, func(t *testing.T, serve serveFunc) {
			leave(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended++ }()
				http.NewResponseController(w).Flush()
				<-r.Context().Done()
				time.Sleep(time.Minute) // slow to leave, too
			})))
		})
	})
	t.Run("hijacked", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			leave(memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended++ }()
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
				io.Copy(io.Discard, conn)
			})))
		})
	})
	if ended != 3 {
		t.Errorf("%d handlers ended with their test, want 3", ended)
	}
}
