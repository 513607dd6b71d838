// Tetherctl is the publisher's command: it checks documents before clients get them, and serves them.
//
//	tetherctl validate shop.json             # every mistake, with line, path and a hint
//	tetherctl validate -for v0.1 shop.json   # and what clients of that release make of it
//	tetherctl diff old.json new.json         # what a push changes, in words
//	tetherctl serve shop.json                # publishes it, and counts who has which version
//
// It tells what feature flags do before clients have them, of tether's documents and of flagd's:
//
//	tetherctl flags explain shop.json checkout-v2 -context '{"targetingKey": "user-17"}'   # part by part
//	tetherctl flags simulate shop.json checkout-v2 -n 100000                               # shares by variant
//
// It also makes keys and rings of keys, signs documents and checks their signatures: docs/signing.md
// has the story.
//
//	tetherctl keygen a.pem                                            # prints the public key
//	tetherctl rotate -document shop -add a=PUBLIC -key a=a.pem        # the first ring, or the next
//	tetherctl sign -key a=a.pem -ring ring1.json shop.json            # adds a signature
//	tetherctl verify -ring ring1.json signed.json                     # what a client would say
//
// The exit status is 0 if all is well, 1 if a document or a ring is refused, 2 if the command can't be carried
// out.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/tether-go/tether/internal/envelope"
	"github.com/tether-go/tether/policy"
)

const usage = `usage: tetherctl validate [-for VERSION] [-clients N] [-strict] FILE...
       tetherctl diff OLD NEW
       tetherctl serve [-addr HOST:PORT] [-every DURATION] [-log] FILE
       tetherctl flags explain FILE KEY [-context JSON]
       tetherctl flags simulate FILE KEY (-n N | -keys FILE) [-context JSON]
       tetherctl keygen FILE
       tetherctl rotate -document NAME | RING, with flags before RING:
                 [-add ID=PUBLIC]... [-remove ID]... [-key ID=FILE]... [-threshold N] [-min-version N]
       tetherctl sign -key ID=FILE... [-ring FILE]... DOCUMENT|ENVELOPE|RING
       tetherctl verify -ring RING [FILE]...
`

var (
	errUsage = errors.New("usage")
	errTold  = fmt.Errorf("%w, as was told", errRefused)
)

// maxFile is a little more than a document may have: what is longer is refused unread.
const maxFile = 1<<20 + 1

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "serve" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		return runServe(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "validate" {
		return runValidate(args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "diff" {
		return runDiff(args[1:], stdout, stderr)
	}
	commands := map[string]func(args []string, stdout, stderr io.Writer) error{
		"flags": flagsCommand, "keygen": keygen, "rotate": rotate, "sign": sign, "verify": verify}
	if len(args) > 0 && commands[args[0]] != nil {
		return exit(commands[args[0]](args[1:], stdout, stderr), stderr)
	}
	fmt.Fprint(stderr, usage)
	return 2
}

// exit tells an error and turns it into an exit status.
func exit(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errTold):
		return 1
	case errors.Is(err, errUsage):
		fmt.Fprint(stderr, usage)
		return 2
	}
	fmt.Fprintln(stderr, "tetherctl:", err)
	if errors.Is(err, errRefused) || errors.Is(err, envelope.ErrRing) {
		return 1
	}
	return 2
}

// read parses a file and says what is wrong with it.
func read(name string, stdout, stderr io.Writer) (policy.Document, int) {
	data, err := readLimited(name)
	if err != nil {
		fmt.Fprintln(stderr, "tetherctl:", err)
		return policy.Document{}, 2
	}
	return parse(name, data, stdout, stderr)
}

func parse(name string, data []byte, stdout, stderr io.Writer) (policy.Document, int) {
	cfg, notes, err := policy.Parse(data)
	for _, n := range notes {
		fmt.Fprintf(stderr, "%s: %s: %s\n", name, n.Path, n.Text)
	}
	var refused *policy.Error
	if errors.As(err, &refused) {
		for _, p := range refused.Problems {
			fmt.Fprintln(stderr, place(name, p)+": "+said(p))
		}
		return cfg, 1
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return cfg, 1
	}
	fmt.Fprintf(stdout, "%s: %s version %d is valid\n", name, cfg.Document, cfg.Version)
	return cfg, 0
}

// place is where a problem is, as editors understand it.
func place(name string, p policy.Problem) string {
	if p.Line > 0 {
		name = fmt.Sprintf("%s:%d", name, p.Line)
	}
	if p.Path != "" {
		name += ": " + p.Path
	}
	return name
}

func said(p policy.Problem) string {
	if p.Hint == "" {
		return p.Problem
	}
	return fmt.Sprintf("%s (%s)", p.Problem, p.Hint)
}
