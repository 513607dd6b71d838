package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/tether-go/tether/remoteconfig"
	"github.com/tether-go/tether/remoteconfig/etcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Here no server listens: what was in force before stays so, and the next poll is at the usual time.
func ExampleSource() {
	source := etcd.Source{
		Config: clientv3.Config{Endpoints: []string{"127.0.0.1:1"}},
		Key:    "/tether/shop-app",
	}
	_, err := source.Fetch(context.Background(), "")
	var fault *remoteconfig.FetchError
	fmt.Println(err != nil, errors.As(err, &fault))
	// Output: true true
}
