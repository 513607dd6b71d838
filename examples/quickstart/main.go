// Quickstart wraps an HTTP client in one line and calls a server that says 503 once.
//
//	go run ./examples/quickstart
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"

	"github.com/tether-go/tether"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	server := httptest.NewServer(busyOnce())
	defer server.Close()

	// The wrap: the zero Document has every protection on, and the client stays an *http.Client.
	client, err := tether.NewClient(http.DefaultClient, tether.Options{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "one call to client.Get")
	resp, err := client.Get(server.URL)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the caller got: %s, %s\n", resp.Status, body)
	fmt.Fprintln(out, "attempts the server saw:", resp.Header.Get("Attempts-Seen"))
	return nil
}

// busyOnce answers the first request with 503 and every later one with 200.
func busyOnce() http.Handler {
	var seen atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := seen.Add(1)
		w.Header().Set("Attempts-Seen", fmt.Sprint(n))
		if n == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "hello")
	})
}
