package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/tether-go/tether/internal/envelope"
)

// rotate makes the ring that follows another, or the first one of a document, and signs it with the
// keys at hand. What others have to sign yet is told, and done with sign.
func rotate(args []string, stdout, stderr io.Writer) error {
	var keys, add, remove list
	flags := flagsOf("rotate")
	flags.Var(&keys, "key", "")
	flags.Var(&add, "add", "")
	flags.Var(&remove, "remove", "")
	document := flags.String("document", "", "")
	threshold := flags.Int("threshold", 0, "")
	least := flags.Uint64("min-version", 0, "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 1 ||
		(flags.NArg() == 0) != (*document != "") {
		return errUsage
	}
	var old *envelope.Ring
	next := &envelope.Ring{Number: 1, Document: *document, Threshold: 1,
		Keys: map[string]ed25519.PublicKey{}}
	if flags.NArg() == 1 {
		var err error
		if old, err = readRing(flags.Arg(0)); err != nil {
			return err
		}
		next = &envelope.Ring{Number: old.Number + 1, Document: old.Document, Threshold: old.Threshold,
			MinVersion: old.MinVersion, Keys: maps.Clone(old.Keys)}
	}
	if err := change(next, old, add, remove); err != nil {
		return err
	}
	if *threshold != 0 {
		next.Threshold = *threshold
	}
	if *least != 0 && *least < next.MinVersion {
		return refuse("-min-version %d is below the ring's before, %d", *least, next.MinVersion)
	}
	next.MinVersion = max(next.MinVersion, *least)
	e, err := next.Envelope()
	if err != nil {
		return refuse("%w", err)
	}
	signers, err := readSigners(keys)
	if err != nil {
		return err
	}
	for _, s := range signers {
		if !next.Keys[s.id].Equal(s.public()) && (old == nil || !old.Keys[s.id].Equal(s.public())) {
			return refuse("neither ring has such a key %q", s.id)
		}
		e.Sign(s.id, s.key)
	}
	for _, ring := range []*envelope.Ring{old, next} {
		if ring != nil {
			if _, err := ring.Verify(e, envelope.RingType); err != nil {
				fmt.Fprintln(stderr, "tetherctl: not complete, go on with sign:", err)
			}
		}
	}
	return write(stdout, e)
}

// change adds and removes keys. An id never comes back for another key: signatures name keys by it.
func change(next, old *envelope.Ring, add, remove []string) error {
	for _, id := range remove {
		if _, there := next.Keys[id]; !there {
			return refuse("-remove %s: the ring has no such key", id)
		}
		delete(next.Keys, id)
	}
	for _, text := range add {
		id, encoded, _ := strings.Cut(text, "=")
		public, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil || len(public) != ed25519.PublicKeySize {
			return refuse("-add: write ID=PUBLIC, as keygen prints it") // without what was given: it may be a private key
		}
		_, taken := next.Keys[id]
		if old != nil && !taken {
			_, taken = old.Keys[id]
		}
		if taken {
			return refuse("-add %s: the id is taken", id)
		}
		for other, key := range next.Keys {
			if key.Equal(ed25519.PublicKey(public)) {
				return refuse("-add %s: that is the key %s", id, other)
			}
		}
		next.Keys[id] = public
	}
	return nil
}

func readRing(name string) (*envelope.Ring, error) {
	data, err := readLimited(name)
	if err != nil {
		return nil, err
	}
	ring, err := envelope.ReadRing(data)
	if err != nil {
		return nil, refuse("%s: %w", name, err)
	}
	return ring, nil
}
