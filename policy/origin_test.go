package policy

import (
	"net/url"
	"strings"
	"testing"
)

// TestOriginOfHasOneForm: ways of writing one server are one target, or a hold, a kill and a breaker would be
// escaped by a dot. // law 2
func TestOriginOfHasOneForm(t *testing.T) {
	for _, c := range []struct{ scheme, host, want string }{
		{"https", "api.example.com", "api.example.com"},
		{"https", "api.example.com.", "api.example.com"},
		{"HTTPS", "API.example.com.:0443", "api.example.com"},
		{"https", "api.example.com:", "api.example.com"},
		{"https", "api.example.com:80", "api.example.com:80"},
		{"http", "api.example.com:080", "api.example.com"},
		{"http", "api.example.com:08080", "api.example.com:8080"},
		{"http", "api.example.com.:8080", "api.example.com:8080"},
		{"http", "api.example.com:00", "api.example.com:0"},
		{"http", "[2001:DB8:0:0::1]:80", "[2001:db8::1]"},
		{"http", "[2001:db8:0::1]:8080", "[2001:db8::1]:8080"},
		{"http", "[fe80::1%eth0]:80", "[fe80::1%eth0]"},
		{"http", "[::1", "[::1"},
		{"http", "", ""},
	} {
		if _, got := OriginOf(c.scheme, c.host); got != c.want {
			t.Errorf("OriginOf(%q, %q) = %q, want %q", c.scheme, c.host, got, c.want)
		}
	}
	for _, host := range []string{"api.example.com", "api.example.com:8443", "[2001:db8::1]:8443", "[::1]"} {
		if n := testing.AllocsPerRun(100, func() { OriginOf("https", host) }); n != 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}

// FuzzOriginOf holds that the form of what net/http can call is one: it is its own form, and has the same port.
func FuzzOriginOf(f *testing.F) {
	f.Add("api.example.com.:080")
	f.Add("[2001:DB8::1]:0443")
	f.Add("[::ffff:192.0.2.1].:")
	f.Fuzz(func(t *testing.T, host string) {
		u, err := url.Parse("http://" + host + "/")
		if err != nil || strings.Contains(u.Host, "]") && u.Host[0] != '[' {
			return // nothing that can be dialled
		}
		_, once := OriginOf(u.Scheme, u.Host)
		if _, twice := OriginOf(u.Scheme, once); twice != once {
			t.Fatalf("%q: %q, then %q", u.Host, once, twice)
		}
		if was, is := newSubject("http", u.Host, "", "", ""), newSubject("http", once, "", "", ""); was != is {
			t.Fatalf("%q: rules see %+v, and %+v in %q", u.Host, was, is, once)
		}
	})
}
