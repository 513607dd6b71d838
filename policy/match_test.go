package policy

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
)

// fits matches as compile and killed do.
func fits(t *testing.T, m Match, scheme, host, method, path, grpc string) bool {
	t.Helper()
	ready := newMatcher(m, func(member, problem, hint string) {
		t.Errorf("%+v: %s %s: %s", m, member, problem, hint)
	})
	call := newSubject(scheme, host, method, path, grpc)
	return ready.fits(&call)
}

func TestMatchHost(t *testing.T) {
	for _, c := range []struct {
		pattern, scheme, host string
		want                  bool
	}{
		{"", "https", "any.example", true},
		{"api.example.com", "https", "api.example.com", true},
		{"API.example.com", "https", "api.EXAMPLE.com", true},
		{"api.example.com", "https", "api.example.com.", true}, // fully qualified
		{"api.example.com.", "https", "api.example.com", true},
		{"api.example.com", "https", "api.example.com:8443", true},
		{"api.example.com", "https", "xapi.example.com", false},
		{"api.example.com", "https", "api.example.com.evil.example", false},
		{"api.example.com:443", "https", "api.example.com", true},
		{"api.example.com:443", "https", "api.example.com:", true},
		{"api.example.com:443", "https", "api.example.com:0443", true},
		{"api.example.com:443", "http", "api.example.com", false},
		{"api.example.com:80", "http", "api.example.com", true},
		{"api.example.com:8443", "https", "api.example.com", false},
		{"api.example.com:8443", "https", "api.example.com:8443", true},
		{"api.example.com:8443", "dns", "api.example.com:8443", true},
		{"api.example.com:443", "dns", "api.example.com", false},
		{"*.example.com", "https", "api.example.com", true},
		{"*.example.com", "https", "a.b.Example.com:99", true},
		{"*.example.com", "https", "example.com", false},
		{"*.example.com", "https", ".example.com", false},
		{"*.example.com", "https", "badexample.com", false},
		{"*.example.com:99", "https", "a.example.com:99", true},
		{"*.example.com:99", "https", "a.example.com", false},
		{"[2001:db8::1]", "https", "[2001:DB8::1]:8443", true},
		{"[2001:db8::1]:443", "https", "[2001:db8::1]", true},
		{"127.0.0.1", "http", "127.0.0.1:9", true},
	} {
		if got := fits(t, Match{Host: c.pattern}, c.scheme, c.host, "GET", "/", ""); got != c.want {
			t.Errorf("%q fits %s://%s: %v", c.pattern, c.scheme, c.host, got)
		}
	}
}

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		prefix, path string
		want         bool
	}{
		{"/v1/search", "/v1/search", true},
		{"/v1/search", "/v1/search/", true},
		{"/v1/search/", "/v1/search", true},
		{"/v1/search", "/v1/search/x", true},
		{"/v1/search", "/v1/searching", false},
		{"/v1/search", "/v1", false},
		{"/v1/search", "//v1//search", true},
		{"/v1/search", "/v1/%73earch", true},
		{"/v1/search", "/v1/%73%65arch%69ng", false},
		{"/v1/%73earch", "/v1/search", true},
		{"/v1/search", "/v1/./search/.", true},
		{"/v1/search", "/v2/../v1/search", true},
		{"/v1/search", "/v1/search/../other", false},
		{"/v1/search", "/v1/%2e%2E/v1/search", true},
		{"/v1/search", "/../../v1/search", true},
		{"/v1/search", "/V1/search", false},
		// An encoded slash divides nothing: neither does it make a boundary ...
		{"/v1/search", "/v1%2Fsearch", false},
		{"/v1/search", "/v1/search%2Fx", false},
		// ... nor does it lead out of a rule that covers what is before it ...
		{"/v1/search", "/v1/search/..%2F..%2Fother", true},
		{"/v1/search", "/v1/search/%2e%2e%2Fother", true},
		// ... and it is matched as what it is, however it is written.
		{"/files/a%2Fb", "/files/a%2fb", true},
		{"/files/a%2Fb", "/files/a/b", false},
		{"/files/a%2Fb", "/files/a%252Fb", false},
		{"/files/100%25", "/files/100%25", true},
		{"/files/100%25", "/files/100%", true}, // not an escape, so it stands for itself
		{"/caf%C3%A9", "/café", true},
		{"/café", "/caf%c3%a9/x", true},
		{"/", "", true},
		{"/", "/anything", true},
		{"/", "*", true},
		{"/v1", "", false},
	} {
		m := Match{Path: c.prefix}
		if got := fits(t, m, "https", "a.example", "GET", c.path, ""); got != c.want {
			t.Errorf("%q fits %q: %v", c.prefix, c.path, got)
		}
	}
}

func TestMatchMethodAndGRPC(t *testing.T) {
	for _, c := range []struct {
		match              Match
		method, path, grpc string
		want               bool
	}{
		{Match{Method: []string{"GET", "HEAD"}}, "HEAD", "/", "", true},
		{Match{Method: []string{"GET"}}, "get", "/", "", false},
		{Match{Method: []string{"GET"}}, "", "/", "", true},
		{Match{Method: []string{"POST"}}, "", "", "/shop.Stock/Get", true},
		{Match{Method: []string{"GET"}}, "", "", "/shop.Stock/Get", false},
		{Match{GRPCMethod: "/shop.Stock/Get"}, "", "", "/shop.Stock/Get", true},
		{Match{GRPCMethod: "/shop.Stock/Get"}, "", "", "/shop.Stock/GetAll", false},
		{Match{GRPCMethod: "/shop.Stock/"}, "", "", "/shop.Stock/GetAll", true},
		{Match{GRPCMethod: "/shop.Stock/"}, "", "", "/shop.Stock/", false},
		{Match{GRPCMethod: "/shop.Stock/"}, "", "", "/shop.Stocks/Get", false},
		{Match{GRPCMethod: "/shop.Stock/Get"}, "POST", "/shop.Stock/Get", "", false},
		{Match{Path: "/shop.Stock"}, "", "", "/shop.Stock/Get", true},
		{Match{}, "BREW", "/x", "", true},
		{Match{}, "", "", "/shop.Stock/Get", true},
		{Match{Host: "a.example", Method: []string{"PUT"}, Path: "/x"}, "PUT", "/x/1", "", true},
		{Match{Host: "a.example", Method: []string{"PUT"}, Path: "/x"}, "GET", "/x/1", "", false},
		{Match{Host: "b.example", Method: []string{"PUT"}, Path: "/x"}, "PUT", "/x/1", "", false},
	} {
		got := fits(t, c.match, "https", "a.example", c.method, c.path, c.grpc)
		if got != c.want {
			t.Errorf("%+v fits %q %q %q: %v", c.match, c.method, c.path, c.grpc, got)
		}
	}
}

// TestMatchSaysThatAHostIsAURL: the problem names the mistake, and not the port that a URL seems to have.
func TestMatchSaysThatAHostIsAURL(t *testing.T) {
	for _, host := range []string{"https://api.example.com", "https://user:secret@api.example.com:8443/v1", "http://[::1]",
		"*.://", "dns:///api.example.com"} {
		_, notes, err := Parse([]byte(wrap(`"rules": [{"match": {"host": "` + host + `"}}]`)))
		if err != nil || len(notes) != 1 {
			t.Fatalf("%s: %v, %v", host, notes, err)
		}
		for _, want := range []string{"is a URL, not a host", `write "api.example.com"`, `path goes into "path"`} {
			if !strings.Contains(notes[0].Text, want) {
				t.Errorf("%s: %s, want %s", host, notes[0].Text, want)
			}
		}
		if strings.Contains(notes[0].Text, "secret") {
			t.Errorf("%s is told", host)
		}
	}
}

func TestMatchNotUnderstood(t *testing.T) {
	for _, c := range []struct {
		match  Match
		member string
	}{
		{Match{Host: "https://api.example.com"}, "host"},
		{Match{Host: "api.example.com/v1"}, "host"},
		{Match{Host: "user@api.example.com"}, "host"},
		{Match{Host: "api.*.com"}, "host"},
		{Match{Host: "*"}, "host"},
		{Match{Host: "*."}, "host"},
		{Match{Host: "*.*.com"}, "host"},
		{Match{Host: "*example.com"}, "host"},
		{Match{Host: ":443"}, "host"},
		{Match{Host: "a.example:"}, "host"},
		{Match{Host: "a.example:0"}, "host"},
		{Match{Host: "a.example:65536"}, "host"},
		{Match{Host: "a.example:https"}, "host"},
		{Match{Host: "2001:db8::1"}, "host"},
		{Match{Host: "[2001:db8::1"}, "host"},
		{Match{Host: "a.example, b.example"}, "host"},
		{Match{Method: []string{"GET", "post"}}, "method[1]"},
		{Match{Method: []string{""}}, "method[0]"},
		{Match{Method: []string{"GET,POST"}}, "method[0]"},
		{Match{Path: "v1"}, "path"},
		{Match{Path: "/v1?x=1"}, "path"},
		{Match{Path: "/v1/*"}, "path"},
		{Match{GRPCMethod: "shop.Stock/Get"}, "grpcMethod"},
		{Match{GRPCMethod: "/shop.Stock"}, "grpcMethod"},
		{Match{GRPCMethod: "//Get"}, "grpcMethod"},
		{Match{GRPCMethod: "/shop.Stock/Get/x"}, "grpcMethod"},
		{Match{GRPCMethod: "/shop.*/Get"}, "grpcMethod"},
	} {
		var members []string
		newMatcher(c.match, func(member, _, _ string) { members = append(members, member) })
		if len(members) != 1 || members[0] != c.member {
			t.Errorf("%+v: problems with %v, want %s", c.match, members, c.member)
		}
	}
}

// What net/http sends for a URL is what must be matched.
func TestMatchTakesRequestsAsTheyAre(t *testing.T) {
	for _, address := range []string{"https://a.example", "https://a.example/",
		"https://a.example?x=1",
		"https://A.example:443/v1/search%2Fx", "https://a.example/a b",
		"https://a.example//v1/é"} {
		r, err := http.NewRequest("", address, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := Match{Host: "a.example:443", Method: []string{"GET"}, Path: "/"}
		if !fits(t, m, r.URL.Scheme, r.URL.Host, r.Method, r.URL.EscapedPath(), "") {
			t.Errorf("%s is not matched", address)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	m := newMatcher(Match{Host: "*.example.com:443", Method: []string{"GET"}, Path: "/v1/search"},
		func(string, string, string) { t.Error("not understood") })
	for _, path := range []string{"/v1/search", "/v1/search/x/", "/.well-known/x..y/...", "/"} {
		allocs := testing.AllocsPerRun(100, func() {
			call := newSubject("https", "api.example.com", "GET", path, "")
			m.fits(&call)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", path, allocs)
		}
	}
}

func FuzzCanonicalPath(f *testing.F) {
	for _, seed := range []string{"", "/", "/a/b/", "//a/./b/../%63", "/%2e%2e/%2F%25", "/%", "*",
		"/%2", "/..."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		got := canonicalPath(escaped)
		if again := canonicalPath(got); again != got {
			t.Fatalf("%q becomes %q, and that %q", escaped, got, again)
		}
		if got != "" && (got[0] != '/' || strings.HasSuffix(got, "/")) {
			t.Fatalf("%q becomes %q", escaped, got)
		}
		// Where no encoded slash is about, the standard library must agree. It keeps dots that are
		// cut off here only below the root, so the path is rooted first.
		plain, err := url.PathUnescape(escaped)
		if err != nil || strings.Contains(strings.ToUpper(escaped), "%2F") {
			return
		}
		want := strings.TrimSuffix(path.Clean("/"+plain), "/")
		if back := strings.ReplaceAll(got, "%25", "%"); back != want {
			t.Fatalf("%q becomes %q, and path.Clean says %q", escaped, got, want)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	m := newMatcher(Match{Host: "api.example.com", Path: "/v1/search"}, func(string, string,
		string) {
	})
	for b.Loop() {
		call := newSubject("https", "api.example.com", "GET", "/v1/search/items", "")
		m.fits(&call)
	}
}
