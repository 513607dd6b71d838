package compat_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
)

// proxied runs a test through a reverse proxy whose transport is wrapped. It gets a client of the
// proxy's, its URL, and the proxy's engine.
func proxied(t *testing.T, back http.Handler,
	test func(t *testing.T, client *http.Client, url string, e *tether.Engine)) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		e := engine(t, tether.Options{})
		proxy := reverseProxy(t, network.Serve(t, "back.test", back), e.Transport(network.Transport()))
		front := network.Serve(t, "front.test", proxy)
		test(t, &http.Client{Transport: network.Transport()}, front, e)
	})
}

// reverseProxy answers 503 for a refusal and 502 for any other error.
func reverseProxy(t *testing.T, back string, transport http.RoundTripper) *httputil.ReverseProxy {
	to, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			var refused *tether.RejectedError
			if errors.As(err, &refused) {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
}

// TestProxyRepeats what has no body. A body that streams through can't be sent again, and RFC 9110
// section 9.2.2 forbids a proxy to repeat what isn't idempotent.
func TestProxyRepeats(t *testing.T) {
	b := &backend{healthy: answersJSON}
	proxied(t, b, func(t *testing.T, client *http.Client, url string, e *tether.Engine) {
		for _, test := range []struct {
			method, body string
			status, sent int
		}{{"GET", "", 200, 2}, {"PUT", "x", 502, 1}, {"POST", "x", 502, 1}, {"POST", "", 502, 1}} {
			b.fails(hangUp)
			req, err := http.NewRequest(test.method, url, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.status {
				t.Errorf("%s: status %d, want %d", test.method, resp.StatusCode, test.status)
			}
			b.arrived(t, test.sent)
		}
		apply(t, e, kill)
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("status %d for a refusal", resp.StatusCode)
		}
	})
}

// TestProxyStreams: what the server flushes reaches the client before the answer has ended, trailers
// after it.
func TestProxyStreams(t *testing.T) {
	proxied(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Sum")
		io.WriteString(w, "first\n")
		http.NewResponseController(w).Flush()
		time.Sleep(time.Minute)
		io.WriteString(w, "second\n")
		w.Header().Set("Sum", "42")
	}), func(t *testing.T, client *http.Client, url string, _ *tether.Engine) {
		began := time.Now()
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		if line, err := lines.ReadString('\n'); line != "first\n" || err != nil || time.Since(began) != 0 {
			t.Errorf("%q, %v after %v", line, err, time.Since(began))
		}
		if rest, err := io.ReadAll(lines); string(rest) != "second\n" || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		if got := resp.Trailer.Get("Sum"); got != "42" {
			t.Errorf("trailer is %q", got)
		}
	})
}

// TestProxyCutShort: an answer that broke off is nobody's to repeat once its beginning was handed on.
func TestProxyCutShort(t *testing.T) {
	b := &backend{healthy: answersJSON}
	proxied(t, b, func(t *testing.T, client *http.Client, url string, _ *tether.Engine) {
		b.fails(func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "first")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); string(body) != "first" || err == nil {
			t.Errorf("%q, %v", body, err)
		}
		b.arrived(t, 1)
	})
}

// TestProxyClientLeaves: the server's request ends with the client's, and the server isn't blamed.
func TestProxyClientLeaves(t *testing.T) {
	left := make(chan time.Time, 100)
	proxied(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		left <- time.Now()
	}), func(t *testing.T, client *http.Client, url string, e *tether.Engine) {
		for range 20 { // a breaker opens after five failures in a row
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Do(req); err == nil {
				t.Error("no error")
			}
			cancel()
			if after := (<-left).Sub(began); after != time.Second {
				t.Errorf("the server's request ended after %v", after)
			}
		}
		if n := len(left); n != 0 {
			t.Errorf("%d further requests", n)
		}
		for _, target := range e.Health().Targets {
			if target.Attempts != 20 {
				t.Errorf("%d attempts, want 20", target.Attempts)
			}
		}
	})
}

// TestProxyUpgrade: a connection that switched protocols goes both ways until both sides have said
// their last, also where the attempt has a timeout of its own. Over TCP, which can be half closed.
func TestProxyUpgrade(t *testing.T) {
	for name, document := range map[string]string{
		"no timeout":      `{"schema":1,"document":"d","version":1}`,
		"attempt timeout": `{"schema":1,"document":"d","version":1,"defaults":{"call":{"attemptTimeout":"5s"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			back := httptest.NewServer(http.HandlerFunc(answersWhenAsked))
			defer back.Close()
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			e := engine(t, tether.Options{})
			apply(t, e, document)
			front := httptest.NewServer(reverseProxy(t, back.URL, e.Transport(base)))
			defer front.Close()

			conn, err := net.Dial("tcp", front.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: front\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(resp, err)
			}
			io.WriteString(conn, "four")
			conn.(*net.TCPConn).CloseWrite()
			if answer, err := io.ReadAll(conn); string(answer) != "four: that was all" || err != nil {
				t.Errorf("read %q, %v", answer, err)
			}
		})
	}
}

// answersWhenAsked switches protocols, and answers when the other side has said its last.
func answersWhenAsked(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n")
	said, err := io.ReadAll(rw)
	if err == nil {
		io.WriteString(conn, string(said)+": that was all")
	}
}
