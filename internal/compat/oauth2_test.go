package compat_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/breaker"
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

// tokens is a server of tokens beside the one that they are for.
type tokens struct {
	*backend
	wrapped *http.Client // reaches both, in turn
	refuse  *atomic.Int32
	engine  *tether.Engine
	config  *oauth2.Config
	url     string // of what the tokens are for
	base    http.RoundTripper
}

// withTokens runs a test with a server that gives out tokens on /token and wants them elsewhere.
func withTokens(t *testing.T, style oauth2.AuthStyle, test func(t *testing.T, s *tokens)) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{backend: &backend{healthy: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"access_token":"fresh","token_type":"Bearer",
				"refresh_token":"next","expires_in":3600}`)
		})}}
		transport, url, refuse := refusable(t, s.backend)
		s.base, s.refuse, s.engine = transport, refuse, engine(t, tether.Options{})
		s.wrapped = s.engine.Client(&http.Client{Transport: transport}).Client
		s.url = url + "/api"
		s.config = &oauth2.Config{ClientID: "id", ClientSecret: "not one",
			Endpoint: oauth2.Endpoint{TokenURL: url + "/token", AuthStyle: style}}
		test(t, s)
	})
}

// client refreshes its tokens, and makes its calls, through the wrapped client.
func (s *tokens) client(t *testing.T) *http.Client {
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, s.wrapped)
	return s.config.Client(ctx, &oauth2.Token{RefreshToken: "first"})
}

// TestTokenPostIsNotRepeated: a refresh token may be good for one use, so nobody may send it twice
// whose first use may have arrived. One that never left is sent.
func TestTokenPostIsNotRepeated(t *testing.T) {
	for name, fail := range map[string]failure{"503": status(503), "500": status(500), "hangs up": hangUp} {
		t.Run(name, func(t *testing.T) {
			withTokens(t, oauth2.AuthStyleInParams, func(t *testing.T, s *tokens) {
				s.fails(fail)
				get := sends(s.client(t).Do, http.MethodGet, s.url)
				fails(t, get)
				if seen := s.arrived(t, 1); seen[0].path != "/token" {
					t.Errorf("%s was asked for", seen[0].path)
				}
				s.fails()
				works(t, get)
				seen := s.arrivals()
				if len(seen) != 2 || seen[1].header.Get("Authorization") != "Bearer fresh" {
					t.Errorf("arrived: %v", seen)
				}
			})
		})
	}
	t.Run("refused", func(t *testing.T) {
		withTokens(t, oauth2.AuthStyleInParams, func(t *testing.T, s *tokens) {
			s.refuse.Store(1)
			works(t, sends(s.client(t).Do, http.MethodGet, s.url))
			if n := len(s.arrivals()); n != 2 {
				t.Errorf("%d requests arrived, want the token's and the call's", n)
			}
		})
	})
}

// TestTokenProbe: where the style of authentication isn't set, oauth2 itself posts a second time after
// any failure. That is its doing: the wrapper adds nothing to it.
func TestTokenProbe(t *testing.T) {
	withTokens(t, oauth2.AuthStyleAutoDetect, func(t *testing.T, s *tokens) {
		s.failsForever(status(503))
		fails(t, sends(s.client(t).Do, http.MethodGet, s.url))
		if n := len(s.arrivals()); n != 2 {
			t.Errorf("%d requests arrived, want oauth2's two", n)
		}
	})
}

// TestTokenHold: the token server's Retry-After is kept, and its refusal is found.
func TestTokenHold(t *testing.T) {
	withTokens(t, oauth2.AuthStyleInParams, func(t *testing.T, s *tokens) {
		s.fails(notBefore)
		client := s.client(t)
		get := sends(client.Do, http.MethodGet, s.url)
		fails(t, get)
		works(t, get)
		seen := s.arrivals()
		if gap := seen[1].at.Sub(seen[0].at); len(seen) != 3 || gap < 5*time.Second {
			t.Errorf("%d requests arrived, the second after %v", len(seen), gap)
		}
		apply(t, s.engine, kill)
		if err := get(t.Context(), ""); !isKilled(err) {
			t.Errorf("%v hides the refusal", err)
		}
		if err := sends(s.client(t).Do, http.MethodGet, s.url)(t.Context(), ""); !isKilled(err) {
			t.Errorf("%v hides the refusal of the token", err)
		}
	})
}

// TestUsedUpToken: a refusal of the token is an answer. It costs one request a call, and is not held
// against the server.
func TestUsedUpToken(t *testing.T) {
	withTokens(t, oauth2.AuthStyleInParams, func(t *testing.T, s *tokens) {
		s.failsForever(status(400)) // invalid_grant
		client := s.client(t)
		for range 10 {
			err := sends(client.Do, http.MethodGet, s.url)(t.Context(), "")
			var retrieve *oauth2.RetrieveError
			if !errors.As(err, &retrieve) {
				t.Errorf("%v hides the token server's answer", err)
			}
		}
		s.arrived(t, 10)
		if state := s.engine.Health().Targets[0].Breaker; state != breaker.Closed {
			t.Errorf("the breaker is %s", state)
		}
	})
}
