package tether_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/remoteconfig"
)

// A server publishes a document, and a client follows it.
func Example_remoteConfig() {
	server := httptest.NewServer(remoteconfig.Handler(func() []byte {
		return []byte(`{"schema":1,"document":"shop-app","version":42,
			"kill":[{"name":"inc-4711","match":{"host":"api.example.com","path":"/v1/export"},
			         "until":"2100-01-01T00:00:00Z","reason":"export is down"}]}`)
	}))
	defer server.Close()

	client, err := tether.NewClient(http.DefaultClient, tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	watcher, err := remoteconfig.New(remoteconfig.HTTP{URL: server.URL, Client: server.Client()},
		client.Engine(), remoteconfig.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A service runs `go watcher.Run(ctx)` instead, which goes on until ctx ends.
	if err := watcher.FetchOnce(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Get("https://api.example.com/v1/export")
	fmt.Println(client.Engine().Health().Version, errors.Is(err, tether.ErrKilled))
	// Output: 42 true
}

// Those who have the flag go to another server, which the application was built for.
func ExampleWithAttributes() {
	server := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) }))
	}
	old, next := server("the old one"), server("the new one")
	defer old.Close()
	defer next.Close()

	client, err := tether.NewClient(nil, tether.Options{
		Bounds: policy.Bounds{Routes: []policy.RouteBound{{Origin: next.URL}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	document := strings.ReplaceAll(`{"schema": 1, "document": "shop", "version": 1,
		"flags": {"flags": {"checkout-v2": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
			"targeting": {"if": [{"in": [{"var": "targetingKey"}, ["ada"]]}, "on", "off"]}}}},
		"rules": [{"match": {"path": "/checkout"}, "call": {"route": {"flag": "checkout-v2", "to": {"on": "ORIGIN"}}}}]}`,
		"ORIGIN", next.URL)
	if _, err := client.Engine().Apply([]byte(document)); err != nil {
		log.Fatal(err)
	}
	for _, user := range []string{"ada", "bob"} {
		ctx := tether.WithAttributes(context.Background(), flags.Attributes{flags.TargetingKey: user})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, old.URL+"/checkout", nil)
		if err != nil {
			log.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%s: %s", user, answer)
	}
	client.CloseIdleConnections()
	// Output:
	// ada: the new one
	// bob: the old one
}
