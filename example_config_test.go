package tether_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tether-go/tether"
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

	client, err := tether.NewClient(http.DefaultClient, tether.Config{}, tether.Options{})
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
