package remoteconfig

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// fetchTimeout bounds one fetch from dialling to the last byte: a server that takes longer for at
// most 1 MiB doesn't want to be asked.
const fetchTimeout = 30 * time.Second

// maxRedirects is the most redirects that one fetch follows; moved twice and tidied once is enough.
const maxRedirects = 3

// ErrRedirect means that the server sent the client to another origin: another scheme, host or port. Who
// may publish is decided by the URL that was compiled in. Allowed is only the way from http to https of the
// same host, on their usual ports.
var ErrRedirect = errors.New("remoteconfig: redirect to another scheme, host or port refused")

// errLoop means that a redirect leads to where this fetch has been.
var errLoop = errors.New("remoteconfig: the server redirects in a circle")

// HTTP is a source that asks a web server. It sends If-None-Match and takes 304 for an answer,
// reads at most 1 MiB and for at most 30 s, obeys Retry-After (in seconds or as a date), and takes
// the max-age of Cache-Control for the interval that the server would like. Redirects are followed
// within the URL's origin only, three at most; see [ErrRedirect]. It is safe for concurrent use.
type HTTP struct {
	// URL of the document, http or https. Use https: without [Options].Trust nothing else vouches for
	// the document, and with it an attacker on the way can still keep an old one alive.
	URL string
	// Client makes the requests; nil: one of its own, which keeps no connection open between polls.
	//
	// It must not be a client that a tether engine feeds: the document that mends a hold or a kill
	// would wait behind it. [New] refuses a client whose Transport is tether's own; it can't see
	// one that is wrapped further.
	Client *http.Client
	// NoVersion leaves out the request field Tether-Config, `"shop-app";v=41`, by which the server can count
	// its clients by the version in force. It says nothing of who they are. Default false: it is sent.
	NoVersion bool
}

func (h HTTP) identity() string { return "http " + h.URL }

// check is called by [New], so that a mistake in the program shows at its start.
func (h HTTP) check() error {
	parsed, err := url.Parse(h.URL)
	switch {
	case err != nil:
		return errors.New("remoteconfig: HTTP.URL is not a URL") // the cause's text would repeat it
	case parsed.Scheme != "http" && parsed.Scheme != "https", parsed.Host == "":
		return errors.New("remoteconfig: HTTP.URL must be http or https, with a host")
	case h.Client != nil && ofTether(h.Client.Transport):
		return errors.New("remoteconfig: HTTP.Client is fed by tether: " +
			"the document that lifts a hold must not wait for it")
	}
	return nil
}

// ofTether tells whether a transport's type is declared in the module's root package, which this
// package doesn't import.
func ofTether(transport http.RoundTripper) bool {
	t := reflect.TypeOf(transport)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t != nil && t.PkgPath() == path.Dir(reflect.TypeFor[HTTP]().PkgPath())
}

// Fetch asks the server once.
func (h HTTP) Fetch(ctx context.Context, tag string) (Fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return Fetched{}, errors.New("remoteconfig: HTTP.URL is not a URL")
	}
	req.Header.Set("Accept", "application/json")
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	if inForce, ok := ctx.Value(versionKey{}).(string); ok && !h.NoVersion {
		req.Header.Set(versionField, inForce)
	}
	client, done := h.client()
	defer done()
	resp, err := client.Do(req)
	if err != nil {
		return Fetched{}, transportError(err)
	}
	defer resp.Body.Close()
	return readResponse(resp, tag)
}

// client returns the client for one fetch, and what to do after it. A connection of its own would
// be idle for almost all of its life, and a million of them are a burden for the server.
func (h HTTP) client() (*http.Client, func()) {
	if h.Client != nil {
		client := *h.Client // a copy: the application's own is never changed
		client.CheckRedirect = sameOrigin(h.Client.CheckRedirect)
		return &client, func() {}
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, CheckRedirect: sameOrigin(nil)}
	return client, transport.CloseIdleConnections
}

type checkRedirect = func(req *http.Request, via []*http.Request) error

// sameOrigin judges each step of a chain, so that there is no way back from https either.
func sameOrigin(own checkRedirect) checkRedirect {
	return func(req *http.Request, via []*http.Request) error {
		switch {
		case !leadsWithin(via[len(via)-1].URL, req.URL):
			return ErrRedirect
		case slices.ContainsFunc(via, func(been *http.Request) bool { return sameResource(been.URL, req.URL) }):
			return errLoop
		case len(via) > maxRedirects:
			return errors.New("remoteconfig: too many redirects")
		}
		if own != nil {
			return own(req, via)
		}
		return nil
	}
}

// leadsWithin tells whether a redirect stays in its origin, or goes to the same host's https.
func leadsWithin(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	upgrade := from.Scheme == "http" && port(from) == "80" && to.Scheme == "https" && port(to) == "443"
	return upgrade || from.Scheme == to.Scheme && port(from) == port(to)
}

func port(u *url.URL) string {
	usual := map[string]string{"http": "80", "https": "443"}
	return cmp.Or(u.Port(), usual[u.Scheme])
}

// sameResource compares what a server gets to see of two URLs of one origin. A fragment stays with the client.
func sameResource(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && a.RequestURI() == b.RequestURI()
}

func readResponse(resp *http.Response, tag string) (Fetched, error) {
	fetched := Fetched{
		Tag:    usableTag(resp.Header.Get("ETag")),
		MaxAge: maxAge(resp.Header.Values("Cache-Control")),
	}
	switch {
	case resp.StatusCode == http.StatusNotModified && tag != "":
		fetched.Tag, fetched.Unchanged = tag, true
		return fetched, nil
	case resp.StatusCode != http.StatusOK:
		return Fetched{}, &FetchError{
			RetryAfter: retryAfter(resp.Header, time.Now()),
			Err:        fmt.Errorf("remoteconfig: the server answered %d", resp.StatusCode),
		}
	case resp.ContentLength > maxDocument:
		return Fetched{}, ErrTooLarge
	}
	document, err := readDocument(resp.Body)
	if err != nil {
		return Fetched{}, fmt.Errorf("remoteconfig: reading the answer: %w", err)
	}
	fetched.Document = document
	return fetched, nil
}

// transportError takes the URL out of an error's text and tells what never left this machine.
func transportError(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	if errors.Is(err, ErrRedirect) {
		return err
	}
	return &FetchError{Local: neverLeft(err), Err: fmt.Errorf("remoteconfig: no answer: %w", err)}
}

// neverLeft tells whether a request failed for want of a network, a name or a file descriptor. A
// connection refused or reset did reach a server.
func neverLeft(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return true
	}
	for _, local := range [...]syscall.Errno{syscall.ENETUNREACH, syscall.ENETDOWN,
		syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, local) {
			return true
		}
	}
	return false
}

// maxAge reads RFC 9111 section 5.2.2.1. A response that may not be reused says nothing about when
// to ask again.
func maxAge(lines []string) time.Duration {
	var age time.Duration
	for directive := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-cache", "no-store":
			return 0
		case "max-age":
			age, _ = seconds(strings.Trim(value, `"`))
		}
	}
	return age
}

// retryAfter reads RFC 9110 section 10.2.3. A date is taken against the server's own clock, where
// it tells it; one in the past is no wait.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if wait, ok := seconds(value); ok {
		return wait
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(until.Sub(now), 0)
}

// seconds reads decimal digits. A number too large for a Duration is the longest one, never zero:
// law 2 says that no number, however large, turns into "now".
func seconds(value string) (time.Duration, bool) {
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n > math.MaxInt64/int64(time.Second) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * time.Second, true
}

// answer is a document with the header fields that tell of it. It never changes.
type answer struct {
	document     []byte
	etag         string
	cacheControl string
}

// Handler returns an http.Handler that serves the document that the function returns, for any
// server that can spare a path. It answers GET and HEAD, with an ETag, 304 for a matching
// If-None-Match, and a max-age of the document's pollInterval; without one, caches must ask each
// time. Other methods get 405, and everybody 503 while the function returns nothing or more than
// 1 MiB. The function is called for each request, at the same time for several, and must not change
// a slice that it returned.
func Handler(document func() []byte) http.Handler {
	var last atomic.Pointer[answer] // so that a document is hashed once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		current := document()
		if len(current) == 0 || len(current) > maxDocument {
			http.Error(w, "no document", http.StatusServiceUnavailable)
			return
		}
		a := last.Load()
		if a == nil || !bytes.Equal(a.document, current) {
			a = newAnswer(current)
			last.Store(a)
		}
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("ETag", a.etag)
		header.Set("Cache-Control", a.cacheControl)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.document))
	})
}

func newAnswer(document []byte) *answer {
	sum := sha256.Sum256(document)
	a := &answer{document: document, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
	a.cacheControl = "no-cache"
	opened := published{document: document}
	opened.open()
	if interval := opened.interval; interval > 0 {
		a.cacheControl = "max-age=" + strconv.Itoa(int(interval/time.Second))
	}
	return a
}
