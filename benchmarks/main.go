// Command benchmarks puts tether beside what Go programs use today, all in one process:
//
//	cd benchmarks && GOWORK=off go run .
//
// It prints Markdown: the time and the memory that one evaluation of a flag, one successful call over HTTP
// or gRPC, or one pass through a breaker, a retry or a limit costs with each. Each round measures every contender once,
// one after the other, and the least of all rounds counts: what else the machine does only ever adds.
// What holds on other machines is the ratios.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"time"
)

func main() {
	testing.Init() // the measuring is testing.Benchmark's
	rounds := flag.Int("rounds", 40, "how often each is measured; the least counts")
	each := flag.Duration("each", 10*time.Millisecond, "how long one measurement takes")
	flag.Parse()
	if err := run(os.Stdout, *rounds, *each); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, rounds int, each time.Duration) error {
	if rounds < 1 || rounds > 1000 || each <= 0 || each > 10*time.Second {
		return fmt.Errorf("%d rounds of %v: 1 to 1000 of at most 10 s each", rounds, each)
	}
	if err := flag.Set("test.benchtime", each.String()); err != nil {
		return err
	}
	tables, stop, err := everything()
	if err != nil {
		return err
	}
	defer stop()
	for _, t := range tables {
		if err := t.print(w, rounds); err != nil {
			return err
		}
	}
	return nil
}

// everything sets up all contenders. What stop ends is the SDKs' own: nothing of tether's needs it.
func everything() (tables []table, stop func(), err error) {
	contenders, stopFlags, err := flagContenders()
	if err != nil {
		return nil, nil, err
	}
	grpcCalls, stopGRPC, err := grpcTable()
	if err != nil {
		stopFlags()
		return nil, nil, err
	}
	stop = func() { stopFlags(); stopGRPC() }
	calls, err := callTable()
	if err == nil {
		var leaves []table
		leaves, err = leafTables()
		tables = append([]table{flagTable(contenders), calls, grpcCalls}, leaves...)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return tables, stop, nil
}
