package envelope

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tether-go/tether/internal/jsondoc"
)

const (
	maxKeys  = 16
	maxKeyID = 64 // bytes
)

// Ring says whose signatures count for a document. It never changes once it was read.
type Ring struct {
	Number     uint64
	Document   string
	Threshold  int
	Keys       map[string]ed25519.PublicKey
	MinVersion uint64 // documents below it are refused, whoever signed them

	payload []byte
}

type ringWire struct {
	Ring       uint64            `json:"ring"`
	Document   string            `json:"document"`
	Threshold  int               `json:"threshold"`
	Keys       map[string]string `json:"keys"`
	MinVersion uint64            `json:"minVersion,omitempty"`
}

// ReadRing reads a ring that is trusted because of where it comes from, such as the program itself.
// It must be signed by the threshold of its own keys, so that one whose keys nobody holds, or that
// was spoilt on the way, shows at once.
func ReadRing(data []byte) (*Ring, error) {
	e, err := Parse(data)
	if err != nil {
		return nil, err
	}
	return e.Ring()
}

// Ring returns the ring that an envelope holds, if its own keys vouch for it. That doesn't yet make
// it trusted.
func (e *Envelope) Ring() (*Ring, error) {
	if e.PayloadType != RingType {
		return nil, fmt.Errorf("%w: not a key ring", ErrRing)
	}
	ring, err := ParseRing(e.Payload)
	if err != nil {
		return nil, err
	}
	if _, err := ring.Verify(e, RingType); err != nil {
		return nil, fmt.Errorf("%w: by its own keys: %w", ErrRing, err)
	}
	return ring, nil
}

// ParseRing reads the payload of a ring. A member that isn't known is refused: it may narrow what
// the ring allows.
func ParseRing(payload []byte) (*Ring, error) {
	var w ringWire
	err := bind(payload, jsondoc.Limits{Depth: 2, Values: 2 * maxKeys}, &w, true)
	r := &Ring{w.Ring, w.Document, w.Threshold, make(map[string]ed25519.PublicKey), w.MinVersion,
		bytes.Clone(payload)}
	for id, text := range w.Keys {
		key, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			key = nil // what was decoded before the mistake is no key
		}
		r.Keys[id] = key
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRing, err)
	}
	return r, nil
}

func (r *Ring) check() error {
	distinct := make(map[string]bool)
	for id, key := range r.Keys {
		// A key of zeros is a placeholder that was left in, and one that anybody can sign for.
		if len(key) != ed25519.PublicKeySize || bytes.Equal(key, make([]byte, ed25519.PublicKeySize)) {
			return errors.New("key " + jsondoc.Quote(id) + " is not an Ed25519 public key in base64")
		}
		if id == "" || len(id) > maxKeyID {
			return fmt.Errorf("a key id must have 1 to %d bytes", maxKeyID)
		}
		distinct[string(key)] = true
	}
	switch {
	case r.Number == 0:
		return errors.New("ring must be 1 or more")
	case r.Document == "":
		return errors.New("it names no document")
	case len(r.Keys) > maxKeys:
		return fmt.Errorf("more than %d keys", maxKeys)
	case r.Threshold < 1 || r.Threshold > len(distinct):
		return fmt.Errorf("threshold %d is not within 1 and its %d keys", r.Threshold, len(distinct))
	}
	return nil
}

// Envelope returns the ring, unsigned.
func (r *Ring) Envelope() (*Envelope, error) {
	w := ringWire{r.Number, r.Document, r.Threshold, make(map[string]string), r.MinVersion}
	for id, key := range r.Keys {
		w.Keys[id] = base64.StdEncoding.EncodeToString(key)
	}
	payload, err := json.Marshal(w)
	if err == nil {
		_, err = ParseRing(payload)
	}
	return &Envelope{PayloadType: RingType, Payload: payload}, err
}

// Verify returns the ids of the ring's keys that vouch for the envelope's payload as one of that
// type, sorted, and ErrSignature if they are fewer than the threshold. A key counts once, however
// many signatures or ids it has.
func (r *Ring) Verify(e *Envelope, payloadType string) (signers []string, err error) {
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("%w: its payload is of another type", ErrEnvelope)
	}
	signed := PAE(e.PayloadType, e.Payload)
	vouched := make(map[string]string) // by key: its id
	for _, s := range e.Signatures {
		key, known := r.Keys[s.KeyID]
		if known && ed25519.Verify(key, signed, s.Sig) {
			vouched[string(key)] = s.KeyID
		}
	}
	signers = slices.Sorted(maps.Values(vouched))
	if len(signers) < r.Threshold {
		err = fmt.Errorf("%w: ring %d asks for %d, valid are %d", ErrSignature, r.Number, r.Threshold,
			len(signers))
	}
	return signers, err
}

// Fits tells why a document that the ring's keys vouch for must be refused all the same, if so. least is the lowest
// version that the client still takes.
func (r *Ring) Fits(document string, version, least uint64) error {
	switch {
	case document != r.Document:
		return ErrOtherDocument
	case version < max(least, r.MinVersion):
		return ErrOlder
	}
	return nil
}

// Follow returns the newest ring of a published chain, each signed by the threshold of the one
// before it and by its own. Rings up to r's number are for clients that are older, and are passed
// over. The chain must lead through trusted, the newest ring that the client has followed before
// (r itself if none): a key that was removed there must not sign its way round it.
func (r *Ring) Follow(chain []*Envelope, trusted *Ring) (*Ring, error) {
	at := r
	for _, e := range chain {
		next, err := e.Ring()
		switch {
		case err != nil:
			return nil, err
		case next.Number <= r.Number:
			continue
		case next.Number != at.Number+1:
			return nil, fmt.Errorf("%w: ring %d after ring %d", ErrRing, next.Number, at.Number)
		case next.Document != r.Document:
			return nil, fmt.Errorf("%w: ring %d is for another document", ErrRing, next.Number)
		}
		if _, err := at.Verify(e, RingType); err != nil {
			return nil, fmt.Errorf("%w: ring %d: %w", ErrRing, next.Number, err)
		}
		if next.Number == trusted.Number && !bytes.Equal(next.payload, trusted.payload) {
			return nil, fmt.Errorf("%w: ring %d is not the one followed before", ErrRing, next.Number)
		}
		next.MinVersion = max(next.MinVersion, at.MinVersion)
		at = next
	}
	if at.Number < trusted.Number {
		return nil, fmt.Errorf("%w: ring %d is older than ring %d, which was followed before",
			ErrRing, at.Number, trusted.Number)
	}
	return at, nil
}
