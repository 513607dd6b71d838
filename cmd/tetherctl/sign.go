package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tether-go/tether/internal/envelope"
	"github.com/tether-go/tether/policy"
)

// errRefused means that a document or a ring isn't good enough: exit status 1.
var errRefused = errors.New("refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errRefused, fmt.Errorf(format, args...))
}

// sign puts a document into an envelope, or takes one that others have signed, and adds signatures.
// It signs nothing that clients would refuse.
func sign(args []string, stdout, stderr io.Writer) error {
	var keys, rings list
	flags := flagsOf("sign")
	flags.Var(&keys, "key", "")
	flags.Var(&rings, "ring", "")
	allow := flags.Bool("allow-unknown", false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 || len(keys) == 0 {
		return errUsage
	}
	signers, err := readSigners(keys)
	if err != nil {
		return err
	}
	e, err := readEnvelope(flags.Arg(0))
	if err != nil {
		return err
	}
	if len(rings) > 0 {
		if e.PayloadType == envelope.RingType {
			return refuse("a ring takes no -ring: it goes with documents")
		}
		e.Rings = nil
	}
	for _, name := range rings {
		ring, err := readEnvelope(name)
		if err != nil {
			return err
		}
		e.Rings = append(e.Rings, ring)
	}
	if err := signable(e, signers, flags.Arg(0), *allow, stderr); err != nil {
		return err
	}
	for _, s := range signers {
		e.Sign(s.id, s.key)
	}
	return write(stdout, e)
}

// signable tells why an envelope's content must not be signed by these, if so.
func signable(e *envelope.Envelope, signers []signer, name string, allow bool, stderr io.Writer) error {
	if e.PayloadType == envelope.RingType {
		_, err := envelope.ParseRing(e.Payload)
		return err
	}
	v := judge(e.Payload, nil)
	if v.tell(name, allow, stderr) != 0 {
		return refuse("%s is not signed", name)
	}
	for _, line := range effects(v.cfg, time.Now()) {
		fmt.Fprintf(stderr, "%s: %s\n", name, line)
	}
	if len(e.Rings) == 0 {
		fmt.Fprintln(stderr, "tetherctl: no -ring: whether these keys count was not checked")
		return nil
	}
	newest, err := newestOf(e.Rings)
	if err != nil {
		return err
	}
	for _, s := range signers {
		if err := counts(s, newest); err != nil {
			return err
		}
	}
	return fits(v.cfg, newest)
}

// newestOf follows rings from the first of them.
func newestOf(rings []*envelope.Envelope) (*envelope.Ring, error) {
	first, err := rings[0].Ring()
	if err != nil {
		return nil, err
	}
	return first.Follow(rings[1:], first)
}

// counts tells why a ring doesn't count a signer, if so.
func counts(s signer, ring *envelope.Ring) error {
	if ring.Keys[s.id].Equal(s.public()) {
		return nil
	}
	for id, key := range ring.Keys {
		if key.Equal(s.public()) {
			return refuse("clients will not count this signature: ring %d knows this key as %q, not %q: write -key %s=FILE",
				ring.Number, id, s.id, id)
		}
	}
	if ring.Keys[s.id] != nil {
		return refuse("clients will not count this signature: ring %d has another key %q: wrong key file", ring.Number, s.id)
	}
	return refuse("clients will not count this signature: ring %d has no such key %q", ring.Number, s.id)
}

// fits tells why clients that trust the ring would refuse a document that is valid in itself.
func fits(cfg policy.Document, ring *envelope.Ring) error {
	err := ring.Fits(cfg.Document, cfg.Version, 0)
	switch {
	case errors.Is(err, envelope.ErrOtherDocument):
		return refuse("clients will refuse: the document is %q and the ring is for %q", cfg.Document, ring.Document)
	case errors.Is(err, envelope.ErrOlder):
		return refuse("clients will refuse: version %d is below the ring's minVersion %d", cfg.Version, ring.MinVersion)
	}
	return err
}

// readEnvelope reads an envelope, or puts a bare document into one.
func readEnvelope(name string) (*envelope.Envelope, error) {
	data, err := readLimited(name)
	if err != nil {
		return nil, err
	}
	if !envelope.Is(data) {
		return &envelope.Envelope{PayloadType: envelope.DocumentType, Payload: data}, nil
	}
	e, err := envelope.Parse(data)
	if err == nil && e.PayloadType != envelope.DocumentType && e.PayloadType != envelope.RingType {
		err = envelope.ErrEnvelope
	}
	if err != nil {
		return nil, refuse("%s: %w", name, err)
	}
	return e, nil
}

func write(stdout io.Writer, e *envelope.Envelope) error {
	data, err := e.Marshal()
	if err == nil {
		_, err = fmt.Fprintf(stdout, "%s\n", data)
	}
	return err
}
