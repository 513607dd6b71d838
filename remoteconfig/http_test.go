package remoteconfig_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/remoteconfig"
)

// ask makes one fetch from a handler, in virtual time.
func ask(t *testing.T, tag string, handler http.HandlerFunc) (fetched remoteconfig.Fetched,
	took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		transport, url := memnet.Serve(t, handler)
		defer transport.CloseIdleConnections()
		source := remoteconfig.HTTP{URL: url + "/secret", Client: &http.Client{Transport: transport}}
		start := time.Now()
		fetched, err = source.Fetch(t.Context(), tag)
		took = time.Since(start)
	})
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the error has the URL: %v", err)
	}
	return fetched, took, err
}

func TestHTTPAnswers(t *testing.T) {
	tests := []struct {
		name  string
		tag   string
		reply http.HandlerFunc
		want  remoteconfig.Fetched
	}{
		{"whole", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"a"`)
			w.Header().Set("Cache-Control", "public, Max-Age=60")
			if r.Header.Get("If-None-Match") == "" {
				fmt.Fprint(w, "{}")
			}
		}, remoteconfig.Fetched{Document: []byte("{}"), Tag: `"a"`, MaxAge: time.Minute}},
		{"unchanged", `"a"`, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=99999999999999999999")
			if r.Header.Get("If-None-Match") == `"a"` {
				w.WriteHeader(http.StatusNotModified)
			}
		}, remoteconfig.Fetched{Unchanged: true, Tag: `"a"`, MaxAge: 1<<63 - 1}},
		{"not to be kept", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60, no-cache")
			fmt.Fprint(w, "{}")
		}, remoteconfig.Fetched{Document: []byte("{}")}},
		{"endless tag", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"`+strings.Repeat("a", 5000)+`"`)
			fmt.Fprint(w, "{}")
		}, remoteconfig.Fetched{Document: []byte("{}")}},
		{"moved on this host", "", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/new" {
				http.Redirect(w, r, "/new", http.StatusFound)
				return
			}
			fmt.Fprint(w, "{}")
		}, remoteconfig.Fetched{Document: []byte("{}")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, _, err := ask(t, test.tag, test.reply)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Document, test.want.Document) || got.Tag != test.want.Tag ||
				got.Unchanged != test.want.Unchanged || got.MaxAge != test.want.MaxAge {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestHTTPFailures(t *testing.T) {
	status := func(code int, name, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(name, value)
			w.WriteHeader(code)
		}
	}
	in := func(d time.Duration) http.HandlerFunc { // 10 min, by a clock that is a day off
		return func(w http.ResponseWriter, _ *http.Request) {
			now := time.Now().Add(24 * time.Hour)
			w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
			w.Header().Set("Retry-After", now.Add(d).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	tests := []struct {
		name  string
		reply http.HandlerFunc
		after time.Duration
		cause error
	}{
		{"503 and seconds", status(503, "Retry-After", "120"), 2 * time.Minute, nil},
		{"429 and too many seconds", status(429, "Retry-After", "99999999999999999999"), 1<<63 - 1, nil},
		{"503 and a date", in(10 * time.Minute), 10 * time.Minute, nil},
		{"503 and a date gone by", in(-time.Minute), 0, nil},
		{"503 and nonsense", status(503, "Retry-After", "-5"), 0, nil},
		{"401", status(401, "X", ""), 0, nil},
		{"304 unasked", status(304, "X", ""), 0, nil},
		{"redirect elsewhere", status(302, "Location", "http://elsewhere.example"), 0,
			remoteconfig.ErrRedirect},
		{"redirect to another port", status(302, "Location", "http://served.example:8080/"), 0,
			remoteconfig.ErrRedirect},
		{"redirect to itself", status(302, "Location", "/"), 0, nil},
		{"said to be too large", status(200, "Content-Length", "1048577"), 0, remoteconfig.ErrTooLarge},
		{"reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, nil},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, 0, remoteconfig.ErrTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := ask(t, "", test.reply)
			if err == nil || test.cause != nil && !errors.Is(err, test.cause) {
				t.Fatalf("error %v, want %v", err, test.cause)
			}
			var fault *remoteconfig.FetchError
			if errors.As(err, &fault) && (fault.RetryAfter != test.after || fault.Local) {
				t.Errorf("%+v, want RetryAfter %v", fault, test.after)
			} else if !errors.As(err, &fault) && test.after > 0 {
				t.Errorf("%T has no RetryAfter", err)
			}
		})
	}
}

func TestHTTPHangs(t *testing.T) {
	for name, reply := range map[string]http.HandlerFunc{
		"before the head": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"in the body": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		_, took, err := ask(t, "", reply)
		if !errors.Is(err, context.DeadlineExceeded) || took != 30*time.Second {
			t.Errorf("%s: %v after %v", name, err, took)
		}
	}
}

func TestHTTPWithoutANetwork(t *testing.T) {
	source := remoteconfig.HTTP{URL: "http://nowhere.invalid"}
	_, err := source.Fetch(t.Context(), "")
	var fault *remoteconfig.FetchError
	if !errors.As(err, &fault) || !fault.Local {
		t.Errorf("%v: want a local failure", err)
	}
}

func TestNewRefuses(t *testing.T) {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := remoteconfig.HTTP{URL: "https://config.example.com"}
	fed := remoteconfig.HTTP{URL: good.URL, Client: engine.Client(nil).Client}
	type options = remoteconfig.Options
	tests := []struct {
		name   string
		source remoteconfig.Source
		opts   options
		want   string // part of the error; empty: none
	}{
		{"good", good, options{PollInterval: 30 * time.Second}, ""},
		{"no source", nil, options{}, "source"},
		{"no URL", remoteconfig.HTTP{}, options{}, "http or https"},
		{"bad URL", remoteconfig.HTTP{URL: "http://%"}, options{}, "not a URL"},
		{"a client that the engine feeds", fed, options{}, "fed by tether"},
		{"the same as default", good, options{Default: fed}, "fed by tether"},
		{"polls too often", good, options{PollInterval: time.Second}, "not within"},
		{"polls too seldom", good, options{PollInterval: 25 * time.Hour}, "not within"},
		{"polls as often as compiled in", good,
			options{PollInterval: time.Second, PollMin: time.Second}, ""},
		{"a floor above the default", good, options{PollMin: time.Hour}, ""},
		{"a floor too low", good, options{PollMin: time.Second - 1}, "PollMin 999.999999ms is not within"},
		{"a floor too high", good, options{PollMin: 25 * time.Hour}, "PollMin"},
		{"below its own floor", good, options{PollInterval: time.Minute, PollMin: time.Hour}, "not within"},
	}
	for _, test := range tests {
		_, err := remoteconfig.New(test.source, engine, test.opts)
		if test.want == "" && err != nil || test.want != "" &&
			(err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

func TestHandler(t *testing.T) {
	var document []byte
	handler := remoteconfig.Handler(func() []byte { return document })
	serve := func(method, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/", nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	if w := serve("GET", ""); w.Code != 503 || w.Header().Get("ETag") != "" {
		t.Errorf("without a document: %d", w.Code)
	}
	document = []byte(`{"pollInterval": "90s"}`)
	w := serve("GET", "")
	tag := w.Header().Get("ETag")
	if w.Code != 200 || w.Body.String() != string(document) || tag == "" ||
		w.Header().Get("Cache-Control") != "max-age=90" {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
	if w := serve("HEAD", ""); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("ETag") != tag {
		t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
	}
	for _, matching := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if w := serve("GET", matching); w.Code != 304 || w.Body.Len() != 0 {
			t.Errorf("If-None-Match %s: %d", matching, w.Code)
		}
	}
	if w := serve("POST", ""); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", w.Code)
	}
	document = []byte(`{}`)
	if w := serve("GET", tag); w.Code != 200 || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("after a change: %d %v", w.Code, w.Header())
	}
}
