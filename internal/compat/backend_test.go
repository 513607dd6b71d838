package compat_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
)

// failure is how a server answers badly.
type failure func(http.ResponseWriter)

func status(code int) failure {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

// notBefore asks to come back after five seconds.
func notBefore(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "5")
	w.WriteHeader(http.StatusServiceUnavailable)
}

// hangUp ends the connection in place of an answer.
func hangUp(http.ResponseWriter) { panic(http.ErrAbortHandler) }

// arrival is a request as the server saw it.
type arrival struct {
	method, path string
	body         [sha256.Size]byte
	header       http.Header
	at           time.Time
}

// backend is a server that fails as often as it is told, and writes down what arrives.
type backend struct {
	healthy http.Handler
	early   atomic.Int32 // how many of the next answers are a 503 that comes before the body is read

	mu      sync.Mutex // guards what follows
	script  []failure  // of the next answers
	forever failure    // of those after the script; nil: healthy
	seen    []arrival
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.early.Add(-1) >= 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	b.mu.Lock()
	b.seen = append(b.seen, arrival{r.Method, r.URL.Path, sha256.Sum256(body), r.Header, time.Now()})
	fail := b.forever
	if len(b.script) > 0 {
		fail, b.script = b.script[0], b.script[1:]
	}
	b.mu.Unlock()
	if fail != nil {
		fail(w)
		return
	}
	b.healthy.ServeHTTP(w, r)
}

// fails sets how the next requests are answered, and forgets those that came.
func (b *backend) fails(script ...failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script, b.forever, b.seen = script, nil, nil
}

func (b *backend) failsForever(fail failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script, b.forever, b.seen = nil, fail, nil
}

func (b *backend) arrivals() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]arrival(nil), b.seen...)
}

// arrived fails the test unless as many requests came, all with the same body.
func (b *backend) arrived(t *testing.T, want int) []arrival {
	t.Helper()
	seen := b.arrivals()
	if len(seen) != want {
		t.Fatalf("%d requests arrived, want %d", len(seen), want)
	}
	for _, a := range seen {
		if a.body != seen[0].body {
			t.Errorf("%s %s came with another body than the first time", a.method, a.path)
		}
	}
	return seen
}

// waited fails the test unless the second request came when the first one's answer allowed it.
func (b *backend) waited(t *testing.T) {
	t.Helper()
	seen := b.arrived(t, 2)
	if gap := seen[1].at.Sub(seen[0].at); gap < 5*time.Second || gap > 8*time.Second {
		t.Errorf("came back after %v, want 5s and some jitter", gap)
	}
}

// refusable returns a transport to b over an in-memory network, whose dials fail as often as the
// counter says.
func refusable(t *testing.T, b http.Handler) (*http.Transport, string, *atomic.Int32) {
	t.Helper()
	transport, url := memnet.Serve(t, b)
	refuse, dial := new(atomic.Int32), transport.DialContext
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if refuse.Add(-1) >= 0 {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return dial(ctx, network, addr)
	}
	return transport, url, refuse
}

// engine has every default, but for a seed that makes a test repeat itself.
func engine(t *testing.T, opts tether.Options) *tether.Engine {
	t.Helper()
	opts.Seed = 1
	e, err := tether.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func apply(t *testing.T, e *tether.Engine, document string) {
	t.Helper()
	if _, err := e.Apply([]byte(document)); err != nil {
		t.Fatal(err)
	}
}

// kill switches every call off. A bubble's clock starts with the year 2000.
const kill = `{"schema":1,"document":"d","version":7,
	"kill":[{"name":"all","match":{},"until":"2000-01-02T00:00:00Z"}]}`

// isKilled tells whether the refusal can be found in what a client made of it.
func isKilled(err error) bool {
	var refused *tether.RejectedError
	return errors.As(err, &refused) && refused.Stage == tether.StageKill && errors.Is(err, tether.ErrKilled)
}
