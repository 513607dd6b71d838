package remoteconfig

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"github.com/tether-go/tether/internal/envelope"
)

// FuzzTrust publishes anything at all to a client that asks for signatures. What the target gets is
// one of the two payloads that were signed, whatever is done to their envelopes.
func FuzzTrust(f *testing.F) {
	key := func(b byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(slices.Repeat([]byte{b}, ed25519.SeedSize))
	}
	ring := func(number uint64, first, second byte, signers ...byte) *envelope.Envelope {
		r := &envelope.Ring{Number: number, Document: "shop", Threshold: 2,
			Keys: map[string]ed25519.PublicKey{}}
		for _, b := range []byte{first, second} {
			r.Keys[string(rune(b))] = key(b).Public().(ed25519.PublicKey)
		}
		e, err := r.Envelope()
		if err != nil {
			f.Fatal(err)
		}
		for _, b := range signers {
			e.Sign(string(rune(b)), key(b))
		}
		return e
	}
	marshal := func(e *envelope.Envelope) []byte {
		data, err := e.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	root, two := ring(1, 'a', 'b', 'a', 'b'), ring(2, 'b', 'c', 'a', 'b', 'c')
	signed := []string{`{"document":"shop","version":1}`, `{"document":"shop","version":2}`}
	one := &envelope.Envelope{PayloadType: envelope.DocumentType, Payload: []byte(signed[0])}
	one.Sign("a", key('a'))
	one.Sign("b", key('b'))
	next := &envelope.Envelope{PayloadType: envelope.DocumentType, Payload: []byte(signed[1]),
		Rings: []*envelope.Envelope{two}}
	next.Sign("b", key('b'))
	next.Sign("c", key('c'))
	half := &envelope.Envelope{PayloadType: envelope.DocumentType,
		Payload: []byte(`{"document":"shop","version":3}`), Rings: next.Rings}
	half.Sign("b", key('b'))
	for _, e := range []*envelope.Envelope{one, next, half, two} {
		f.Add(marshal(e))
	}
	f.Add([]byte(signed[1]))
	trust := Trust{Mode: Enforced, Ring: marshal(root)}
	f.Fuzz(func(t *testing.T, data []byte) {
		target := &record{}
		w, err := New(publish(string(data)), target, Options{Trust: trust})
		if err != nil {
			t.Fatal(err)
		}
		err = w.take(Fetched{Document: data})
		if (err == nil) != (len(target.applied) == 1) {
			t.Errorf("error %v, applied %q", err, target.applied)
		}
		for _, got := range target.applied {
			if !slices.Contains(signed, got) || len(w.Status().Proof.Keys) != 2 {
				t.Errorf("the target got %q by %+v", got, w.Status().Proof)
			}
		}
	})
}

// TestVerifiedFirst: what a payload says is not even read before its signatures are.
func TestVerifiedFirst(t *testing.T) {
	root := &envelope.Ring{Number: 1, Document: "shop", Threshold: 1, Keys: map[string]ed25519.PublicKey{
		"a": ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)}}
	p := &published{document: []byte(`{"document": "shop", "version": 9, "pollInterval": "30s"}`)}
	w := &Watcher{trust: trust{mode: Enforced, root: root}, ring: root}
	w.examine(p)
	if p.doubt == nil || p.facts != (facts{}) || p.payload != nil {
		t.Errorf("%v, %+v, %q", p.doubt, p.facts, p.payload)
	}
}
