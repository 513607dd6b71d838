package envelope

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func keyOf(id string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(id))
	return ed25519.NewKeyFromSeed(seed[:])
}

func textOf(id string) string {
	return base64.StdEncoding.EncodeToString(keyOf(id).Public().(ed25519.PublicKey))
}

func document(payload string, signers ...string) *Envelope {
	e := &Envelope{PayloadType: DocumentType, Payload: []byte(payload)}
	for _, id := range signers {
		e.Sign(id, keyOf(id))
	}
	return e
}

// TestPAE has the example of the DSSE protocol, section "Signature Definition".
func TestPAE(t *testing.T) {
	got := PAE("http://example.com/HelloWorld", []byte("hello world"))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; string(got) != want {
		t.Errorf("PAE is %q, want %q", got, want)
	}
	if got := PAE("", nil); string(got) != "DSSEv1 0  0 " {
		t.Errorf("PAE of nothing is %q", got)
	}
}

func TestParse(t *testing.T) {
	good := `{"payloadType": "t", "payload": "aGk=", "signatures": [{"keyid": "a", "sig": "+/8="}]}`
	for _, test := range []struct {
		name, data string
		why        error
	}{
		{"good", good, nil},
		{"URL alphabet", strings.Replace(good, "+/", "-_", 1), nil},
		{"unknown member", strings.Replace(good, "{", `{"note": {"a": 1}, `, 1), nil},
		{"no payload", strings.Replace(good, `"payload"`, `"Payload"`, 1), ErrEnvelope},
		{"no key id", strings.Replace(good, `"keyid": "a", `, "", 1), nil},
		{"no padding", strings.Replace(good, "aGk=", "aGk", 1), ErrEnvelope},
		{"bits after the end", strings.Replace(good, "aGk=", "aGl=", 1), ErrEnvelope},
		{"payload is a number", strings.Replace(good, `"aGk="`, "7", 1), ErrEnvelope},
		{"signature is null", strings.Replace(good, `"+/8="`, "null", 1), ErrEnvelope},
		{"signatures are an object", `{"payloadType": "t", "payload": "", "signatures": {}}`, ErrEnvelope},
		{"no type", strings.Replace(good, `"payloadType": "t", `, "", 1), ErrEnvelope},
		{"trailing data", good + "{}", ErrEnvelope},
		{"not UTF-8", strings.Replace(good, `"a"`, "\"\xff\"", 1), ErrEnvelope},
		{"key id twice", strings.Replace(good, `"keyid": "a"`, `"keyid": "a", "keyid": "b"`, 1), ErrEnvelope},
		{"an array", "[" + good + "]", ErrEnvelope},
		{"nothing", "", ErrEnvelope},
		{"a document", `{"schema": 1}`, ErrUnsigned},
		{"large", strings.Repeat(" ", MaxSize) + good, ErrEnvelope},
	} {
		if e, err := Parse([]byte(test.data)); !errors.Is(err, test.why) || (err == nil) != (e != nil) {
			t.Errorf("%s: %+v, error %v, want %v", test.name, e, err, test.why)
		}
	}
}

func TestRing(t *testing.T) {
	good := fmt.Sprintf(`{"ring": 2, "document": "shop", "threshold": 1, "keys": {"a": %q}, "minVersion": 4}`,
		textOf("a"))
	for _, test := range []struct{ name, data, says string }{
		{"good", good, ""},
		{"no number", strings.Replace(good, `"ring": 2`, `"ring": 0`, 1), "1 or more"},
		{"no document", strings.Replace(good, `"shop"`, `""`, 1), "no document"},
		{"threshold of 0", strings.Replace(good, `"threshold": 1`, `"threshold": 0`, 1), "threshold 0"},
		{"threshold out of reach", strings.Replace(good, `"threshold": 1`, `"threshold": 2`, 1), "threshold 2"},
		{"threshold by one key under two ids", strings.NewReplacer(`"threshold": 1`, `"threshold": 2`,
			`{"a"`, `{"b": "`+textOf("a")+`", "a"`).Replace(good), "threshold 2"},
		{"negative", strings.Replace(good, `"minVersion": 4`, `"minVersion": -4`, 1), "minVersion"},
		{"unknown member", strings.Replace(good, "{", `{"expires": "", `, 1), "expires"},
		{"duplicate key", strings.Replace(good, `{"a"`, `{"a": "`+textOf("b")+`", "a"`, 1), "twice"},
		{"short key", strings.Replace(good, textOf("a"), textOf("a")[:40], 1), `"a"`},
		{"no key but its beginning", strings.Replace(good, textOf("a"), textOf("a")+"!", 1), `"a"`},
		{"placeholder", strings.Replace(good, textOf("a"), base64.StdEncoding.EncodeToString(make([]byte, 32)), 1),
			`"a"`},
		{"empty id", strings.Replace(good, `"a"`, `""`, 1), "key id"},
		{"no object", "7", "object"},
	} {
		_, err := ParseRing([]byte(test.data))
		if (err == nil) != (test.says == "") || err != nil &&
			(!errors.Is(err, ErrRing) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
}

// TestThreshold counts keys, not signatures and not ids.
func TestThreshold(t *testing.T) {
	ring, err := ParseRing(fmt.Appendf(nil,
		`{"ring": 1, "document": "shop", "threshold": 2, "keys": {"a": %q, "A": %q, "b": %q}}`,
		textOf("a"), textOf("a"), textOf("b")))
	if err != nil {
		t.Fatal(err)
	}
	alias := document("hi", "a")
	alias.Sign("A", keyOf("a"))
	bare := document("hi", "a", "b")
	bare.Signatures[1].KeyID = ""
	swapped := document("hi", "a", "b")
	swapped.Signatures[0].KeyID, swapped.Signatures[1].KeyID = "b", "a"
	for name, test := range map[string]struct {
		e    *Envelope
		want string
	}{
		"two keys":               {document("hi", "b", "a"), "[a b]"},
		"and one unknown":        {document("hi", "x", "b", "a"), "[a b]"},
		"one key under two ids":  {alias, ""},
		"a signature without id": {bare, ""},
		"ids swapped":            {swapped, ""},
		"none":                   {document("hi"), ""},
	} {
		got, err := ring.Verify(test.e, DocumentType)
		if errors.Is(err, ErrSignature) != (test.want == "") || err == nil && fmt.Sprint(got) != test.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestNothingElseIsAccepted changes, in an envelope that is good, each byte in several ways. What
// still verifies has the very payload that was signed.
func TestNothingElseIsAccepted(t *testing.T) {
	ring, err := ParseRing(fmt.Appendf(nil, `{"ring": 1, "document": "shop", "threshold": 2, "keys": {"a": %q, "b": %q}}`,
		textOf("a"), textOf("b")))
	if err != nil {
		t.Fatal(err)
	}
	good, err := document(`{"version": 1}`, "a", "b").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i := range good {
		for _, flip := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			bad := bytes.Clone(good)
			bad[i] ^= flip
			if e, err := Parse(bad); err == nil {
				if _, err := ring.Verify(e, DocumentType); err == nil {
					accepted++
					if string(e.Payload) != `{"version": 1}` {
						t.Errorf("byte %d: accepted with %q", i, e.Payload)
					}
				}
			}
		}
	}
	if accepted > 0 {
		t.Errorf("%d accepted, though each byte matters in this one", accepted)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []*Envelope{document(`{"version": 1}`, "a", "b"), document("", "a")} {
		seed.Rings = []*Envelope{document("ring", "b")}
		data, err := seed.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"payload": "", "signatures": [[[[[]]]]]}`))
	ring := &Ring{Number: 1, Document: "shop", Threshold: 2, Keys: map[string]ed25519.PublicKey{
		"a": keyOf("a").Public().(ed25519.PublicKey), "b": keyOf("b").Public().(ed25519.PublicKey)}}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			return
		}
		if !Is(data) {
			t.Error("parsed, and yet no envelope")
		}
		signers, err := ring.Verify(e, DocumentType)
		if err == nil && string(e.Payload) != `{"version": 1}` || err == nil && len(signers) != 2 {
			t.Errorf("%q accepted by %v", e.Payload, signers)
		}
		if at, err := ring.Follow(e.Rings, ring); err == nil && at != ring {
			t.Errorf("followed to %+v, which nobody signed", at)
		}
		again, err := e.Marshal()
		if err != nil {
			return // longer than before: escapes
		}
		if f, err := Parse(again); err != nil || !bytes.Equal(f.Payload, e.Payload) {
			t.Errorf("written again: %v", err)
		}
	})
}

func FuzzRing(f *testing.F) {
	f.Add(fmt.Appendf(nil, `{"ring": 2, "document": "shop", "threshold": 1, "keys": {"a": %q}, "minVersion": 4}`,
		textOf("a")))
	f.Add([]byte(`{"ring": 1, "keys": {"": ""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ring, err := ParseRing(data)
		if err != nil {
			return
		}
		keys := slices.Collect(maps.Values(ring.Keys))
		if ring.Threshold < 1 || ring.Threshold > len(keys) || ring.Number == 0 || ring.Document == "" {
			t.Errorf("%+v", ring)
		}
		if _, err := ring.Verify(document("x", "a"), DocumentType); err == nil && ring.Threshold > 1 {
			t.Error("one signature for a higher threshold")
		}
		if e, err := ring.Envelope(); err != nil {
			t.Error(err)
		} else if again, err := ParseRing(e.Payload); err != nil || again.Number != ring.Number ||
			len(again.Keys) != len(ring.Keys) {
			t.Errorf("written again: %+v, %v", again, err)
		}
	})
}

// TestFollow has rings whose least version falls, which it may not: what was too old stays so. The
// signers of each are those that must sign, and a chain of any part from the start is good too.
func TestFollow(t *testing.T) {
	var chain []*Envelope
	for i, members := range []string{"ab", "bc", "cd"} {
		ring := &Ring{Number: uint64(i + 1), Document: "shop", Threshold: 1, MinVersion: []uint64{0, 7, 3}[i],
			Keys: map[string]ed25519.PublicKey{}}
		for _, id := range members {
			ring.Keys[string(id)] = keyOf(string(id)).Public().(ed25519.PublicKey)
		}
		e, err := ring.Envelope()
		if err != nil {
			t.Fatal(err)
		}
		e.Sign("b", keyOf("b"))
		e.Sign("c", keyOf("c"))
		chain = append(chain, e)
	}
	root, err := chain[0].Ring()
	if err != nil {
		t.Fatal(err)
	}
	for n, least := range []uint64{0, 0, 7, 7} {
		at, err := root.Follow(chain[:n], root)
		if err != nil || at.Number != max(1, uint64(n)) || at.MinVersion != least {
			t.Errorf("%d rings: %+v, %v", n, at, err)
		}
	}
	last, _ := root.Follow(chain, root)
	if at, err := last.Follow(chain, last); err != nil || at != last {
		t.Errorf("from the last: %+v, %v", at, err)
	}
	if _, err := root.Follow(chain[:2], last); !errors.Is(err, ErrRing) {
		t.Errorf("a chain that ends before what was followed: %v", err)
	}
}

func BenchmarkVerify(b *testing.B) {
	ring := &Ring{Number: 1, Document: "shop", Threshold: 2, Keys: map[string]ed25519.PublicKey{
		"a": keyOf("a").Public().(ed25519.PublicKey), "b": keyOf("b").Public().(ed25519.PublicKey)}}
	data, err := document(strings.Repeat("x", 64<<10), "a", "b").Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		e, err := Parse(data)
		if err == nil {
			_, err = ring.Verify(e, DocumentType)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
