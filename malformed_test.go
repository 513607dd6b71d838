package tether_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
)

// brokenDisk is a body whose source breaks.
type brokenDisk struct{ io.Reader }

func (f brokenDisk) Read(p []byte) (int, error) {
	if n, err := f.Reader.Read(p); err == nil {
		return n, nil
	}
	return 0, errors.New("the disk is gone")
}

func (brokenDisk) Close() error { return nil }

// TestOwnMistakesTeachNothing: requests that can't be sent as they are say nothing about the server: no breaker opens,
// nothing is paced, and the next call goes at once. // law 10
func TestOwnMistakesTeachNothing(t *testing.T) {
	stream := func(text string) io.ReadCloser { return io.NopCloser(io.MultiReader(strings.NewReader(text))) }
	for name, mistake := range map[string]func(*http.Request){
		"the body fails":        func(r *http.Request) { r.Body = brokenDisk{strings.NewReader("some")} },
		"the body is too short": func(r *http.Request) { r.Body, r.ContentLength = stream("some"), 10 },
		"the body is too long":  func(r *http.Request) { r.Body, r.ContentLength = stream("some more"), 3 },
		"a length without body": func(r *http.Request) { r.Body, r.ContentLength = nil, 3 },
		"a wrong length again":  func(r *http.Request) { r.ContentLength = 3 },
		"a file that is closed": func(r *http.Request) { r.Body, r.GetBody = closedFile(t), nil; r.ContentLength = 5 },
		"a field's name":        func(r *http.Request) { r.Header["bad name"] = []string{"x"} },
		"a field's value":       func(r *http.Request) { r.Header["X"] = []string{"a\nb"} },
		"a method":              func(r *http.Request) { r.Method = "BAD METHOD" },
		"a trailer":             func(r *http.Request) { r.Trailer = http.Header{"Content-Length": {"3"}}; r.ContentLength = -1 },
		"the port":              func(r *http.Request) { r.URL.Host = "127.0.0.1:99999" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
			}))
			defer server.Close()
			client, err := tether.NewClient(server.Client(), tether.Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			for range 8 {
				req, err := http.NewRequest(http.MethodPut, server.URL, strings.NewReader("a body"))
				if err != nil {
					t.Fatal(err)
				}
				if mistake(req); req.Body != nil && req.ContentLength != 3 {
					req.GetBody = nil
				}
				resp, err := client.Do(req)
				if err == nil {
					resp.Body.Close()
					if name == "the body is too long" { // the server may answer what fits before the rest is seen
						continue
					}
					t.Fatalf("it was sent: %s", resp.Status)
				}
				if errors.As(err, new(*tether.RejectedError)) {
					t.Fatalf("the next mistake was refused: %v", err)
				}
			}
			for _, h := range client.Engine().Health().Targets {
				if h.PacedPerSecond > 0 || h.Breaker != breaker.Closed || h.Retries > 0 {
					t.Errorf("%s: paced to %v, the breaker is %v, %d repeats", h.Target, h.PacedPerSecond, h.Breaker, h.Retries)
				}
			}
			resp, err := client.Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		})
	}
}

func closedFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "body")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return f
}

// TestServerThatDropsAStreamIsAFailure: a body that breaks because the server is gone is the server's failure.
func TestServerThatDropsAStreamIsAFailure(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body.Read(make([]byte, 1))
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	client, err := tether.NewClient(server.Client(), tether.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	seen := uint64(0)
	for range 3 {
		read, write := io.Pipe()
		go func() {
			defer write.Close()
			for range 1000 {
				if _, err := write.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}()
		req, err := http.NewRequest(http.MethodPut, server.URL, read)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
		}
		read.Close()
		seen++
	}
	h := client.Engine().Health().Targets[0]
	if h.PacedPerSecond == 0 && h.Breaker == breaker.Closed && h.Attempts == seen {
		t.Errorf("three dropped streams taught nothing: %+v", h)
	}
}
