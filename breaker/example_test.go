package breaker_test

import (
	"errors"
	"fmt"

	"github.com/tether-go/tether/breaker"
)

func send() breaker.Result { return breaker.Success }

// The snippet that the package documentation opens with.
func Example() {
	call := func() error {
		b, err := breaker.New(breaker.Policy{}, breaker.Options{})
		if err != nil {
			return err
		}
		ticket, err := b.Allow()
		if err != nil {
			return err // errors.Is(err, breaker.ErrOpen): nothing was sent
		}
		ticket.Done(send()) // breaker.Success, breaker.Failure or breaker.Ignored
		return nil
	}
	fmt.Println(call())
	// Output: <nil>
}

func ExampleNew() {
	b, err := breaker.New(breaker.Policy{ConsecutiveFailures: 2}, breaker.Options{
		Observe: func(e breaker.Event) { fmt.Println(e.From, "to", e.To, "after", e.Cause) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		_ = b.Do(func() error { return errors.New("connection refused") })
	}
	fmt.Println(b.State())
	// Output:
	// closed to open after consecutive failures
	// open
}

func ExampleBreaker_Do() {
	b, err := breaker.New(breaker.Policy{ConsecutiveFailures: 1}, breaker.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	down := func() error { return errors.New("connection refused") }
	fmt.Println(b.Do(down))
	err = b.Do(down)
	var open *breaker.OpenError
	if errors.As(err, &open) {
		fmt.Println(err, "- it has a time to come back:", !open.RetryAt.IsZero())
	}
	// Output:
	// connection refused
	// breaker: open - it has a time to come back: true
}
