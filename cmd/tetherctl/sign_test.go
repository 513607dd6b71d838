package main

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/envelope"
	"github.com/tether-go/tether/remoteconfig"
)

// desk is a folder in which a publisher works.
type desk struct {
	t      *testing.T
	dir    string
	errors string // of the last command
}

// do runs a command whose words of the form @name are files in the folder; what it prints goes to
// the file into, if that isn't empty.
func (d *desk) do(want int, into, command string, more ...string) string {
	d.t.Helper()
	args := append(strings.Fields(command), more...)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "@", d.dir+string(filepath.Separator))
	}
	var out, errs bytes.Buffer
	if status := run(args, &out, &errs); status != want {
		d.t.Fatalf("%s: exit status %d, want %d\n%s", command, status, want, &errs)
	}
	d.errors = errs.String()
	if into != "" {
		d.put(into, out.String())
	}
	d.noSecret(command, out.String()+errs.String())
	return strings.TrimSpace(out.String())
}

func (d *desk) put(name, content string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// noSecret looks for a private key in what a command said.
func (d *desk) noSecret(command, said string) {
	d.t.Helper()
	files, _ := filepath.Glob(filepath.Join(d.dir, "*.pem"))
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			d.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); len(line) > 30 && !strings.HasPrefix(line, "-") &&
				strings.Contains(said, line) {
				d.t.Errorf("%s shows a private key", command)
			}
		}
	}
}

func (d *desk) says(text string) {
	d.t.Helper()
	if !strings.Contains(d.errors, text) {
		d.t.Errorf("it does not say %q but %q", text, d.errors)
	}
}

// newDesk has the keys a, b, c and x, and ring 1 with a and b, of which two must sign.
func newDesk(t *testing.T) (*desk, map[string]string) {
	t.Helper()
	d, public := &desk{t: t, dir: t.TempDir()}, map[string]string{}
	for _, id := range []string{"a", "b", "c", "x"} {
		public[id] = d.do(0, "", "keygen @"+id+".pem")
	}
	d.do(0, "ring1.json", fmt.Sprintf("rotate -document shop -threshold 2 -add a=%s -add b=%s "+
		"-key a=@a.pem -key b=@b.pem", public["a"], public["b"]))
	d.put("shop.json", document)
	return d, public
}

func TestCeremony(t *testing.T) {
	d, public := newDesk(t)
	// Two people sign, one after the other.
	d.do(0, "half.json", "sign -ring @ring1.json -key a=@a.pem @shop.json")
	d.do(1, "", "verify -ring @ring1.json @half.json")
	d.says("too few valid signatures")
	d.do(0, "v1.json", "sign -key b=@b.pem @half.json")
	if got := d.do(0, "", "verify -ring @ring1.json @v1.json"); !strings.HasSuffix(got,
		"shop version 1 is signed under ring 1 by a, b (threshold 2), never expires") {
		t.Error(got)
	}

	// The key a is lost: c comes in its place. Two of ring 1 must sign, so it still is at hand.
	d.do(0, "part.json", fmt.Sprintf("rotate -remove a -add c=%s -min-version 2 -key a=@a.pem -key b=@b.pem "+
		"@ring1.json", public["c"]))
	d.says("not complete")
	d.do(1, "", "verify -ring @ring1.json @part.json")
	d.do(0, "ring2.json", "sign -key c=@c.pem @part.json")
	if got := d.do(0, "", "verify -ring @ring1.json @ring2.json"); !strings.HasSuffix(got,
		"ring 2 of shop follows ring 1: threshold 2 of 2 keys (b, c), documents from version 2") {
		t.Error(got)
	}
	d.do(1, "", "verify -ring @ring2.json @ring1.json")
	if got := d.do(0, "", "verify -ring @ring2.json"); !strings.HasSuffix(got,
		"ring 2 of shop: threshold 2 of 2 keys (b, c), documents from version 2") {
		t.Error(got)
	}
	d.do(1, "", "verify -ring @part.json")

	const rings = " -ring @ring1.json -ring @ring2.json "
	d.do(1, "", "sign"+rings+"-key b=@b.pem @shop.json")
	d.says("below the ring's minVersion 2")
	d.put("shop.json", strings.Replace(document, `"version": 1`, `"version": 2, "expires": "2100-01-01T00:00:00Z"`, 1))
	d.do(1, "", "sign"+rings+"-key a=@a.pem @shop.json")
	d.says(`ring 2 has no such key "a"`)
	d.do(0, "v2.json", "sign"+rings+"-key b=@b.pem -key c=@c.pem @shop.json")
	for _, root := range []string{"@ring1.json", "@ring2.json"} {
		if got := d.do(0, "", "verify -ring "+root+" @v2.json"); !strings.HasSuffix(got,
			"version 2 is signed under ring 2 by b, c (threshold 2), expires 2100-01-01T00:00:00Z") {
			t.Error(got)
		}
	}
	d.do(1, "", "verify -ring @ring2.json @v1.json")
	d.says("too few valid signatures")

	// And a client that was launched with ring 1 takes both, in that order, and v1 never again.
	d.follows("v1.json", 1, nil)
	d.follows("v2.json", 2, nil)
	d.follows("v1.json", 2, remoteconfig.ErrRing)
}

// follows has a client of ring 1 read a file, as a new process with the cache of the last.
func (d *desk) follows(name string, version uint64, why error) {
	d.t.Helper()
	ring, err := os.ReadFile(filepath.Join(d.dir, "ring1.json"))
	if err != nil {
		d.t.Fatal(err)
	}
	published, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		d.t.Fatal(err)
	}
	d.put("published.json", string(published))
	engine, err := tether.New(tether.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	cache := filepath.Join(d.dir, "cache")
	w, err := remoteconfig.New(remoteconfig.File(filepath.Join(d.dir, "published.json")), engine,
		remoteconfig.Options{CacheDir: cache,
			Trust: remoteconfig.Trust{Mode: remoteconfig.Enforced, Ring: ring}})
	if err != nil {
		d.t.Fatal(err)
	}
	plans, _ := filepath.Glob(filepath.Join(cache, "plan-*"))
	for _, plan := range plans { // or the poll isn't due
		if err := os.Remove(plan); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := w.FetchOnce(d.t.Context()); !errors.Is(err, why) || engine.Health().Version != version {
		d.t.Errorf("%s: %v, version %d", name, err, engine.Health().Version)
	}
}

func TestSignRefuses(t *testing.T) {
	d, public := newDesk(t)
	d.do(0, "v1.json", "sign -ring @ring1.json -key a=@a.pem -key b=@b.pem @shop.json")
	d.put("wrong.json", strings.Replace(document, `"1s"`, `"fast"`, 1))
	d.put("other.json", strings.Replace(document, `"shop"`, `"till"`, 1))
	d.put("old.json", strings.Replace(document, `"version": 1`, `"version": 1, "expires": "1999-01-01T00:00:00Z"`, 1))
	d.put("garbage.pem", "-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n")
	if _, err := os.Stat(filepath.Join(d.dir, "a.pem")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		status        int
		command, says string
	}{
		{1, "sign -ring @ring1.json -key a=@a.pem @wrong.json", "is not a duration"},
		{1, "sign -ring @ring1.json -key a=@a.pem @other.json", "the ring is for"},
		{1, "sign -ring @ring1.json -key a=@a.pem @old.json", "expires: clients will refuse: the document has expired at 1999"},
		{1, "sign -ring @ring1.json -key a=@b.pem @shop.json", `ring 1 knows this key as "b", not "a": write -key b=FILE`},
		{1, "sign -ring @ring1.json -key x=@x.pem @shop.json", "no such key"},
		{1, "sign -ring @ring1.json -key a=@x.pem @shop.json", `ring 1 has another key "a"`},
		{1, "sign -ring @shop.json -key a=@a.pem @shop.json", "not a key ring"},
		{1, "sign -ring @ring1.json -key a=@a.pem @ring1.json", "takes no -ring"},
		{2, "sign -key a @shop.json", "ID=FILE"},
		{2, "sign -key a=@missing.pem @shop.json", "missing.pem"},
		{2, "sign -key a=@shop.json @shop.json", "not a private key"},
		{2, "sign -key a=@garbage.pem @shop.json", "not an Ed25519"},
		{2, "sign @shop.json", "usage"},
		{2, "keygen @a.pem", "exists"},
		{2, "keygen", "usage"},
		{2, "rotate -document shop @ring1.json", "usage"},
		{1, "rotate -document shop -key a=@a.pem", "threshold"},
		{1, "rotate -add a=" + public["c"] + " @ring1.json", "taken"},
		{1, "rotate -remove a -add a=" + public["c"] + " @ring1.json", "taken"},
		{1, "rotate -add c=" + public["a"] + " @ring1.json", "that is the key a"},
		{1, "rotate -add c=short @ring1.json", "ID=PUBLIC"},
		{1, "rotate -remove z @ring1.json", "no such key"},
		{1, "rotate -remove a @ring1.json", "threshold"},
		{1, "rotate -key x=@x.pem @ring1.json", "neither ring"},
		{1, "verify -ring @ring1.json @shop.json", "not signed"},
		{1, "verify -ring @ring1.json @v1.json @shop.json", "not signed"},
		{1, "verify -ring @v1.json @v1.json", "not a key ring"},
		{2, "verify @v1.json", "usage"},
		{2, "verify -ring @ring1.json @missing.json", "missing.json"},
	} {
		if d.do(test.status, "", test.command); !strings.Contains(d.errors, test.says) {
			t.Errorf("%s: it does not say %q but %q", test.command, test.says, d.errors)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	info, err := os.Stat(filepath.Join(d.dir, "a.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Chmod(filepath.Join(d.dir, "a.pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	d.do(2, "", "sign -key a=@a.pem @shop.json")
	d.says("others may read")
}

// TestExpiredVerifies: a document that was signed in time, and has expired since, is refused as clients would.
func TestExpiredVerifies(t *testing.T) {
	d, _ := newDesk(t)
	old := strings.Replace(document, `"version": 1`, `"version": 1, "expires": "1999-01-01T00:00:00Z"`, 1)
	e := &envelope.Envelope{PayloadType: envelope.DocumentType, Payload: []byte(old)}
	for _, id := range []string{"a", "b"} {
		key, err := readKey(filepath.Join(d.dir, id+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		e.Sign(id, key)
	}
	data, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	d.put("old.signed.json", string(data))
	d.do(1, "", "verify -ring @ring1.json @old.signed.json")
	d.says("old.signed.json (payload):2: expires: clients will refuse: the document has expired at 1999")
}

// TestOpenSSL signs with openssl what tetherctl would, with a key that openssl made.
func TestOpenSSL(t *testing.T) {
	if out, err := exec.Command("openssl", "version").Output(); err != nil || !bytes.HasPrefix(out, []byte("OpenSSL 3")) {
		t.Skip("no OpenSSL 3 here")
	}
	d := &desk{t: t, dir: t.TempDir()}
	path := func(name string) string { return filepath.Join(d.dir, name) }
	openssl := func(args ...string) []byte {
		t.Helper()
		out, err := exec.Command("openssl", args...).Output()
		if err != nil {
			t.Fatal(args, err)
		}
		return out
	}
	openssl("genpkey", "-algorithm", "ed25519", "-out", path("o.pem"))
	der, _ := pem.Decode(openssl("pkey", "-in", path("o.pem"), "-pubout"))
	encode := base64.StdEncoding.EncodeToString
	public := encode(der.Bytes[len(der.Bytes)-32:])
	if err := os.Chmod(path("o.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.do(0, "ring1.json", "rotate -document shop -add o="+public+" -key o=@o.pem")
	d.put("pae", string(envelope.PAE(envelope.DocumentType, []byte(document))))
	sig := openssl("pkeyutl", "-sign", "-rawin", "-inkey", path("o.pem"), "-in", path("pae"))
	d.put("v1.json", fmt.Sprintf(`{"payloadType": %q, "payload": %q, "signatures": [{"keyid": "o", "sig": %q}]}`,
		envelope.DocumentType, encode([]byte(document)), encode(sig)))
	d.do(0, "", "verify -ring @ring1.json @v1.json")
	if got := d.do(0, "", "sign -key o=@o.pem @v1.json"); !slices.Contains(strings.Split(got, `"`), encode(sig)) {
		t.Error("tetherctl's signature is another")
	}
}

// TestMistypedSecretsAreNotShown: a key that is given where its file, or another key, is meant isn't said again.
func TestMistypedSecretsAreNotShown(t *testing.T) {
	d := &desk{t: t, dir: t.TempDir()}
	d.put("shop.json", document)
	d.do(0, "", "keygen @a.pem")
	data, err := os.ReadFile(filepath.Join(d.dir, "a.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	private := base64.StdEncoding.EncodeToString(block.Bytes)
	secret := private[len(private)-40:]
	for _, command := range []string{"sign -key " + private, "sign -key a=" + private, "sign -key " + strings.TrimRight(private, "="),
		"sign -key a=" + strings.ReplaceAll(string(data), "\n", "~"), "rotate -document shop -add a=" + private,
		"rotate -document shop -add " + private, "rotate -document shop -add a=" + private + " -key " + private} {
		var args []string
		for _, word := range strings.Split(command, " -") {
			name, value, _ := strings.Cut(word, " ")
			if args == nil {
				args = append(args, name)
				if value != "" {
					args = append(args, value)
				}
				continue
			}
			args = append(args, "-"+name, strings.ReplaceAll(value, "~", "\n"))
		}
		if args[0] == "sign" {
			args = append(args, filepath.Join(d.dir, "shop.json"))
		}
		var out, errs bytes.Buffer
		if status := run(args, &out, &errs); status == 0 || strings.Contains(out.String()+errs.String(), secret) {
			t.Errorf("%.40s: exit status %d, says %s%s", command, status, &out, &errs)
		}
	}
}
