package tether_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/retry"
)

// overHTTP runs a test against a real server, over HTTP/1.1 and HTTP/2, in virtual time.
func overHTTP(t *testing.T, handler http.Handler, test func(t *testing.T, c *tether.Client, url string)) {
	for _, protocol := range []struct {
		name  string
		serve func(testing.TB, http.Handler) (*http.Transport, string)
	}{{"http1", memnet.Serve}, {"h2c", memnet.ServeH2C}} {
		t.Run(protocol.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport, url := protocol.serve(t, handler)
				test(t, client(t, transport, tether.Options{}), url)
			})
		})
	}
}

// TestFirst is a newcomer's first test: 503, then 200.
func TestFirst(t *testing.T) {
	var n atomic.Int32
	overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%2 == 1 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "hello")
	}), func(t *testing.T, c *tether.Client, url string) {
		status, body, err := get(c, url)
		if status != 200 || body != "hello" || err != nil {
			t.Errorf("got %d %q, %v", status, body, err)
		}
	})
}

// TestW12LastAnswerComesBack: a call that had a response gets it, body unread (law 12).
func TestW12LastAnswerComesBack(t *testing.T) {
	for _, size := range []int{0, 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var n atomic.Int32
			overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Attempt", fmt.Sprint(n.Add(1)))
				w.WriteHeader(http.StatusServiceUnavailable)
				io.WriteString(w, strings.Repeat("x", size))
			}), func(t *testing.T, c *tether.Client, url string) {
				before := n.Load()
				for _, want := range []int32{before + 2, before + 3} { // the second call has no budget
					resp, err := c.Get(url)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if resp.StatusCode != 503 || len(body) != size || err != nil {
						t.Errorf("got %d with %d bytes, %v, want the last 503 with %d", resp.StatusCode, len(body), err, size)
					}
					if got := resp.Header.Get("Attempt"); got != fmt.Sprint(want) {
						t.Errorf("the answer is that of attempt %s, want %d", got, want)
					}
				}
			})
		})
	}
}

// TestW12AnswerOutlivesARefusedRepeat: the repeat was decided on and then refused; the answer is intact.
func TestW12AnswerOutlivesARefusedRepeat(t *testing.T) {
	for _, size := range []int{10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusInternalServerError)
				io.WriteString(w, strings.Repeat("x", size))
			}), func(t *testing.T, c *tether.Client, url string) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				wait := make(chan struct{})
				go func() {
					defer close(wait)
					synctest.Wait() // the call sleeps before its repeat
					if _, err := c.Engine().Apply(killAll); err != nil {
						t.Error(err)
					}
				}()
				resp, err := c.Do(req)
				<-wait
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if len(body) != size || err != nil {
					t.Errorf("%d bytes, %v, want %d", len(body), err, size)
				}
				if saved := c.Engine().Health().Targets[0].RetriesSaved; saved != 1 {
					t.Errorf("%v re-attempts are saved, want the one that was not sent", saved)
				}
			})
		})
	}
}

// TestW12AnswerThenNoAnswer: the repeat failed without a response; the call still had one.
func TestW12AnswerThenNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			if n == 1 {
				return answer(req, 502), nil
			}
			return nil, errRefused
		}}
		status, body, err := get(client(t, b, tether.Options{}), "http://api.example")
		if status != 502 || body != "body of Bad Gateway" || err != nil || b.attempts() != 2 {
			t.Errorf("got %d %q, %v after %d attempts", status, body, err, b.attempts())
		}
	})
}

// dribble is a body that sends a byte a second and tells whether it was closed.
type dribble struct {
	closed chan struct{}
	once   sync.Once
}

func (d *dribble) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = 'x'
		return 1, nil
	case <-d.closed:
		return 0, http.ErrBodyReadAfterClose
	}
}

func (d *dribble) Close() error { d.once.Do(func() { close(d.closed) }); return nil }

// TestW10DribblingAnswer: W10.
func TestW10DribblingAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &dribble{closed: make(chan struct{})}
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			resp := answer(req, 500)
			if n == 1 {
				resp.Body = slow
				return resp, nil
			}
			return answer(req, 200), nil
		}}
		began := time.Now()
		status, _, err := get(client(t, b, tether.Options{}), "http://api.example")
		if status != 200 || err != nil {
			t.Fatalf("got %d, %v", status, err)
		}
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("the repeat came after %v", took)
		}
		<-slow.closed
	})
}

// TestW08BodiesAreReplayed: attempt 1 sends the body untouched, later ones what GetBody gives; without
// GetBody there is one attempt (W08).
func TestW08BodiesAreReplayed(t *testing.T) {
	for _, test := range []struct {
		name     string
		body     func() io.Reader
		attempts int
	}{
		{"bytes", func() io.Reader { return bytes.NewReader([]byte("payload")) }, 2},
		{"string", func() io.Reader { return strings.NewReader("payload") }, 2},
		{"stream", func() io.Reader { return io.MultiReader(strings.NewReader("payload")) }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			var got []string
			overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				data, _ := io.ReadAll(r.Body)
				mu.Lock()
				got = append(got, fmt.Sprintf("%s %d", data, r.ContentLength))
				mu.Unlock()
				w.WriteHeader(http.StatusBadGateway)
			}), func(t *testing.T, c *tether.Client, url string) {
				got = nil
				req, _ := http.NewRequest(http.MethodPut, url, test.body())
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				length := 7
				if test.name == "stream" {
					length = -1
				}
				if len(got) != test.attempts {
					t.Fatalf("%d attempts, want %d", len(got), test.attempts)
				}
				for i, g := range got {
					if want := fmt.Sprintf("payload %d", length); g != want {
						t.Errorf("attempt %d brought %q, want %q", i+1, g, want)
					}
				}
			})
		})
	}
}

func TestW08GetBodyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(*http.Request, int) (*http.Response, error) { return nil, io.EOF }}
		req, _ := http.NewRequest(http.MethodPut, "http://api.example", strings.NewReader("x"))
		req.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrNoProgress }
		_, err := client(t, b, tether.Options{}).Do(req)
		if !errors.Is(err, io.ErrNoProgress) || b.attempts() != 1 {
			t.Errorf("error is %v after %d attempts", err, b.attempts())
		}
	})
}

// TestW09RequestIsNotChanged: the caller's request is the same before and after, attempts or not (W09).
func TestW09RequestIsNotChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: func(req *http.Request, n int) (*http.Response, error) {
			return answer(req, 500+2*(n%2)), nil
		}}
		req, _ := http.NewRequest(http.MethodPut, "http://api.example/a?b=c", strings.NewReader("x"))
		req.Header.Set("Authorization", "Bearer secret")
		body := req.Body
		before := req.Clone(req.Context())
		resp, err := client(t, b, tether.Options{}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if b.attempts() != 2 || req.Body != body {
			t.Errorf("%d attempts, same body: %v", b.attempts(), req.Body == body)
		}
		before.Body, before.GetBody, req.GetBody = req.Body, nil, nil
		if !reflect.DeepEqual(before, req.Clone(req.Context())) {
			t.Errorf("the request was changed:\n%+v\n%+v", before, req)
		}
	})
}

// TestMethods: only what is safe to repeat is repeated (law 6).
func TestLaw6Methods(t *testing.T) {
	key := func(r *http.Request) { r.Header.Set("Idempotency-Key", "8e03978e") }
	for _, test := range []struct {
		method string
		change func(*http.Request)
		fail   error
		want   int
	}{
		{"GET", nil, io.EOF, 2}, {"HEAD", nil, io.EOF, 2}, {"OPTIONS", nil, io.EOF, 2}, {"TRACE", nil, io.EOF, 2},
		{"PUT", nil, io.EOF, 2}, {"DELETE", nil, io.EOF, 2},
		{"POST", nil, io.EOF, 1}, {"PATCH", nil, io.EOF, 1}, {"PROPFIND", nil, io.EOF, 1},
		{"POST", key, io.EOF, 2}, {"PATCH", key, io.EOF, 2},
		{"POST", nil, errRefused, 2}, {"PATCH", nil, errRefused, 2},
		{"POST", func(r *http.Request) {
			*r = *r.WithContext(tether.WithCall(r.Context(), tether.CallOptions{Idempotent: true}))
		}, io.EOF, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: func(*http.Request, int) (*http.Response, error) { return nil, test.fail }}
			req, _ := http.NewRequest(test.method, "http://api.example", strings.NewReader("x"))
			if test.change != nil {
				test.change(req)
			}
			_, err := client(t, b, tether.Options{}).Do(req)
			if b.attempts() != test.want || !errors.Is(err, test.fail) {
				t.Errorf("%s failing with %v: %d attempts, want %d; error %v", test.method, test.fail, b.attempts(), test.want, err)
			}
			if test.want == 1 && !errors.Is(err, retry.ErrUnsafe) {
				t.Errorf("%s: error %v does not say why there was no repeat", test.method, err)
			}
		})
	}
}

// TestW15ContextLivesAsLongAsTheBody: an attempt timeout must not cut a body short (W15).
func TestW15ContextLivesAsLongAsTheBody(t *testing.T) {
	const size = 1 << 20
	overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 8 {
			io.WriteString(w, strings.Repeat("x", size/8))
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Second)
		}
	}), func(t *testing.T, c *tether.Client, url string) {
		if _, err := c.Engine().Apply([]byte(`{"schema":1,"document":"d","version":1,
			"defaults":{"call":{"attemptTimeout":"1s","timeout":"5s"}}}`)); err != nil {
			t.Fatal(err)
		}
		resp, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if n != size || err != nil {
			t.Errorf("read %d of %d bytes: %v", n, size, err)
		}
	})
}

var killAll = []byte(`{"schema":1,"document":"d","version":1,
	"kill":[{"name":"all","match":{},"until":"2100-01-01T00:00:00Z","reason":"closed for the night"}]}`)
