package memnet_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/memnet"
)

// protocols runs f once over each protocol, in a bubble.
func protocols(t *testing.T, f func(t *testing.T, serve serveFunc)) {
	for name, serve := range map[string]serveFunc{
		"HTTP/1.1": memnet.Serve,
		"HTTP/2.0": memnet.ServeH2C,
	} {
		t.Run(name, func(t *testing.T) { bubble(t, func(t *testing.T) { f(t, serve) }) })
	}
}

type serveFunc func(testing.TB, http.Handler) (*http.Transport, string)

// roundTrip returns a response and its whole body.
func roundTrip(t *testing.T, rt http.RoundTripper, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestVirtualTime(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(15 * time.Second)
			fmt.Fprint(w, r.Proto)
		}))
		start := time.Now()
		_, body := roundTrip(t, transport, request(t, "GET", url, nil))
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("took %v, want 15s", took)
		}
		if !strings.HasSuffix(t.Name(), body) {
			t.Errorf("spoke %s", body)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.RemoteAddr)
		}))
		var reused []bool
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			reused = append(reused, info.Reused)
		}}
		var addrs []string
		for range 3 {
			req := request(t, "GET", url, nil)
			req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
			_, addr := roundTrip(t, transport, req)
			addrs = append(addrs, addr)
			time.Sleep(time.Hour)
		}
		if fmt.Sprint(reused) != "[false true true]" || addrs[0] != addrs[2] {
			t.Errorf("got reused %v, from %v", reused, addrs)
		}
	})
}

func TestLargeBodies(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			w.Write(body)
		}))
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		_, got := roundTrip(t, transport, request(t, "POST", url, bytes.NewReader(sent)))
		if got != string(sent) {
			t.Errorf("sent %d bytes, got %d", len(sent), len(got))
		}
	})
}

func TestConnectionRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		transport := memnet.New().Transport()
		_, err := (&http.Client{Transport: transport}).Get("http://nobody.test/")
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("got %v, want a dial error with ECONNREFUSED", err)
		}
	})
}

func TestTwoHosts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := memnet.New()
		target := n.Serve(t, "b.test:8080", http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
		url := n.Serve(t, "a.test", http.RedirectHandler(target+"/x", http.StatusFound))
		resp, err := (&http.Client{Transport: n.Transport()}).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); string(body) != "b.test:8080" {
			t.Errorf("got %q from %v", body, resp.Request.URL)
		}
	})
}

// TestHungServer: a request fits on the way to a server that reads nothing, so that the wait for
// its answer begins.
func TestHungServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := memnet.New()
		defer n.Listen("a.test").Close()
		transport := n.Transport()
		transport.ResponseHeaderTimeout = 5 * time.Second
		start := time.Now()
		body := bytes.NewReader(make([]byte, 30_000))
		_, err := transport.RoundTrip(request(t, "POST", "http://a.test/", body))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v, want a timeout after 5s", err, time.Since(start))
		}
	})
}

// TestForgottenBody: a small response leaves the server whether or not the client reads it.
func TestForgottenBody(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		ended := make(chan struct{})
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			if n, err := w.Write(make([]byte, 30_000)); err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
		}))
		resp, err := transport.RoundTrip(request(t, "GET", url, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		<-ended
	})
}

func TestServerClosesMidResponse(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}))
		resp, err := transport.RoundTrip(request(t, "GET", url, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); string(body) != "half" || err == nil {
			t.Errorf("got %q, %v, want half and an error", body, err)
		}
	})
}

func TestHijack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		transport, url := memnet.Serve(t, http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
				conn.Close()
			}))
		resp, err := transport.RoundTrip(request(t, "GET", url, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); string(body) != "half" || err != io.ErrUnexpectedEOF {
			t.Errorf("got %q, %v, want half and an unexpected EOF", body, err)
		}
	})
}

func TestUpgrade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		transport, url := memnet.Serve(t, http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Connection", "Upgrade")
				w.Header().Set("Upgrade", "echo")
				w.WriteHeader(http.StatusSwitchingProtocols)
				conn, buffered, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				line, _ := buffered.ReadString('\n')
				time.Sleep(time.Minute)
				io.WriteString(conn, "echo "+line)
			}))
		req := request(t, "GET", url, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		stream, ok := resp.Body.(io.ReadWriteCloser)
		if !ok || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got %s, body %T", resp.Status, resp.Body)
		}
		fmt.Fprintln(stream, "hello")
		if line, err := bufio.NewReader(stream).ReadString('\n'); line != "echo hello\n" {
			t.Errorf("got %q, %v", line, err)
		}
	})
}

func TestTrailers(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Trailer", "Answer")
			io.WriteString(w, "body")
			w.Header().Set("Answer", "to "+r.Trailer.Get("Question"))
		}))
		req := request(t, "POST", url, io.NopCloser(strings.NewReader("body")))
		req.Trailer = http.Header{"Question": {"why"}}
		resp, _ := roundTrip(t, transport, req)
		if got := resp.Trailer.Get("Answer"); got != "to why" {
			t.Errorf("got trailer %q", got)
		}
	})
}

// sentBody notes when it is first read.
type sentBody struct {
	io.Reader
	start time.Time
	after time.Duration
	read  bool
}

func (b *sentBody) Read(p []byte) (int, error) {
	if !b.read {
		b.read, b.after = true, time.Since(b.start)
	}
	return b.Reader.Read(p)
}

func TestExpectContinue(t *testing.T) {
	protocols(t, func(t *testing.T, serve serveFunc) {
		transport, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Second)
			if r.URL.Path == "/no" {
				w.Header().Set("Connection", "close")
				w.WriteHeader(http.StatusExpectationFailed)
				return
			}
			body, _ := io.ReadAll(r.Body)
			w.Write(body)
		}))
		transport.ExpectContinueTimeout = time.Hour

		sent := &sentBody{Reader: strings.NewReader("body"), start: time.Now()}
		req := request(t, "POST", url+"/yes", sent)
		req.Header.Set("Expect", "100-continue")
		if _, got := roundTrip(t, transport, req); got != "body" || sent.after != 3*time.Second {
			t.Errorf("got %q, sent after %v, want after 3s", got, sent.after)
		}

		sent = &sentBody{Reader: strings.NewReader("body"), start: time.Now()}
		req = request(t, "POST", url+"/no", sent)
		req.Header.Set("Expect", "100-continue")
		resp, _ := roundTrip(t, transport, req)
		synctest.Wait()
		if resp.StatusCode != http.StatusExpectationFailed || sent.read {
			t.Errorf("got %s, body sent: %v, want 417 and none", resp.Status, sent.read)
		}
	})
}
