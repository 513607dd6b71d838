package ratelimit_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tether-go/tether/ratelimit"
)

func ExampleNewGate() {
	gate, err := ratelimit.NewGate(ratelimit.Policy{}, ratelimit.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	gate.Ask()
	_, err = gate.Take(0)
	fmt.Println("before the hold:", err)

	until := gate.Hold(30 * time.Second) // a 503 with Retry-After: 30
	retryAt, err := gate.Take(0)
	fmt.Println("during the hold:", errors.Is(err, ratelimit.ErrHeld), retryAt.Equal(until))
	// Output:
	// before the hold: <nil>
	// during the hold: true true
}
