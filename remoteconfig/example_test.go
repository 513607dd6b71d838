package remoteconfig_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing/fstest"

	"github.com/tether-go/tether/remoteconfig"
)

// printer is a target that prints what it is given.
type printer struct{}

func (printer) Apply(document []byte) ([]string, error) {
	fmt.Printf("%s\n", document)
	return nil, nil
}

func Example() {
	embedded := fstest.MapFS{"tether.json": {Data: []byte(`{"document": "shop", "version": 1}`)}}
	ctx, cancel := context.WithCancel(context.Background())
	watcher, err := remoteconfig.New(
		remoteconfig.HTTP{URL: "https://config.example.com/shop.json"}, printer{},
		remoteconfig.Options{
			Default: remoteconfig.FS(embedded, "tether.json"),
			Observe: func(event remoteconfig.Event) {
				fmt.Println(event.Kind, event.Version)
				cancel()
			},
		})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(watcher.Run(ctx))
	// Output:
	// {"document": "shop", "version": 1}
	// applied 1
	// context canceled
}

// A web server publishes a document, and a short-lived program fetches it.
func ExampleNew() {
	server := httptest.NewServer(remoteconfig.Handler(func() []byte {
		return []byte(`{"document": "shop", "version": 7, "pollInterval": "60s"}`)
	}))
	defer server.Close()
	source := remoteconfig.HTTP{URL: server.URL}
	watcher, err := remoteconfig.New(source, printer{}, remoteconfig.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := watcher.FetchOnce(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println("applied version", watcher.Status().Applied)
	// Output:
	// {"document": "shop", "version": 7, "pollInterval": "60s"}
	// applied version 7
}

// A program that is started again knows what was in force before it asks anybody.
func ExampleWatcher_Load() {
	server := httptest.NewServer(remoteconfig.Handler(func() []byte {
		return []byte(`{"document": "shop", "version": 7}`)
	}))
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	start := func() *remoteconfig.Watcher {
		watcher, err := remoteconfig.New(remoteconfig.HTTP{URL: server.URL}, printer{},
			remoteconfig.Options{CacheDir: dir})
		if err != nil {
			panic(err)
		}
		return watcher
	}
	fmt.Println(start().FetchOnce(context.Background()))
	server.Close()
	fmt.Println(start().Load(context.Background()))
	// Output:
	// {"document": "shop", "version": 7}
	// <nil>
	// {"document": "shop", "version": 7}
	// <nil>
}

// A program that was built with a ring of keys takes what they have signed, and nothing else. Both files
// are made by tetherctl.
func ExampleTrust() {
	ring, err := os.ReadFile("testdata/ring1.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, published := range []string{"testdata/shop.signed.json", "testdata/shop.json"} {
		watcher, err := remoteconfig.New(remoteconfig.File(published), printer{}, remoteconfig.Options{
			Trust: remoteconfig.Trust{Mode: remoteconfig.Enforced, Ring: ring},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		err = watcher.FetchOnce(context.Background())
		fmt.Println(watcher.Status().Proof, err)
	}
	// Output:
	// {"schema": 1, "document": "shop", "version": 7}
	// {1 [alice]} <nil>
	// {0 []} remoteconfig: the document is not signed
}

func ExampleHandler() {
	handler := remoteconfig.Handler(func() []byte {
		return []byte(`{"document": "shop", "version": 7, "pollInterval": "60s"}`)
	})
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/config.json", nil))
	fmt.Println(answer.Code, answer.Header().Get("Cache-Control"))

	again := httptest.NewRequest(http.MethodGet, "/config.json", nil)
	again.Header.Set("If-None-Match", answer.Header().Get("ETag"))
	answer = httptest.NewRecorder()
	handler.ServeHTTP(answer, again)
	fmt.Println(answer.Code, answer.Body.Len())
	// Output:
	// 200 max-age=60
	// 304 0
}
