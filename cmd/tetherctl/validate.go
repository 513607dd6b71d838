package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
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
	allow := flags.Bool("allow-unknown", false, "take members that only newer clients know")
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
		at, payload, signed, err := payloadOf(name, data)
		if err != nil {
			worst = max(worst, exit(err, stderr))
			continue
		}
		v := judge(payload, nil)
		status := v.tell(at, *allow, stderr)
		if len(v.refused) == 0 {
			_, err := proved(signed, v.cfg, nil)
			status = max(status, exit(err, stderr))
			for _, line := range effects(v.cfg, time.Now()) {
				fmt.Fprintf(stdout, "%s: %s\n", at, line)
			}
		}
		if status == 0 {
			fmt.Fprintf(stdout, "%s: %s version %d is valid\n", name, v.cfg.Document, v.cfg.Version)
			status = advise(at, v, *clients, *strict, stderr)
		}
		if len(v.refused) == 0 && *release != "" {
			status = max(status, compare(at, *release, payload, stderr))
		}
		worst = max(worst, status)
	}
	return worst
}

// advise warns of what would hurt so many clients.
func advise(name string, v verdict, clients int, strict bool, stderr io.Writer) (status int) {
	warnings := lint(v.cfg, clients, time.Now())
	for _, p := range warnings {
		fmt.Fprintf(stderr, "%s: warning: %s\n", place(name, p), said(p))
	}
	if strict && len(warnings)+len(v.clamped) > 0 {
		return 1
	}
	return 0
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
	flags := options("diff", stderr)
	allow := flags.Bool("allow-unknown", false, "take members that only newer clients know")
	if err := flags.Parse(args); err != nil || flags.NArg() != 2 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var names [2]string
	var payloads [2][]byte
	for i, name := range flags.Args() {
		data, err := readLimited(name)
		if err == nil {
			names[i], payloads[i], _, err = payloadOf(name, data)
		}
		if err != nil {
			return exit(err, stderr)
		}
	}
	before, _, err := policy.Parse(payloads[0])
	if err != nil {
		return judge(payloads[0], nil).tell(names[0], true, stderr)
	}
	v := judge(payloads[1], payloads[0])
	status := v.tell(names[1], *allow, stderr)
	if _, _, err := policy.Parse(payloads[1]); err != nil {
		return status
	}
	now := time.Now()
	known := effects(before, now)
	for _, line := range effects(v.cfg, now) {
		if !slices.Contains(known, line) {
			fmt.Fprintln(stdout, line)
		}
	}
	for _, line := range diff(before, v.cfg) {
		fmt.Fprintln(stdout, line)
	}
	return status
}
