package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// said collects what a command says while it runs, and tells of it.
type saying struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (s *saying) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.text.Write(b)
}

func (s *saying) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait returns once what is said has the words.
func (s *saying) wait(t *testing.T, words string) {
	t.Helper()
	s.waitFor(t, words, 1)
}

// waitFor returns once what is said has the words so many times.
func (s *saying) waitFor(t *testing.T, words string, times int) {
	t.Helper()
	for strings.Count(s.String(), words) < times {
		select {
		case <-s.more:
		case <-time.After(20 * time.Second):
			t.Fatalf("%q was not said:\n%s", words, s)
		}
	}
}

// serving runs the command with a server of its own, and returns the server's URL once it answers. stop interrupts the
// command and returns its exit status.
func serving(t *testing.T, name string) (url string, out *saying, stop func() (status int)) {
	t.Helper()
	out = &saying{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	status := make(chan int, 1)
	go func() { status <- runServe(ctx, []string{"-addr", "127.0.0.1:0", "-log", name}, out, out) }()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-status
	})
	t.Cleanup(func() { stop() })
	out.wait(t, "serving "+name+" on http://")
	_, after, _ := strings.Cut(out.String(), "serving "+name+" on ")
	url, _, _ = strings.Cut(after, "\n")
	return url, out, stop
}

func TestServe(t *testing.T) {
	name := file(t, document)
	url, out, stop := serving(t, name)
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	get := func(versions ...string) (body string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Tether-Config"] = versions
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if get() != document || get(`"shop";v=41`) != document || get(`"shop";v=41`) != document {
		t.Error("another document was served")
	}
	get("nonsense")
	get(`"shop";v=41`, `"shop";v=41`)

	// A mistake is not published; the next good version is.
	replace := func(content string) {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace(strings.Replace(document, `"1s"`, `"fast"`, 1))
	out.wait(t, "not published, the last good one stays")
	if get() != document {
		t.Error("a mistake was published")
	}
	next := strings.Replace(document, `"version": 1`, `"version": 2`, 1)
	replace(next)
	out.wait(t, "published: shop v2")
	if get() != next {
		t.Error("the next version was not published")
	}
	if got := stop(); got != 0 {
		t.Errorf("exit status %d", got)
	}
	for _, want := range []string{"7 polls", `42.9 %  no document`, `28.6 %  "shop" v41`, `28.6 %  something else`,
		`poll: has "shop" v41`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q was not said", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestServeRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		status int
	}{
		{"no file", nil, 2},
		{"a file that isn't there", []string{"/nobody/has/this"}, 2},
		{"a mistake", []string{file(t, "{}")}, 1},
		{"no version", []string{file(t, `{"schema": 1, "document": "shop"}`)}, 1},
		{"an address that isn't one", []string{"-addr", "nowhere", file(t, document)}, 2},
		{"no time", []string{"-every", "1ms", file(t, document)}, 2},
	} {
		var out bytes.Buffer
		if status := runServe(t.Context(), test.args, &out, &out); status != test.status {
			t.Errorf("%s: exit status %d, want %d\n%s", test.name, status, test.status, &out)
		}
	}
}

// TestServeTellsEachTime: a file that is gone, and a mistake that comes back, are told.
func TestServeTellsEachTime(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := &saying{more: make(chan struct{}, 1)}
	p := &publication{name: file(t, document), log: log.New(out, "", 0), polls: make(map[string]int)}
	if err := p.look(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.serve(ctx, listener, time.Minute, false) }()
	if err := os.Remove(p.name); err != nil {
		t.Fatal(err)
	}
	out.wait(t, "no such file")
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(p.name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mistake := strings.Replace(document, `"1s"`, `"fast"`, 1)
	put(mistake)
	out.wait(t, "is not a duration")
	put(strings.Replace(document, `"version": 1`, `"version": 2`, 1))
	out.wait(t, "shop v2")
	put(mistake)
	out.waitFor(t, "is not a duration", 2)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Count(out.String(), "is not a duration") != 2 || strings.Count(out.String(), "no such file") != 1 {
		t.Errorf("it said\n%s", out)
	}
}

// stuck is where a writer waits, as in a pipe that nobody reads.
type stuck struct{ writes, until chan struct{} }

func (s stuck) Write(b []byte) (int, error) { close(s.writes); <-s.until; return len(b), nil }

// TestServeWithNobodyReading: polls are answered while what the command says goes nowhere.
func TestServeWithNobodyReading(t *testing.T) {
	out := stuck{make(chan struct{}), make(chan struct{})}
	p := &publication{name: file(t, document), log: log.New(out, "", 0), polls: make(map[string]int)}
	looked, counted := make(chan error, 1), make(chan struct{})
	go func() { looked <- p.look() }()
	<-out.writes
	go func() { p.count("v1"); close(counted) }()
	select {
	case <-counted:
	case <-time.After(5 * time.Second):
		t.Error("a poll waits for what is said")
	}
	close(out.until)
	<-counted
	if err := <-looked; err != nil {
		t.Error(err)
	}
}

// However many versions clients claim, few are counted apart.
func TestServeCountsFew(t *testing.T) {
	p := &publication{polls: make(map[string]int)}
	for i := range 10_000 {
		p.count(strings.Repeat("v", i%1000))
	}
	if len(p.polls) > maxVersions+1 || p.polls[otherWords] < 9000 {
		t.Errorf("%d versions, %d others", len(p.polls), p.polls[otherWords])
	}
}

// A signed document is served as it is.
func TestServeSigned(t *testing.T) {
	signed, err := os.ReadFile("../../remoteconfig/testdata/shop.signed.json")
	if err != nil {
		t.Fatal(err)
	}
	p := &publication{name: file(t, string(signed)), log: log.New(io.Discard, "", 0)}
	if err := p.look(); err != nil || !bytes.Equal(p.document, signed) || !strings.HasPrefix(p.version, "shop v") {
		t.Errorf("version %q, %v", p.version, err)
	}
}
