package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tether-go/tether/internal/envelope"
)

// verify says of each file what a client would say that was built with the ring and starts now.
// Without files it says what the ring is.
func verify(args []string, stdout, stderr io.Writer) error {
	flags := flagsOf("verify")
	name := flags.String("ring", "", "")
	allow := flags.Bool("allow-unknown", false, "")
	if err := flags.Parse(args); err != nil || *name == "" {
		return errUsage
	}
	root, err := readRing(*name)
	if err != nil {
		return err
	}
	if flags.NArg() == 0 {
		fmt.Fprintf(stdout, "%s: ring %d of %s: %s\n", *name, root.Number, root.Document, describe(root))
	}
	var worst error
	for _, name := range flags.Args() {
		said, err := verifyFile(root, name, *allow, stdout, stderr)
		switch {
		case err == nil:
			fmt.Fprintf(stdout, "%s: %s\n", name, said)
		case errors.Is(err, errRefused):
			fmt.Fprintf(stderr, "%s: %v\n", name, err)
			worst = errTold
		default:
			return err
		}
	}
	return worst
}

func describe(ring *envelope.Ring) string {
	ids := slices.Sorted(maps.Keys(ring.Keys))
	return fmt.Sprintf("threshold %d of %d keys (%s), documents from version %d", ring.Threshold, len(ids),
		strings.Join(ids, ", "), ring.MinVersion)
}

func verifyFile(root *envelope.Ring, name string, allow bool, stdout, stderr io.Writer) (said string, err error) {
	data, err := readLimited(name)
	if err != nil {
		return "", err
	}
	e, err := envelope.Parse(data)
	if err != nil {
		return "", refuse("%w", err)
	}
	if e.PayloadType == envelope.RingType {
		ring, err := root.Follow([]*envelope.Envelope{e}, root)
		if err != nil {
			return "", refuse("%w", err)
		}
		if ring == root {
			return "", refuse("it does not follow ring %d", root.Number)
		}
		return fmt.Sprintf("ring %d of %s follows ring %d: %s", ring.Number, ring.Document, root.Number,
			describe(ring)), nil
	}
	ring, err := root.Follow(e.Rings, root)
	if err != nil {
		return "", refuse("%w", err)
	}
	signers, err := ring.Verify(e, envelope.DocumentType)
	if err != nil {
		return "", refuse("%w", err)
	}
	v := judge(e.Payload, nil)
	cfg, status := v.cfg, v.tell(name+" (payload)", allow, stderr)
	if status != 0 {
		return "", refuse("well signed, but clients won't take all of it")
	}
	if err := fits(cfg, ring); err != nil {
		return "", err
	}
	for _, line := range effects(cfg, time.Now()) {
		fmt.Fprintf(stdout, "%s: %s\n", name, line)
	}
	expiry := "never expires"
	if !cfg.Expires.IsZero() {
		expiry = "expires " + cfg.Expires.Format(time.RFC3339)
	}
	return fmt.Sprintf("%s version %d is signed under ring %d by %s (threshold %d), %s", cfg.Document,
		cfg.Version, ring.Number, strings.Join(signers, ", "), ring.Threshold, expiry), nil
}
