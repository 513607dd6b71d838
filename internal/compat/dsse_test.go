package compat

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// dsseKey is a key file of tetherctl's, as the other library knows keys.
type dsseKey struct {
	id  string
	key ed25519.PrivateKey
}

func (k dsseKey) KeyID() (string, error)   { return k.id, nil }
func (k dsseKey) Public() crypto.PublicKey { return k.key.Public() }

func (k dsseKey) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(k.key, data), nil
}

func (k dsseKey) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(k.key.Public().(ed25519.PublicKey), data, sig) {
		return errors.New("no")
	}
	return nil
}

// TestDSSE has the envelope library of in-toto verify what tetherctl signs, and tetherctl what that
// library signs. The command runs as its users run it.
func TestDSSE(t *testing.T) {
	const payloadType = "application/vnd.tether.config.v1+json"
	const document = `{"schema": 1, "document": "shop", "version": 7}`
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	command := func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Stderr = t.Output()
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", args[0], err)
		}
		return out
	}
	put := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tetherctl := path("tetherctl")
	command("go", "build", "-o", tetherctl, "github.com/tether-go/tether/cmd/tetherctl")

	rotate := []string{"rotate", "-document", "shop", "-threshold", "2"}
	var keys []string
	var signers []dsse.Signer
	var verifiers []dsse.Verifier
	for _, id := range []string{"a", "b"} {
		public := strings.TrimSpace(string(command(tetherctl, "keygen", path(id))))
		keys = append(keys, "-key", id+"="+path(id))
		rotate = append(rotate, "-add", id+"="+public)
		k := dsseKey{id, readPrivate(t, path(id))}
		signers, verifiers = append(signers, k), append(verifiers, k)
	}
	ring := command(tetherctl, append(rotate, keys...)...)
	put("ring", ring)
	put("document", []byte(document))
	signs := append(append([]string{"sign", "-ring", path("ring")}, keys...), path("document"))

	// Ours, by them.
	verifier, err := dsse.NewMultiEnvelopeVerifier(2, verifiers...)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"document": command(tetherctl, signs...), "ring": ring} {
		var ours dsse.Envelope
		if err := json.Unmarshal(data, &ours); err != nil {
			t.Fatal(err)
		}
		if accepted, err := verifier.Verify(t.Context(), &ours); err != nil || len(accepted) != 2 {
			t.Errorf("our %s: they accept %v, %v", name, accepted, err)
		}
		ours.PayloadType += "x"
		if _, err := verifier.Verify(t.Context(), &ours); err == nil {
			t.Errorf("our %s: they accept another type", name)
		}
	}

	// Theirs, by us.
	signer, err := dsse.NewEnvelopeSigner(signers...)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := signer.SignPayload(t.Context(), payloadType, []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	put("theirs", data)
	said := command(tetherctl, "verify", "-ring", path("ring"), path("theirs"))
	if !strings.Contains(string(said), "shop version 7 is signed under ring 1 by a, b") {
		t.Errorf("their document: we say %s", said)
	}
	theirs.Signatures = theirs.Signatures[:1]
	if data, err = json.Marshal(theirs); err != nil {
		t.Fatal(err)
	}
	put("theirs", data)
	if exec.CommandContext(t.Context(), tetherctl, "verify", "-ring", path("ring"), path("theirs")).Run() == nil {
		t.Error("their document with one signature: we accept it")
	}
}

func readPrivate(t *testing.T, name string) ed25519.PrivateKey {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}
