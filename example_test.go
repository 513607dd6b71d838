package tether_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

func busyOnce() *httptest.Server {
	busy := true
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if busy {
			busy = false
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
}

func Example() {
	server := busyOnce() // answers 502 once, then 200
	defer server.Close()

	client, err := tether.NewClient(server.Client(), tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

func ExampleNewClient() {
	server := busyOnce()
	defer server.Close()
	cfg := policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{
		AttemptTimeout: policy.Ptr(2 * time.Second),
	}}}
	client, err := tether.NewClient(server.Client(), tether.Options{Policy: cfg, Observe: func(e tether.Event) {
		fmt.Println(e.Kind)
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output:
	// retry
	// 200 OK
}

func ExampleNew() {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	query := tether.Call{Host: "orders-db", CallOptions: tether.CallOptions{Idempotent: true}}
	err = engine.Do(context.Background(), query, func(ctx context.Context, p *tether.Permit) tether.Outcome {
		if p.Attempt() == 1 {
			return tether.Outcome{Class: tether.Transient, Err: errors.New("connection reset")}
		}
		return tether.Outcome{Class: tether.Healthy}
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleExplain() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer server.Close()
	client, err := tether.NewClient(server.Client(), tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := tether.WithCall(context.Background(), tether.CallOptions{Explained: true})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err == nil {
		defer resp.Body.Close()
	}
	if story, ok := tether.Explain(resp, err); ok {
		for i, attempt := range story.Attempts {
			fmt.Println(i+1, attempt.Status)
		}
		fmt.Println(story.NotRepeated) // a new client has one retry, and earns one in ten calls
	}
	// Output:
	// 1 502
	// 2 502
	// retry: budget spent
}

func ExampleEngine_Apply() {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := engine.Client(nil)
	_, err = engine.Apply([]byte(`{
		"schema": 1, "document": "shop-app", "version": 42,
		"kill": [{"name": "inc-4711", "match": {"host": "api.example.com", "path": "/v1/export"},
		          "until": "2100-01-01T00:00:00Z", "reason": "export is down"}]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Get("https://api.example.com/v1/export")
	var refused *tether.RejectedError
	fmt.Println(errors.As(err, &refused), refused.Stage, refused.ServerAsked, refused.Note)
	// Output: true kill switch true export is down
}

func ExampleEngine_Every() {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	sync := tether.Schedule{Every: time.Second, Target: "api.example.com"}
	err = engine.Every(ctx, "sync", sync, func(context.Context) {
		fmt.Println("one run")
		cancel() // an application does so when it ends
	})
	fmt.Println(err)
	// Output:
	// one run
	// context canceled
}
