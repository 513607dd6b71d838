package remoteconfigtest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tether-go/tether/remoteconfig"
	"github.com/tether-go/tether/remoteconfig/remoteconfigtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inDir is a store in a directory; the directory goes away by another name.
func inDir(t *testing.T, source func(dir string) remoteconfig.Source) remoteconfigtest.Store {
	dir := filepath.Join(t.TempDir(), "secret")
	must(t, os.Mkdir(dir, 0o700))
	name := filepath.Join(dir, "document")
	return remoteconfigtest.Store{
		Source: func() remoteconfig.Source { return source(dir) },
		Put: func(document []byte) {
			must(t, os.WriteFile(name+".new", document, 0o600))
			must(t, os.Rename(name+".new", name))
		},
		Delete: func() { must(t, os.Remove(name)) },
		Stop:   func() { must(t, os.Rename(dir, dir+"-away")) },
		Start:  func() { must(t, os.Rename(dir+"-away", dir)) },
		Secret: "secret",
	}
}

func TestFile(t *testing.T) {
	t.Parallel() // it waits for polls, in real time
	remoteconfigtest.Run(t, func(t *testing.T) remoteconfigtest.Store {
		return inDir(t, func(dir string) remoteconfig.Source {
			return remoteconfig.File(filepath.Join(dir, "document"))
		})
	})
}

func TestFS(t *testing.T) {
	t.Parallel() // it waits for polls, in real time
	remoteconfigtest.Run(t, func(t *testing.T) remoteconfigtest.Store {
		return inDir(t, func(dir string) remoteconfig.Source {
			return remoteconfig.FS(os.DirFS(dir), "document")
		})
	})
}

// web is a web server with one document, whose clients can be told of a change.
type web struct {
	mu       sync.Mutex // guards what follows
	document []byte
	there    bool
	change   chan struct{} // closed at the next change
	down     chan struct{} // closed when the server stops
}

func (s *web) set(document []byte, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.document, s.there = document, there
	close(s.change)
	s.change = make(chan struct{})
}

func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	document, there := s.document, s.there
	s.mu.Unlock()
	if !there {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf("\"%x\"", sha256.Sum256(document)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(document))
}

// told is an HTTP source whose server tells of changes by another way.
type told struct {
	remoteconfig.HTTP
	server *web
}

func (s told) Watch(ctx context.Context, changed func()) error {
	for {
		s.server.mu.Lock()
		change, down := s.server.change, s.server.down
		s.server.mu.Unlock()
		changed()
		select {
		case <-change:
		case <-down:
			return http.ErrServerClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestHTTP(t *testing.T) {
	remoteconfigtest.Run(t, func(t *testing.T) remoteconfigtest.Store {
		site, address := &web{change: make(chan struct{})}, "127.0.0.1:0"
		var server *http.Server
		var serving sync.WaitGroup
		start := func() {
			listener, err := net.Listen("tcp", address)
			must(t, err)
			address = listener.Addr().String()
			server = &http.Server{Handler: site}
			site.mu.Lock()
			site.down = make(chan struct{})
			site.mu.Unlock()
			current := server
			serving.Go(func() { _ = current.Serve(listener) })
		}
		stop := func() {
			_ = server.Close()
			serving.Wait() // or its address might still be taken
			site.mu.Lock()
			defer site.mu.Unlock()
			close(site.down)
		}
		start()
		t.Cleanup(func() { _ = server.Close(); serving.Wait() })
		return remoteconfigtest.Store{
			Source: func() remoteconfig.Source {
				return told{remoteconfig.HTTP{URL: "http://" + address + "/secret"}, site}
			},
			Put:    func(document []byte) { site.set(document, true) },
			Delete: func() { site.set(nil, false) },
			Stop:   stop, Start: start,
			Secret: "secret",
		}
	})
}
