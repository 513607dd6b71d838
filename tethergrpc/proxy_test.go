package tethergrpc

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/retry"
)

// A proxy's answer in HTTP instead of gRPC is a code and no more: grpc-go drops its fields, so that
// Retry-After is not heard. When this fails, the package documentation can promise more.
func TestProxyAnswersInHTTP(t *testing.T) {
	var asked atomic.Int32
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	}), Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Close(); <-served }()
	options, err := DialOptions(newEngine(t, policy.Document{}, tether.Options{}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(listener.Addr().String(),
		append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		err := check(within(t, 10*time.Second), newClient(conn))
		if status.Code(err) != codes.Unavailable || !errors.Is(err, retry.ErrUnsafe) {
			t.Errorf("%v", err)
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the proxy was asked %d times", n)
	}
}
