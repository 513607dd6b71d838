package memnet_test

import (
	"fmt"
	"io"
	"net/http"

	"github.com/tether-go/tether/internal/memnet"
)

func ExampleNew() {
	network := memnet.New()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello from", r.Host)
	})}
	defer server.Close()
	go server.Serve(network.Listen("api.example.com"))

	client := &http.Client{Transport: network.Transport()}
	resp, err := client.Get("http://api.example.com/v1/items")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Print(string(body))
	// Output: hello from api.example.com
}
