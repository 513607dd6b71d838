package tether_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// keyed sends a request for which a key is to be made.
func keyed(t *testing.T, c *tether.Client, form tether.KeyForm, method, url string, header http.Header) (int, error) {
	t.Helper()
	ctx := tether.WithCall(t.Context(), tether.CallOptions{IdempotencyKey: form})
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("an order"))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	before := req.Header.Clone()
	resp, err := c.Do(req)
	if len(req.Header) != len(before) || req.Header.Get("Idempotency-Key") != before.Get("Idempotency-Key") {
		t.Errorf("the caller's header has become %v", req.Header)
	}
	if err != nil {
		return 0, err
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, nil
}

// TestW13IdempotencyKey: one key for all attempts of a call, in the form that was asked for; another for the
// next call.
func TestW13IdempotencyKey(t *testing.T) {
	const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
	for form, want := range map[tether.KeyForm]string{tether.BareKey: "^" + uuid + "$", tether.QuotedKey: `^"` + uuid + `"$`} {
		var mu sync.Mutex
		var keys []string
		times := make(map[string]int)
		overBoth(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			for _, key := range r.Header["Idempotency-Key"] {
				keys = append(keys, key)
				times[key]++
			}
			if len(keys)%2 == 1 || string(body) != "an order" {
				w.WriteHeader(http.StatusBadGateway)
			}
		}), tether.Options{InitialRetries: policy.Ptr(2)}, func(t *testing.T, c *tether.Client, url string) {
			keys = nil
			for range 2 {
				if status, err := keyed(t, c, form, http.MethodPost, url, nil); status != 200 || err != nil {
					t.Fatal(status, err)
				}
			}
			if len(keys) != 4 || keys[0] != keys[1] || keys[2] != keys[3] || keys[0] == keys[2] {
				t.Fatalf("attempts had the keys %q", keys)
			}
			if !regexp.MustCompile(want).MatchString(keys[0]) {
				t.Errorf("the key is %s", keys[0])
			}
		})
		for key, n := range times {
			if n != 2 {
				t.Errorf("%s was sent %d times", key, n)
			}
		}
	}
}

// TestW13KeyOnlyWhereNeeded: a key is made where it was asked for and there is none, and for what is not
// idempotent by itself. Engines of one seed make different keys.
func TestW13KeyOnlyWhereNeeded(t *testing.T) {
	made := make(map[string]bool)
	own := func(name string) http.Header { return http.Header{name: {"mine"}} }
	for _, test := range []struct {
		form     tether.KeyForm
		method   string
		header   http.Header
		made     bool
		key      string // that arrives, where none is made
		attempts int
	}{
		{form: tether.NoKey, method: "POST", attempts: 1},
		{form: tether.BareKey, method: "POST", made: true, attempts: 2},
		{form: tether.BareKey, method: "PATCH", made: true, attempts: 2},
		{form: tether.BareKey, method: "PROPFIND", made: true, attempts: 2},
		{form: tether.KeyForm(9), method: "POST", attempts: 1},
		{form: tether.BareKey, method: "PUT", attempts: 2},
		{form: tether.BareKey, method: "DELETE", attempts: 2},
		{form: tether.BareKey, method: "POST", header: own("Idempotency-Key"), key: "mine", attempts: 2},
		{form: tether.BareKey, method: "POST", header: own("X-Idempotency-Key"), attempts: 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			b := roundTrip(func(req *http.Request) (*http.Response, error) {
				got = append(got, req.Header.Get("Idempotency-Key"))
				return nil, io.EOF
			})
			keyed(t, client(t, b, tether.Options{}), test.form, test.method, api, test.header)
			if test.made && made[got[0]] {
				t.Errorf("%s was made before", got[0])
			}
			made[got[0]] = true
			if len(got) != test.attempts {
				t.Fatalf("%s %v: %d attempts, want %d", test.method, test.header, len(got), test.attempts)
			}
			for _, key := range got {
				if key != got[0] || !test.made && key != test.key || test.made && len(key) != 36 {
					t.Errorf("%s %v: the attempts had %q", test.method, test.header, got)
				}
			}
		})
	}
}

// TestIdempotenceDeclaredWithoutAKey: law 6. net/http documents that a key's field without any value declares a
// request idempotent and is not sent; Prometheus's client asks so. An empty value is no key.
func TestIdempotenceDeclaredWithoutAKey(t *testing.T) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		for _, test := range []struct {
			values   []string
			form     tether.KeyForm
			attempts int
			fields   int // that each attempt has
		}{
			{nil, tether.NoKey, 2, 0},
			{[]string{}, tether.NoKey, 2, 0},
			{nil, tether.BareKey, 2, 0},
			{[]string{""}, tether.NoKey, 1, 1},
		} {
			attempts := 0
			overHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				attempts++
				if n := len(r.Header["Idempotency-Key"]) + len(r.Header["X-Idempotency-Key"]); n != test.fields {
					t.Errorf("%s %q: the server got %v", name, test.values, r.Header)
				}
				w.WriteHeader(http.StatusBadGateway)
			}), func(t *testing.T, c *tether.Client, url string) {
				attempts = 0
				keyed(t, c, test.form, http.MethodPost, url, http.Header{name: test.values})
				if attempts != test.attempts {
					t.Errorf("%s %q: %d attempts, want %d", name, test.values, attempts, test.attempts)
				}
			})
		}
	}
}
