package tether_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
)

// TestRoutesAreDecidedOnce: not once more by a wrapper further in, which would send a fallback back to where it comes from.
func TestRoutesAreDecidedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, other := newRouted(t, 100, ""), newRouted(t, 100, "")
		for name, inner := range map[string]*routed{"the same engine": one, "another engine": other} {
			r, w := one, newTwo()
			if inner == other {
				r = newRouted(t, 100, "")
			}
			w.next.serve = always(500)
			resp, err := r.Client(inner.Client(w.client()).Client).Get("https://api.example/pay")
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != 200 || w.next.attempts() != 1 {
				t.Errorf("%s: status %d, %d attempts at the other server", name, resp.StatusCode, w.next.attempts())
			}
		}
		r, w := newRouted(t, 100, ""), newTwo()
		plain, err := tether.New(tether.Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := plain.Client(r.Client(w.client()).Client).Get("https://api.example/pay"); err == nil {
			resp.Body.Close()
		}
		if w.next.attempts() != 1 {
			t.Error("a wrapper further out that knows no route keeps calls from theirs")
		}
	})
}

// TestRedirectsOfTheOtherServerBringItNoSecrets: net/http shows a subdomain what its domain may see, and follows whoever asks.
func TestRedirectsOfTheOtherServerBringItNoSecrets(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		e, err := tether.New(tether.Options{Seed: 1, Bounds: routing(policy.RouteBound{Origin: "https://v2.api.example", SameTrust: trusted})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Apply(document(1, ","+routeRule(strings.ReplaceAll(toV2, "v2.example", "v2.api.example"))+","+checkoutFlag(100))); err != nil {
			t.Fatal(err)
		}
		w := newTwo()
		w.next.serve = func(req *http.Request, n int) (*http.Response, error) {
			if has := req.Header.Get("Authorization") != ""; has != trusted {
				t.Errorf("trusted %v: request %d to %s shows Authorization: %v", trusted, n, req.URL, has)
			}
			if n < 4 {
				return answer(req, 302, "Location", "https://v2.api.example:443/next"), nil
			}
			return answer(req, 302, "Location", "https://api.example/elsewhere"), nil
		}
		w.old.serve = func(req *http.Request, _ int) (*http.Response, error) {
			if req.Header.Get("Authorization") == "" {
				t.Error("what was asked for doesn't see it")
			}
			return answer(req, 200), nil
		}
		req, err := http.NewRequestWithContext(tether.WithAttributes(t.Context(), flags.Attributes{}), "GET", "https://api.example/pay", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "secret")
		client := e.Client(w.client())
		client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
			if req.URL.Path == "/elsewhere" {
				if _, err := e.Apply(document(2, ","+checkoutFlag(0))); err != nil {
					t.Error(err)
				}
			}
			return nil
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); w.next.attempts() != 4 || w.old.attempts() != 1 {
			t.Errorf("%d and %d attempts", w.next.attempts(), w.old.attempts())
		}
	}
}

// TestDetoursShowNoSecrets: once a server that isn't trusted has redirected a call, no other origin than the one
// that was asked for sees its secrets, nor is heard about cookies. A wrapper further out changes nothing.
func TestDetoursShowNoSecrets(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		for _, status := range []int{302, 307} {
			for _, wrapped := range []bool{false, true} {
				detoursShowNoSecrets(t, method, status, wrapped)
			}
		}
	}
}

func detoursShowNoSecrets(t *testing.T, method string, status int, wrapped bool) {
	// net/http shows example, which is asked for, and so each of these what is meant for it.
	way := []string{"https://v2.example/", "https://v2.example:8443/", "https://x.v2.example/", "https://example:444/",
		"http://example/", "https://y.v2.example/", "https://EXAMPLE:443/end"}
	seen := make(map[string]bool)
	base := roundTrip(func(req *http.Request) (*http.Response, error) {
		at := slices.Index(way, req.URL.Scheme+"://"+req.URL.Host+"/"+strings.Trim(req.URL.Path, "/"))
		secret := req.Header.Get("Authorization") != "" || req.Header.Get("Cookie") != "" || req.URL.User != nil
		if at < 0 || secret != (at == len(way)-1) {
			t.Errorf("%s %d: %s shows %v", method, status, req.URL.Redacted(), req.Header)
		}
		if at < 0 || at == len(way)-1 {
			return answer(req, 200), nil
		}
		seen[way[at]] = true
		next := strings.Replace(way[at+1], "://", "://theirs:own@", 1)
		return answer(req, status, "Location", next, "Set-Cookie", "theirs=1; Domain=example"), nil
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := tether.New(tether.Options{Seed: 1, Bounds: routing(policy.RouteBound{Origin: "https://v2.example"})})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(document(1, ","+strings.Replace(routeRule(toV2), "api.example", "example:443", 1)+","+checkoutFlag(100))); err != nil {
		t.Fatal(err)
	}
	client := e.Client(&http.Client{Transport: base, Jar: jar}).Client
	if wrapped {
		outer, err := tether.New(tether.Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		client = outer.Client(client).Client
	}
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > len(way) {
			return errors.New("too many redirects")
		}
		if req.URL.Path == "/end" {
			_, err := e.Apply(document(2, ","+checkoutFlag(0)))
			return err
		}
		return nil
	}
	req, err := http.NewRequest(method, "https://example/", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "secret")
	req.Header.Set("Cookie", "ours=1")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 200 || len(seen) != len(way)-1 {
		t.Errorf("%s %d: the status is %d after %v", method, status, resp.StatusCode, seen)
	}
	if heard := jar.Cookies(req.URL); len(heard) > 0 {
		t.Errorf("%s %d: the jar has %v", method, status, heard)
	}
}

// TestWithheldCredentialsSendNobodyAway: who isn't shown a credential and says that there is none says nothing of the caller's.
func TestWithheldCredentialsSendNobodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRouted(t, 50, ""), newTwo()
		w.next.serve = always(401)
		served := 0
		for i := range 600 {
			ctx := tether.WithAttributes(t.Context(), flags.Attributes{flags.TargetingKey: fmt.Sprint(i)})
			if status, _ := r.send(ctx, w, "GET", "https://api.example/pay", "Authorization", "good"); status == 200 {
				served++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if told := strings.Join(r.told(tether.EventRoute), "\n"); served < 560 || !strings.Contains(told, "turned off") {
			t.Errorf("%d of 600 calls were served, told %.200q", served, told)
		}
		r, w = newRouted(t, 100, ""), newTwo()
		w.next.serve = always(401)
		if status, _ := r.send(t.Context(), w, "GET", "https://api.example/pay"); status != 401 || w.old.attempts() != 0 {
			t.Errorf("status %d for one that shows nothing, %d fallbacks", status, w.old.attempts())
		}
		r, w = newRouted(t, 100, ""), newTwo()
		w.next.serve = always(401)
		status, _ := r.send(t.Context(), w, "POST", "https://api.example/pay", "Authorization", "good")
		if status != 401 || w.old.attempts() != 0 {
			t.Errorf("status %d for a POST, %d fallbacks", status, w.old.attempts())
		}
	})
}

// TestKeptBodiesFallBack: the budget that counts is that of the server that gets the repeat.
func TestKeptBodiesFallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := tether.New(tether.Options{Seed: 1, BufferBodies: 1 << 10,
			Bounds: routing(policy.RouteBound{Origin: "https://v2.example"})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Apply(document(1, `,"rules":[{"match":{"host":"api.example"},"call":{"route":`+toV2+
			`}},{"match":{"host":"v2.example"},"target":{"retryBudget":{"ratio":0}}}],`+checkoutFlag(100))); err != nil {
			t.Fatal(err)
		}
		w := newTwo()
		w.next.serve = always(500)
		req, err := http.NewRequest("PUT", "https://api.example/pay", io.NopCloser(strings.NewReader("order")))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := e.Client(w.client()).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != 200 || w.old.attempts() != 1 || w.old.bodies[0] != "order" {
			t.Errorf("status %d, %d fallbacks", resp.StatusCode, w.old.attempts())
		}
	})
}
