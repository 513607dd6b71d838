package tether_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
)

var update = flag.Bool("update", false, "write the table of docs/repeats.md instead of comparing it")

// kinds are the columns: requests that are alike in whether they may be repeated.
var kinds = []struct {
	name    string
	methods []string
	change  func(*http.Request)
	opts    tether.Options
}{
	{"GET, HEAD, OPTIONS, TRACE", []string{"GET", "HEAD", "OPTIONS", "TRACE"}, nil, tether.Options{}},
	{"PUT, DELETE", []string{"PUT", "DELETE"}, nil, tether.Options{}},
	{"POST, PATCH", []string{"POST", "PATCH"}, nil, tether.Options{}},
	{"POST, PATCH with Idempotency-Key", []string{"POST", "PATCH"}, func(r *http.Request) {
		r.Header.Set("Idempotency-Key", `"8e03978e"`)
	}, tether.Options{}},
	{"POST, PATCH declared Idempotent", []string{"POST", "PATCH"}, func(r *http.Request) {
		*r = *r.WithContext(tether.WithCall(r.Context(), tether.CallOptions{Idempotent: true}))
	}, tether.Options{}},
	{"PUT of a stream", []string{"PUT"}, streamed, tether.Options{}},
	{"PUT of a stream, BufferBodies set", []string{"PUT"}, streamed, tether.Options{BufferBodies: 64 << 10}},
	{"POST of a stream, BufferBodies set", []string{"POST"}, streamed, tether.Options{BufferBodies: 64 << 10}},
}

func streamed(r *http.Request) {
	r.Body, r.GetBody, r.ContentLength = io.NopCloser(strings.NewReader("a stream")), nil, -1
}

// scene is a server that fails the first request in one way and serves every other.
type scene struct {
	t        *testing.T
	network  *memnet.Network
	base     *http.Transport
	url      string
	identity *httptest.Server // of which only the certificate is used
	warm     func()           // not nil: a request is served before, and warm called after it
	requests atomic.Int32     // that reached the server, refused ones too
	worked   atomic.Int32     // that it worked on
}

// failures are the rows.
var failures = []struct {
	name string
	set  func(*scene)
}{
	{"connection refused", dialFails(errRefused)},
	{"no such host (DNS)", dialFails(&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}})},
	{"DNS does not answer", dialFails(&net.OpError{Op: "dial", Err: &net.DNSError{IsTemporary: true}})},
	{"certificate not trusted", func(s *scene) { s.overTLS(x509.NewCertPool(), false) }},
	{"connection lost in the TLS handshake", func(s *scene) { s.overTLS(nil, true) }},
	{"write fails, new connection", func(s *scene) {
		s.handle(nil)
		s.dial(func(conn net.Conn) net.Conn { return &cutting{Conn: conn, read: 1 << 20} })
	}},
	{"write fails, kept connection", func(s *scene) {
		s.handle(nil)
		kept := &cutting{read: 1 << 20, write: 1 << 20}
		s.dial(func(conn net.Conn) net.Conn { kept.Conn = conn; return kept })
		s.warm = func() { kept.mu.Lock(); kept.write = 0; kept.mu.Unlock() }
	}},
	{"no answer, new connection", func(s *scene) { s.handle(abort("")) }},
	{"no answer, kept connection", func(s *scene) { s.handle(abort("")); s.warm = func() {} }},
	{"closed after the headers", func(s *scene) {
		s.handle(abort("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"))
	}},
	{"closed within the body", func(s *scene) {
		s.handle(abort("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"))
	}},
	{"408", status(408)}, {"425", status(425)}, {"429", status(429)}, {"500", status(500)},
	{"502", status(502)}, {"503", status(503)}, {"504", status(504)},
	{"HTTP/2 GOAWAY below the request", func(s *scene) {
		// It stays open: a body's write that meets a closed connection is told before the GOAWAY is.
		s.frames(func(uint32) ([]byte, bool) { return h2Last(0), false }, false)
	}},
	{"HTTP/2 GOAWAY, then closed", func(s *scene) {
		s.frames(func(stream uint32) ([]byte, bool) { return h2Last(stream), true }, true)
	}},
	{"HTTP/2 REFUSED_STREAM", func(s *scene) {
		s.frames(func(stream uint32) ([]byte, bool) { return h2Refuse(stream), false }, false)
	}},
}

// handle serves HTTP/1.1, the first request (after a warm one) with fail.
func (s *scene) handle(fail http.HandlerFunc) {
	s.url = s.network.Serve(s.t, "api.example", s.counted(fail))
	s.base = s.network.Transport()
}

func (s *scene) counted(fail http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/warm" {
			return
		}
		s.worked.Add(1)
		if s.requests.Add(1) == 1 && fail != nil {
			fail(w, r)
		}
	})
}

// dial lets the first connection be what change makes of it.
func (s *scene) dial(change func(net.Conn) net.Conn) {
	var n atomic.Int32
	s.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := s.network.DialContext(ctx, network, addr)
		if err == nil && n.Add(1) == 1 {
			conn = change(conn)
		}
		return conn, err
	}
}

func dialFails(with error) func(*scene) {
	return func(s *scene) {
		s.handle(nil)
		var n atomic.Int32
		s.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if n.Add(1) == 1 {
				return nil, with
			}
			return s.network.DialContext(ctx, network, addr)
		}
	}
}

func status(code int) func(*scene) {
	return func(s *scene) {
		s.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
}

// abort writes the beginning of an answer and closes the connection.
func abort(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		if _, body, _ := strings.Cut(answer, "\r\n\r\n"); r.Method == http.MethodHead {
			io.WriteString(conn, strings.TrimSuffix(answer, body))
		} else {
			io.WriteString(conn, answer)
		}
		conn.Close()
	}
}

// overTLS serves HTTPS; lost ends the first connection within its handshake.
func (s *scene) overTLS(roots *x509.CertPool, lost bool) {
	if roots == nil {
		roots = x509.NewCertPool()
		roots.AddCert(s.identity.Certificate())
	}
	l := s.network.Listen("api.example:443")
	server := &http.Server{Handler: s.counted(nil), ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(tls.NewListener(l, s.identity.TLS))
	}()
	s.t.Cleanup(func() { server.Close(); <-done })
	s.url, s.base = "https://api.example", s.network.Transport()
	s.base.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: "example.com",
		Time: func() time.Time { return s.identity.Certificate().NotBefore.AddDate(1, 0, 0) }}
	if lost {
		s.dial(func(conn net.Conn) net.Conn { return &cutting{Conn: conn, write: 1 << 20} })
	}
}

// frames answers the first request as told, over HTTP/2; worked tells whether the server acts on it.
func (s *scene) frames(first func(stream uint32) ([]byte, bool), worked bool) {
	serveFrames(s.t, s.network, "api.example", func(stream uint32) ([]byte, bool) {
		if s.requests.Add(1) == 1 {
			if worked {
				s.worked.Add(1)
			}
			return first(stream)
		}
		s.worked.Add(1)
		return h2Answer(stream), false
	})
	s.url, s.base = "http://api.example", s.network.TransportH2C()
}

// play makes one call in a scene and says what came of it: who repeated, and how many requests the
// server worked on.
func play(t *testing.T, identity *httptest.Server, set func(*scene), method string,
	change func(*http.Request), opts tether.Options) (cell string) {
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, network: memnet.New(), identity: identity}
		set(s)
		defer s.base.CloseIdleConnections()
		c := client(t, s.base, opts)
		before := uint64(0)
		if s.warm != nil {
			if status, _, err := get(c, s.url+"/warm"); status != 200 || err != nil {
				t.Fatal(status, err)
			}
			s.warm()
			before = 1
		}
		var body io.Reader
		if method[0] == 'P' {
			body = strings.NewReader("an order")
		}
		req, err := http.NewRequest(method, s.url, body)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(req)
		}
		var sends atomic.Int32 // net/http's own too
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { sends.Add(1) }}))
		if resp, err := c.Do(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		who := "no"
		switch attempts := c.Engine().Health().Targets[0].Attempts - before; {
		case attempts > 1:
			who = "yes"
		case sends.Load() > 1:
			who = "net/http"
		}
		time.Sleep(time.Hour) // for what might arrive late
		cell = fmt.Sprintf("%s, %d", who, s.worked.Load())
	})
	return cell
}

const (
	repeatsDoc   = "docs/repeats.md"
	tableBegins  = "<!-- measured by TestW13Repeats; go test -run W13Repeats -update . -->\n"
	tableEndsDoc = "<!-- end of what is measured -->\n"
)

// TestW13Repeats measures every cell of the table in docs/repeats.md.
func TestW13Repeats(t *testing.T) {
	identity := httptest.NewTLSServer(nil)
	identity.Close()
	var table strings.Builder
	table.WriteString("| What fails |")
	for _, kind := range kinds {
		table.WriteString(" " + kind.name + " |")
	}
	table.WriteString("\n|---|" + strings.Repeat("---|", len(kinds)) + "\n")
	for _, failure := range failures {
		table.WriteString("| " + failure.name + " |")
		for _, kind := range kinds {
			var cell string
			for i, method := range kind.methods {
				got := play(t, identity, failure.set, method, kind.change, kind.opts)
				if i > 0 && got != cell {
					t.Errorf("%s: %s is %q, %s is %q", failure.name, kind.methods[0], cell, method, got)
				}
				cell = got
			}
			table.WriteString(" " + cell + " |")
		}
		table.WriteString("\n")
	}
	doc, err := os.ReadFile(repeatsDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), tableBegins)
	written, after, ends := strings.Cut(rest, tableEndsDoc)
	if !ok || !ends {
		t.Fatal("the table has no place in " + repeatsDoc)
	}
	if written == "\n"+table.String()+"\n" {
		return
	}
	if !*update {
		t.Fatalf("%s says\n%s\nmeasured is\n%s", repeatsDoc, written, table.String())
	}
	text := before + tableBegins + "\n" + table.String() + "\n" + tableEndsDoc + after
	if err := os.WriteFile(repeatsDoc, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestW14RefusedStreams: net/http sends a refused stream again by itself, up to seven times within an
// attempt, and no budget of ours sees it. docs/repeats.md says so, and that a timeout bounds it.
func TestW14RefusedStreams(t *testing.T) {
	for timeout, most := range map[time.Duration]int32{0: 2 * 8, 3 * time.Second: 2 * 4} {
		synctest.Test(t, func(t *testing.T) {
			s := &scene{t: t, network: memnet.New()}
			serveFrames(t, s.network, "api.example", func(stream uint32) ([]byte, bool) {
				s.requests.Add(1)
				return h2Refuse(stream), false
			})
			base := s.network.TransportH2C()
			defer base.CloseIdleConnections()
			cfg := policy.Document{}
			cfg.Defaults.Call.AttemptTimeout = &timeout
			c := clientOf(t, base, cfg, 1)
			_, _, err := get(c, "http://api.example")
			if n := s.requests.Load(); attemptsOf(err) != 2 || n > most || n < 4 {
				t.Errorf("timeout %v: %d requests in %d attempts, at most %d: %v",
					timeout, n, attemptsOf(err), most, err)
			}
		})
	}
}
