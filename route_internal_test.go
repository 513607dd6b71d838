package tether

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
)

type deadAt string

func (host deadAt) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == string(host) {
		return nil, errors.New("dead")
	}
	return &http.Response{StatusCode: 200, Header: make(http.Header), Body: http.NoBody}, nil
}

// TestRoutesLetGoOfTargets: of both, however the call ends; who holds one keeps it from being forgotten.
func TestRoutesLetGoOfTargets(t *testing.T) {
	for _, dead := range []deadAt{"v2.example", "api.example", "neither"} {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{Flags: []byte(`{"flags":{"f":{"state":"ENABLED","variants":{"on":true},"defaultVariant":"on"}}}`)}
			cfg.Defaults.Call.Route = &RouteSettings{Flag: "f", To: map[string]string{"on": "https://v2.example"}}
			e, err := New(cfg, Options{Seed: 1, Bounds: Bounds{Routes: []RouteBound{{Origin: "https://v2.example"}}}})
			if err != nil {
				t.Fatal(err)
			}
			for range 40 {
				if resp, err := e.Client(&http.Client{Transport: dead}).Get("https://api.example"); err == nil {
					resp.Body.Close()
				}
			}
			if len(e.targets.byKey) == 0 {
				t.Error("no target was used")
			}
			for key, target := range e.targets.byKey {
				if n := target.users.Load(); n != 0 {
					t.Errorf("%s is dead: %s has %d users", dead, key.host, n)
				}
			}
		})
	}
}
