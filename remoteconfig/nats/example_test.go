package nats_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/tether-go/tether/remoteconfig"
	"github.com/tether-go/tether/remoteconfig/nats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Here no server listens: what was in force before stays so, and the next poll is at the usual time.
func ExampleSource() {
	source := nats.Source{URL: "nats://127.0.0.1:1", Bucket: "config", Key: "shop-app"}
	_, err := source.Fetch(context.Background(), "")
	var fault *remoteconfig.FetchError
	fmt.Println(errors.As(err, &fault), err)
	// Output: true nats: no answer: nats: no servers available for connection
}
