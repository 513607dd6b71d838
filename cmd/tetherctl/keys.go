package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(text string) error {
	*l = append(*l, text)
	return nil
}

// flagsOf returns the flags of one command. Their errors are told by whoever runs the command.
func flagsOf(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// keygen writes a new private key to a file that doesn't exist yet, and prints its public key, which
// is all that anybody else needs.
func keygen(args []string, stdout, _ io.Writer) error {
	if len(args) != 1 || strings.HasPrefix(args[0], "-") {
		return errUsage
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	fmt.Fprintln(stdout, base64.StdEncoding.EncodeToString(public))
	return nil
}

// signer is a private key and the id that rings know it by.
type signer struct {
	id  string
	key ed25519.PrivateKey
}

func (s signer) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// readSigners reads keys given as ID=FILE. What may be the key itself isn't said again.
func readSigners(given []string) (signers []signer, err error) {
	for _, text := range given {
		id, name, ok := strings.Cut(text, "=")
		if !ok || id == "" || name == "" {
			return nil, errors.New("-key: write ID=FILE")
		}
		key, err := readKey(name)
		if err != nil && mayBeKey(name) {
			err = fmt.Errorf("-key %s: that is no file, but perhaps a key: write ID=FILE", id)
		}
		if err != nil {
			return nil, err
		}
		signers = append(signers, signer{id, key})
	}
	return signers, nil
}

func mayBeKey(text string) bool {
	bare := strings.TrimRight(text, "=")
	_, err := base64.RawStdEncoding.DecodeString(bare)
	return strings.Contains(text, "PRIVATE KEY") || len(bare) > ed25519.SeedSize && err == nil
}

// readKey reads a private key as keygen or openssl writes it.
func readKey(name string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 { // Windows tells 0666 for all
		return nil, fmt.Errorf("%s: others may read this private key: chmod 600", name)
	}
	data, err := readLimited(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s: not a private key in PEM (PKCS #8)", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok { // the cause's text is left out: it may show a part of the key
		return nil, fmt.Errorf("%s: not an Ed25519 private key", name)
	}
	return key, nil
}

// readLimited reads a file, or the standard input for "-", but not much more than a document or a key may have.
func readLimited(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, maxFile))
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile))
}
