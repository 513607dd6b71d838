package tether

import (
	"crypto/rand"
	"fmt"
)

// KeyForm is how an API wants the Idempotency-Key that is made for a call.
type KeyForm uint8

// The forms of a key. Which one an API knows, its documentation says.
const (
	NoKey KeyForm = iota
	// BareKey is a random UUID as it is, as most deployed APIs have it.
	BareKey
	// QuotedKey is a random UUID in quotes: a Structured Field's String, as
	// draft-ietf-httpapi-idempotency-key-header has it.
	QuotedKey
)

const keyField = "Idempotency-Key"

// newKey comes from the operating system whatever the engine's seed: two clients with the same key are one
// order to the server. "" is none.
func (f KeyForm) newKey() string {
	var id [16]byte
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4, RFC 9562 section 5.4
	uuid := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	switch f {
	case BareKey:
		return uuid
	case QuotedKey:
		return `"` + uuid + `"`
	}
	return ""
}
