package pacing_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
)

func Example() {
	transport := http.NewFileTransport(http.Dir(".")) // in place of a server
	client := &http.Client{Transport: transport}
	gate, err := pacing.NewGate(pacing.Policy{}, pacing.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	gate.Ask()
	if retryAt, err := gate.Take(0); err != nil {
		fmt.Println("not before", retryAt, err)
		return
	}
	began := time.Now()
	resp, err := client.Get("file:///doc.go")
	switch {
	case err != nil:
		gate.Failed(pacing.Refused)
	case resp.StatusCode == http.StatusServiceUnavailable:
		gate.Hold(hint.ParseHeader(resp.Header, time.Now()).MinWait(resp.StatusCode))
	default:
		gate.Good(time.Since(began), 0)
		resp.Body.Close()
	}
	fmt.Println("paced:", gate.Paced())
	// Output: paced: false
}

func ExampleNewGate() {
	gate, err := pacing.NewGate(pacing.Policy{}, pacing.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	gate.Ask()
	_, err = gate.Take(0)
	fmt.Println("before the hold:", err)

	until := gate.Hold(30 * time.Second) // a 503 with Retry-After: 30
	retryAt, err := gate.Take(0)
	fmt.Println("during the hold:", errors.Is(err, pacing.ErrHeld), retryAt.Equal(until))
	// Output:
	// before the hold: <nil>
	// during the hold: true true
}
