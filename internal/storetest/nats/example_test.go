package nats_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tether-go/tether/remoteconfig"
	"github.com/tether-go/tether/remoteconfig/nats"
)

// printer stands for a *tether.Engine.
type printer struct{}

func (printer) Apply(document []byte) ([]string, error) {
	fmt.Printf("in force: %s\n", document)
	return nil, nil
}

func Example() {
	url, stop := serve(`{"version": 1}`)
	defer stop()

	source := nats.Source{URL: url, Bucket: "config", Key: "shop-app"}
	watcher, err := remoteconfig.New(source, printer{}, remoteconfig.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A program that runs on calls watcher.Run.
	if err := watcher.FetchOnce(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: in force: {"version": 1}
}

// serve is a server with one document in a bucket. Errors show as an output that isn't there.
func serve(document string) (url string, stop func()) {
	dir, _ := os.MkdirTemp("", "")
	instance, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoSigs: true})
	if err != nil {
		return "", func() {}
	}
	instance.Start()
	instance.ReadyForConnections(10 * time.Second)
	if conn, err := client.Connect(instance.ClientURL()); err == nil {
		defer conn.Close()
		js, _ := jetstream.New(conn)
		ctx := context.Background()
		kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "config"})
		if err == nil {
			_, _ = kv.PutString(ctx, "shop-app", document)
		}
	}
	return instance.ClientURL(), func() {
		instance.Shutdown()
		instance.WaitForShutdown()
		_ = os.RemoveAll(dir)
	}
}
