// Tetherctl is the publisher's command: it checks documents before clients get them, and serves them.
//
//	tetherctl validate shop.json             # every mistake, with line, path and a hint
//	tetherctl validate -for v0.1 shop.json   # and what clients of that release make of it
//	tetherctl diff old.json new.json         # what a push changes, in words
//	tetherctl serve shop.json                # publishes it, and counts who has which version
//
// The exit status is 0 if all is well, 1 if a document is refused, 2 if the command can't be carried
// out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/tether-go/tether"
)

const usage = `usage: tetherctl validate [-for VERSION] [-clients N] [-strict] FILE...
       tetherctl diff OLD NEW
       tetherctl serve [-addr HOST:PORT] [-every DURATION] [-log] FILE
`

// maxFile is a little more than a document may have: what is longer is refused unread.
const maxFile = 1<<20 + 1

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch name, args := args[0], args[1:]; name {
		case "validate":
			return runValidate(args, stdout, stderr)
		case "diff":
			return runDiff(args, stdout, stderr)
		case "serve":
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			return runServe(ctx, args, stdout, stderr)
		}
	}
	fmt.Fprint(stderr, usage)
	return 2
}

// options returns the flags of a command, whose mistakes are told with its usage.
func options(name string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet("tetherctl "+name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	return flags
}

func runValidate(args []string, stdout, stderr io.Writer) int {
	flags := options("validate", stderr)
	release := flags.String("for", "", "say too what clients of that `VERSION` make of the document")
	clients := flags.Int("clients", 1_000_000, "how many clients there are or will be, for the advice")
	strict := flags.Bool("strict", false, "refuse documents that there is a warning about")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 || *clients < 1 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	worst := 0
	for _, name := range flags.Args() {
		cfg, data, status := read(name, stdout, stderr)
		if status == 0 {
			warnings := lint(cfg, *clients, time.Now())
			for _, p := range warnings {
				fmt.Fprintf(stderr, "%s: warning: %s\n", place(name, p), said(p))
			}
			if *strict && len(warnings) > 0 {
				status = 1
			}
		}
		if status < 2 && *release != "" {
			status = max(status, compare(name, *release, data, stderr))
		}
		worst = max(worst, status)
	}
	return worst
}

// compare says what clients of an earlier release make of a document otherwise than those of today.
func compare(name, release string, data []byte, stderr io.Writer) (status int) {
	differences, err := older(release, data)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 2
	}
	for _, d := range differences {
		if d.refused {
			d.text += ": they refuse the document, its kill switches excepted"
			status = 1
		}
		fmt.Fprintf(stderr, "%s: clients of %s: %s\n", place(name, tether.Problem{Path: d.path}), release, d.text)
	}
	return status
}

func runDiff(args []string, stdout, stderr io.Writer) int {
	if len(args) != 2 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	before, _, status := read(args[0], io.Discard, stderr)
	if status != 0 {
		return status
	}
	after, _, status := read(args[1], io.Discard, stderr)
	if status != 0 {
		return status
	}
	for _, line := range diff(before, after) {
		fmt.Fprintln(stdout, line)
	}
	return 0
}

// read parses a file and says what is wrong with it.
func read(name string, stdout, stderr io.Writer) (tether.Config, []byte, int) {
	data, err := readFile(name)
	if err != nil {
		fmt.Fprintln(stderr, "tetherctl:", err)
		return tether.Config{}, nil, 2
	}
	cfg, notes, err := tether.Parse(data)
	for _, n := range notes {
		fmt.Fprintf(stderr, "%s: %s: %s\n", name, n.Path, n.Text)
	}
	var refused *tether.ConfigError
	if errors.As(err, &refused) {
		for _, p := range refused.Problems {
			fmt.Fprintln(stderr, place(name, p)+": "+said(p))
		}
		return cfg, data, 1
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return cfg, data, 1
	}
	fmt.Fprintf(stdout, "%s: %s version %d is valid\n", name, cfg.Document, cfg.Version)
	return cfg, data, 0
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile))
}

// place is where a problem is, as editors understand it.
func place(name string, p tether.Problem) string {
	if p.Line > 0 {
		name = fmt.Sprintf("%s:%d", name, p.Line)
	}
	if p.Path != "" {
		name += ": " + p.Path
	}
	return name
}

func said(p tether.Problem) string {
	if p.Hint == "" {
		return p.Problem
	}
	return fmt.Sprintf("%s (%s)", p.Problem, p.Hint)
}
