package remoteconfig

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/memnet"
)

func TestSameOrigin(t *testing.T) {
	own := errors.New("own rule")
	tests := []struct {
		from, to string
		own      error
		want     error
	}{
		{"https://a.example/x", "https://A.example/y", nil, nil},
		{"https://a.example/x", "https://a.example:443/y", nil, nil},
		{"http://a.example:80/x", "http://a.example/y", nil, nil},
		{"http://a.example:8080/x", "http://a.example:8080/y", nil, nil},
		{"http://a.example/x", "https://a.example/x", nil, nil},
		{"http://a.example:80/x", "https://a.example:443/x", nil, nil},
		{"http://a.example:8080/x", "https://a.example/x", nil, ErrRedirect},
		{"http://a.example/x", "https://a.example:8443/x", nil, ErrRedirect},
		{"http://a.example/x", "http://a.example:8080/x", nil, ErrRedirect},
		{"http://a.example/x", "http://a.example:443/x", nil, ErrRedirect},
		{"https://a.example/x", "https://a.example:8443/x", nil, ErrRedirect},
		{"https://a.example/x", "https://a.example:80/x", nil, ErrRedirect},
		{"https://a.example/x", "http://a.example/x", nil, ErrRedirect},
		{"https://a.example/x", "http://a.example:443/x", nil, ErrRedirect},
		{"https://a.example/x", "https://a.example.evil/x", nil, ErrRedirect},
		{"https://a.example/x", "https://a.example/y", own, own},
		{"https://a.example/x", "https://a.example/x", nil, errLoop},
		{"https://a.example/x?v=1", "https://a.example/x?v=2", nil, nil},
	}
	for _, test := range tests {
		check := sameOrigin(func(*http.Request, []*http.Request) error { return test.own })
		via := []*http.Request{httptest.NewRequest(http.MethodGet, test.from, nil)}
		err := check(httptest.NewRequest(http.MethodGet, test.to, nil), via)
		if !errors.Is(err, test.want) {
			t.Errorf("from %s to %s: %v, want %v", test.from, test.to, err, test.want)
		}
	}
}

// TestNoWayBackFromHTTPS: a chain that has come to https stays there.
func TestNoWayBackFromHTTPS(t *testing.T) {
	at := func(url string) *http.Request { return httptest.NewRequest(http.MethodGet, url, nil) }
	via := []*http.Request{at("http://a.example/x"), at("https://a.example/x")}
	if err := sameOrigin(nil)(at("http://a.example/y"), via); !errors.Is(err, ErrRedirect) {
		t.Error(err)
	}
	if err := sameOrigin(nil)(at("https://a.example/y"), via); err != nil {
		t.Error(err)
	}
}

// TestRedirectLoopCostsNoMore: a server that redirects to where the client has been is asked once for
// each address. (law 9)
func TestRedirectLoopCostsNoMore(t *testing.T) {
	for location, want := range map[string][]string{
		"/a":       {"/a"},
		"/a#again": {"/a"},
		"/b":       {"/a", "/b"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked []string
			transport, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.Path)
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusFound)
			}))
			defer transport.CloseIdleConnections()
			source := HTTP{URL: url + "/a", Client: &http.Client{Transport: transport, Timeout: time.Minute}}
			_, err := source.Fetch(t.Context(), "")
			if !errors.Is(err, errLoop) || !slices.Equal(asked, want) {
				t.Errorf("to %s: %v, %q", location, err, asked)
			}
		})
	}
}
