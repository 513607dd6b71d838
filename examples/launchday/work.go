package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tether-go/tether"
)

const (
	workName   = "sync"
	workPeriod = 2 * time.Second
	calmPeriod = 30 * time.Second // what a document makes of it
)

// work has every client do its periodic work until ctx ends. It returns when all have stopped.
func (f *fleet) work(ctx context.Context) {
	var clients sync.WaitGroup
	defer clients.Wait()
	for client := range f.clients {
		clients.Go(func() {
			run := func(ctx context.Context) { _ = f.ask(ctx, client, syncPath) } // the server counts
			if f.engines == nil {
				workPlainly(ctx, run)
				return
			}
			schedule := tether.Schedule{Every: workPeriod, Target: f.backend.address}
			_ = f.engines[client].Every(ctx, workName, schedule, run) // it ends with ctx
		})
	}
}

// workPlainly runs at a fixed period, and is spared the worst: its first run is at a random time.
func workPlainly(ctx context.Context, run func(context.Context)) {
	first := time.Now().Add(rand.N(workPeriod))
	for n := time.Duration(0); sleepUntil(ctx, first.Add(n*workPeriod)) == nil; n++ {
		run(ctx)
	}
}
