package remoteconfig

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestSameHost(t *testing.T) {
	own := errors.New("own rule")
	tests := []struct {
		from, to string
		own      error
		want     error
	}{
		{"https://a.example/x", "https://A.example/y", nil, nil},
		{"http://a.example/x", "https://a.example/x", nil, nil},
		{"https://a.example/x", "http://a.example/x", nil, ErrRedirect},
		{"https://a.example/x", "https://a.example.evil/x", nil, ErrRedirect},
		{"https://a.example/x", "https://a.example/y", own, own},
	}
	for _, test := range tests {
		check := sameHost(func(*http.Request, []*http.Request) error { return test.own })
		via := []*http.Request{httptest.NewRequest(http.MethodGet, test.from, nil)}
		err := check(httptest.NewRequest(http.MethodGet, test.to, nil), via)
		if !errors.Is(err, test.want) {
			t.Errorf("from %s to %s: %v, want %v", test.from, test.to, err, test.want)
		}
	}
}
