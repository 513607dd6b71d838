package compat_test

import (
	"net/http"
	"testing"

	"golang.org/x/oauth2"
)

var fixedToken = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "not one"})

var oauth2Outside = subject{
	name:    "oauth2 outside",
	healthy: answersJSON,
	open: func(t *testing.T, wrapped *http.Client, url string) (read, write call) {
		signed := &oauth2.Transport{Source: fixedToken, Base: wrapped.Transport}
		return plain.open(t, &http.Client{Transport: signed}, url)
	},
}

var oauth2Inside = subject{
	name:    "oauth2 inside",
	healthy: answersJSON,
	open:    plain.open,
	inner: func(base http.RoundTripper) http.RoundTripper {
		return &oauth2.Transport{Source: fixedToken, Base: base}
	},
}
