// Package envelope reads, checks and makes signed documents: DSSE envelopes with Ed25519, and the
// key rings that say whose signatures count.
//
//	ring, err := root.Follow(published.Rings, trusted) // the newest ring, from the compiled-in one
//	signers, err := ring.Verify(published, envelope.DocumentType)
//	use(published.Payload)
//
// The signed bytes are those that are parsed, and they are parsed only once enough keys vouch for
// them. Whatever else stands in an envelope (key ids, members of other versions) is unsigned and
// decides nothing.
package envelope

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/tether-go/tether/internal/jsondoc"
)

// The payload types, which are signed with the payload: a ring can't be passed off as a document.
const (
	DocumentType = "application/vnd.tether.config.v1+json"
	RingType     = "application/vnd.tether.ring.v1+json"
)

// MaxSize is the most bytes that an envelope may have. It is checked before anything is parsed.
const MaxSize = 1 << 20

// These bound the work of a verification, whoever asks for it, to what hashing 1 MiB sixteen times
// takes.
const (
	maxSignatures = 16
	maxRings      = 16 // a change of keys a year outlives most programs
	maxValues     = 2000
	maxDepth      = 5 // envelope, rings, ring, signatures, signature
)

// Why an envelope is not accepted, found by errors.Is.
var (
	// ErrUnsigned means that the document isn't in an envelope at all.
	ErrUnsigned = errors.New("the document is not signed")
	// ErrEnvelope means that the envelope can't be read, or holds something else than was asked for.
	ErrEnvelope = errors.New("the envelope is unusable")
	// ErrSignature means that too few keys of the ring vouch for the payload.
	ErrSignature = errors.New("too few valid signatures")
	// ErrRing means that a key ring is malformed, or doesn't follow from those that are trusted.
	ErrRing = errors.New("the key ring is not acceptable")
	// ErrOtherDocument means that the ring is for a document of another name.
	ErrOtherDocument = errors.New("the ring is for another document")
	// ErrOlder means that the version is below the ring's MinVersion, or the lowest that the client still takes.
	ErrOlder = errors.New("the document is older than what this client knows of")
)

// Envelope is a DSSE envelope (protocol and JSON form of version 1). Rings are our own addition:
// the key rings, each in an envelope without further rings, oldest first.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
	Rings       []*Envelope `json:"rings,omitempty"`
}

// Signature is one of an envelope's signatures. The key id is a claim: it says which key to try.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// wire is an envelope as it is written.
type wire struct {
	PayloadType string `json:"payloadType"`
	Payload     string `json:"payload"`
	Signatures  []struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"`
	} `json:"signatures"`
	Rings []wire `json:"rings"`
}

// Is tells whether data is a JSON object with the members that make an envelope of it. It may
// still be malformed.
func Is(data []byte) bool {
	members, err := object(data)
	return err == nil && members["payload"] != nil && members["signatures"] != nil
}

// object reads the outermost members. Names of struct fields would match in any case; these don't.
func object(data []byte) (members map[string]json.RawMessage, err error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrEnvelope, MaxSize)
	}
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrEnvelope, err)
	}
	return members, nil
}

// Parse reads an envelope of at most MaxSize bytes, without believing any of it. Unknown members
// are ignored, as DSSE asks; what is written twice is refused. Base64 may be of the standard or the
// URL alphabet, with padding.
func Parse(data []byte) (*Envelope, error) {
	members, err := object(data)
	switch {
	case err != nil:
		return nil, err
	case members["payload"] == nil && members["signatures"] == nil:
		return nil, ErrUnsigned
	case members["payload"] == nil || members["signatures"] == nil:
		return nil, fmt.Errorf("%w: no payload or no signatures", ErrEnvelope)
	}
	var w wire
	if err := bind(data, jsondoc.Limits{Depth: maxDepth, Values: maxValues}, &w, false); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrEnvelope, err)
	}
	if len(w.Rings) > maxRings {
		return nil, fmt.Errorf("%w: more than %d rings", ErrEnvelope, maxRings)
	}
	e, err := w.decode()
	if err != nil {
		return nil, err
	}
	for i, ring := range w.Rings {
		if ring.Rings != nil {
			return nil, fmt.Errorf("%w: rings within a ring", ErrEnvelope)
		}
		decoded, err := ring.decode()
		if err != nil {
			return nil, fmt.Errorf("rings[%d]: %w", i, err)
		}
		e.Rings = append(e.Rings, decoded)
	}
	return e, nil
}

// bind reads a small JSON object strictly: the first mistake is enough to refuse it.
func bind(data []byte, limits jsondoc.Limits, into any, known bool) error {
	doc, problems := jsondoc.Parse(data, limits)
	if doc != nil {
		b := jsondoc.Binder{Doc: doc}
		b.Bind(&doc.Root, "", into)
		problems = append(problems, b.Problems...)
		if known {
			problems = append(problems, b.Unknown...)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	p := problems[0]
	if p.Path == "" {
		return errors.New(p.Problem)
	}
	return errors.New(p.Path + ": " + p.Problem)
}

func (w wire) decode() (*Envelope, error) {
	if len(w.Signatures) > maxSignatures {
		return nil, fmt.Errorf("%w: more than %d signatures", ErrEnvelope, maxSignatures)
	}
	if w.PayloadType == "" {
		return nil, fmt.Errorf("%w: no payloadType", ErrEnvelope)
	}
	payload, err := decodeBase64(w.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: payload: %v", ErrEnvelope, err)
	}
	e := &Envelope{PayloadType: w.PayloadType, Payload: payload}
	for _, s := range w.Signatures {
		sig, err := decodeBase64(s.Sig)
		if err != nil {
			return nil, fmt.Errorf("%w: signature: %v", ErrEnvelope, err)
		}
		e.Signatures = append(e.Signatures, Signature{s.KeyID, sig})
	}
	return e, nil
}

func decodeBase64(text string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		data, err = base64.URLEncoding.Strict().DecodeString(text)
	}
	if err != nil {
		return nil, errors.New("not base64")
	}
	return data, nil
}

// PAE returns the bytes that are signed: DSSE's pre-authentication encoding.
func PAE(payloadType string, payload []byte) []byte {
	pae := append([]byte("DSSEv1 "), strconv.Itoa(len(payloadType))...)
	pae = append(append(append(pae, ' '), payloadType...), ' ')
	pae = append(strconv.AppendInt(pae, int64(len(payload)), 10), ' ')
	return append(pae, payload...)
}

// Sign adds the signature of a key, in place of an earlier one by that id.
func (e *Envelope) Sign(id string, key ed25519.PrivateKey) {
	e.Signatures = slices.DeleteFunc(e.Signatures, func(s Signature) bool { return s.KeyID == id })
	e.Signatures = append(e.Signatures, Signature{id, ed25519.Sign(key, PAE(e.PayloadType, e.Payload))})
}

// Marshal returns the envelope as it is published.
func (e *Envelope) Marshal() ([]byte, error) {
	for _, part := range slices.Concat(e.Rings, []*Envelope{e}) {
		if part.Signatures == nil {
			part.Signatures = []Signature{} // which is not null
		}
	}
	data, err := json.Marshal(e)
	if err == nil && len(data) > MaxSize {
		err = fmt.Errorf("%w: more than %d bytes", ErrEnvelope, MaxSize)
	}
	return data, err
}
