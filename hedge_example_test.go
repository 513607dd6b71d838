package tether_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// A search that has no answer after 10 ms is asked for once more, and the first answer counts.
func ExampleHedgingSettings() {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			<-r.Context().Done() // the slow one of many servers
		}
	}))
	defer server.Close()

	client, err := tether.NewClient(http.DefaultClient, tether.Options{Policy: policy.Document{Rules: []policy.Rule{{
		Name: "search", Match: policy.Match{Path: "/v1/search"},
		Call: policy.CallSettings{HedgingPolicy: &policy.HedgingSettings{HedgingDelay: policy.Ptr(10 * time.Millisecond)}},
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	resp, err := client.Get(server.URL + "/v1/search?q=tether")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, "after", client.Engine().Health().Targets[0].Hedges, "hedge")
	// Output: 200 after 1 hedge
}
