package compat_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
)

// TestCookies: both attempts of a call send the same cookies, and the jar gets those of the answer.
func TestCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{healthy: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "new"})
		})}
		transport, address, _ := refusable(t, b)
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		home, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		jar.SetCookies(home, []*http.Cookie{{Name: "session", Value: "old"}})
		client := engine(t, tether.Options{}).Client(&http.Client{Transport: transport, Jar: jar})

		b.fails(status(503))
		works(t, sends(client.Do, http.MethodGet, address))
		for _, a := range b.arrived(t, 2) {
			if got := a.header.Values("Cookie"); len(got) != 1 || got[0] != "session=old" {
				t.Errorf("sent %q", got)
			}
		}
		if got := fmt.Sprint(jar.Cookies(home)); got != "[session=new]" {
			t.Errorf("the jar has %s", got)
		}
	})
}

// redirecting serves two hosts, of which the first sends everybody on to the second.
func redirecting(t *testing.T,
	test func(t *testing.T, client *http.Client, from string, first, second *backend)) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		second := &backend{healthy: answersJSON}
		to := network.Serve(t, "second.test", second)
		first := &backend{healthy: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to+r.URL.Path)
			w.WriteHeader(http.StatusTemporaryRedirect)
			io.WriteString(w, "this way")
		})}
		from := network.Serve(t, "first.test", first)
		client := engine(t, tether.Options{}).Client(&http.Client{Transport: network.Transport()})
		test(t, client.Client, from, first, second)
	})
}

// TestRedirects: a hop that fails is repeated alone, with the body of the first.
func TestRedirects(t *testing.T) {
	redirecting(t, func(t *testing.T, client *http.Client, from string, first, second *backend) {
		second.fails(hangUp)
		works(t, sends(client.Do, http.MethodPut, from))
		if first.arrived(t, 1)[0].body != second.arrived(t, 2)[0].body {
			t.Error("the second host got another body")
		}
		first.fails()
		second.fails(status(503))
		fails(t, sends(client.Do, http.MethodPost, from))
		first.arrived(t, 1)
		second.arrived(t, 1)
	})
}

// TestCheckRedirect keeps its say, and its error its type.
func TestCheckRedirect(t *testing.T) {
	redirecting(t, func(t *testing.T, client *http.Client, from string, first, second *backend) {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := client.Get(from)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusTemporaryRedirect || string(body) != "this way" || err != nil {
			t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
		}
		refusal := errors.New("not there")
		client.CheckRedirect = func(_ *http.Request, via []*http.Request) error { return refusal }
		if _, err := client.Get(from); !errors.Is(err, refusal) {
			t.Error(err)
		}
		first.arrived(t, 2)
		second.arrived(t, 0)
	})
}

// TestRedirectLoop ends where net/http ends it.
func TestRedirectLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{healthy: http.RedirectHandler("/again", http.StatusFound)}
		transport, url, _ := refusable(t, b)
		client := engine(t, tether.Options{}).Client(&http.Client{Transport: transport})
		resp, err := client.Get(url)
		if err == nil || resp == nil {
			t.Fatal(resp, err)
		}
		b.arrived(t, 10)
	})
}

// TestTimeout bounds a call with all its attempts: a repeat that can't come in time is not waited for,
// and the answer is handed over at once.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{healthy: answersJSON}
		transport, address, _ := refusable(t, b)
		client := engine(t, tether.Options{}).Client(&http.Client{Transport: transport})
		client.Timeout = 3 * time.Second
		began := time.Now()
		b.fails(notBefore)
		resp, err := client.Get(address)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || time.Since(began) != 0 {
			t.Fatal(resp, err, time.Since(began))
		}
		resp.Body.Close()

		_, err = client.Get(address) // held for longer than the timeout
		var refused *tether.RejectedError
		var timeout *url.Error
		if !errors.As(err, &refused) || refused.Stage != tether.StageHold || !refused.ServerAsked {
			t.Errorf("%v hides the refusal", err)
		}
		if errors.As(err, &timeout) && timeout.Temporary() {
			t.Errorf("%v invites a loop to go on", err)
		}
		b.arrived(t, 1)

		time.Sleep(time.Minute)
		b.failsForever(func(http.ResponseWriter) { time.Sleep(time.Hour) })
		began = time.Now()
		_, err = client.Get(address)
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		b.arrived(t, 1)
	})
}

// TestExpectContinue: a server that refuses before it has read the body gets the whole body in the end.
func TestExpectContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{healthy: answersJSON}
		transport, url, _ := refusable(t, b)
		b.early.Store(1)
		transport.ExpectContinueTimeout = time.Second
		client := engine(t, tether.Options{}).Client(&http.Client{Transport: transport})
		body := strings.Repeat("x", 2<<20)
		req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Expect", "100-continue")
		if err := finish(client.Do(req)); err != nil {
			t.Fatal(err)
		}
		sent := b.arrived(t, 1)[0]
		b.fails()
		works(t, func(ctx context.Context, _ string) error {
			return sends(client.Do, http.MethodPut, url)(ctx, body)
		})
		if b.arrived(t, 1)[0].body != sent.body {
			t.Error("the repeat had another body")
		}
	})
}

// TestTransparency: compression that the transport undoes, early answers and traces work through the
// wrapper as without it, for each attempt.
func TestTransparency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var packed bytes.Buffer
		zip := gzip.NewWriter(&packed)
		io.WriteString(zip, "hello")
		zip.Close()
		b := &backend{healthy: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(packed.Bytes())
		})}
		transport, url, _ := refusable(t, b)
		client := engine(t, tether.Options{}).Client(&http.Client{Transport: transport})
		early, sent := 0, 0
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(int, textproto.MIMEHeader) error { early++; return nil },
			WroteRequest:   func(httptrace.WroteRequestInfo) { sent++ },
		}), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		b.fails(status(503))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil || !resp.Uncompressed {
			t.Errorf("%q, %v", body, err)
		}
		if early != 1 || sent != 2 || resp.Request != req {
			t.Errorf("%d early answers, %d requests traced", early, sent)
		}
	})
}
