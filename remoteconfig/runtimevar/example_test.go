package runtimevar_test

import (
	"context"
	"fmt"

	"github.com/tether-go/tether/remoteconfig"
	"github.com/tether-go/tether/remoteconfig/runtimevar"

	_ "gocloud.dev/runtimevar/constantvar" // the driver
)

// printer stands for a *tether.Engine.
type printer struct{}

func (printer) Apply(document []byte) ([]string, error) {
	fmt.Printf("in force: %s\n", document)
	return nil, nil
}

func ExampleSource() {
	source := runtimevar.Source{URL: `constant://?decoder=string&val={"version":1}`}
	watcher, err := remoteconfig.New(source, printer{}, remoteconfig.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A program that runs on calls watcher.Run.
	if err := watcher.FetchOnce(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: in force: {"version":1}
}
