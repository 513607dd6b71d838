// Tetherctl is the publisher's command: it checks documents before clients get them, and serves them.
//
//	tetherctl validate shop.json             # what clients would refuse, skip, ignore or clamp, with a hint
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
// The commands judge a document as the clients of this release would. The exit status is 0 if all is well; 1 if clients
// refuse a document or a ring, skip a part of it, or don't know a member (unless -allow-unknown is given); 2 if the
// command can't be carried out.
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

const usage = `usage: tetherctl validate [-for VERSION] [-clients N] [-strict] [-allow-unknown] FILE...
       tetherctl diff [-allow-unknown] OLD NEW
       tetherctl serve [-addr HOST:PORT] [-every DURATION] [-log] FILE
       tetherctl flags explain FILE KEY [-context JSON]
       tetherctl flags simulate FILE KEY (-n N | -keys FILE) [-context JSON]
       tetherctl keygen FILE
       tetherctl rotate -document NAME | RING, with flags before RING:
                 [-add ID=PUBLIC]... [-remove ID]... [-key ID=FILE]... [-threshold N] [-min-version N]
       tetherctl sign -key ID=FILE... [-ring FILE]... [-allow-unknown] DOCUMENT|ENVELOPE|RING
       tetherctl verify -ring RING [-allow-unknown] [FILE]...
A FILE may be signed or bare, and - is the standard input (not of serve). The commands judge as the clients of this
release would: the exit status is 1 if clients refuse a document, skip a part of it, or don't know a member
(-allow-unknown: members for newer clients are told, and no error).
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
