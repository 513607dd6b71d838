package main

import (
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/tether-go/tether/policy"
)

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
		data, err := readLimited(name)
		if err != nil {
			fmt.Fprintln(stderr, "tetherctl:", err)
			worst = 2
			continue
		}
		cfg, status := parse(name, data, stdout, stderr)
		valid := status == 0
		if valid {
			warnings := lint(cfg, *clients, time.Now())
			for _, p := range warnings {
				fmt.Fprintf(stderr, "%s: warning: %s\n", place(name, p), said(p))
			}
			if *strict && len(warnings) > 0 {
				status = 1
			}
		}
		if valid && *release != "" {
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
		fmt.Fprintf(stderr, "%s: clients of %s: %s\n", place(name, policy.Problem{Path: d.path}), release, d.text)
	}
	return status
}

func runDiff(args []string, stdout, stderr io.Writer) int {
	if len(args) != 2 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	before, status := read(args[0], io.Discard, stderr)
	if status != 0 {
		return status
	}
	after, status := read(args[1], io.Discard, stderr)
	if status != 0 {
		return status
	}
	for _, line := range diff(before, after) {
		fmt.Fprintln(stdout, line)
	}
	return 0
}
