package remoteconfig

import (
	"errors"
	"fmt"

	"github.com/tether-go/tether/internal/envelope"
)

// Why a document is not trusted, found by errors.Is in [Status], in events and in what FetchOnce
// returns. The target never sees such a document, its kill switches included, but in [ReportOnly].
var (
	// ErrUnsigned means that the document is in no envelope.
	ErrUnsigned = envelope.ErrUnsigned
	// ErrEnvelope means that the envelope is malformed, too large, or holds something else than a
	// document.
	ErrEnvelope = envelope.ErrEnvelope
	// ErrSignature means that fewer keys than the ring's threshold vouch for the document.
	ErrSignature = envelope.ErrSignature
	// ErrRing means that the rings in the envelope don't lead from the compiled-in one, through the
	// newest that was followed, to one that is no older.
	ErrRing = envelope.ErrRing
	// ErrOtherDocument means that the ring is for a document of another name.
	ErrOtherDocument = envelope.ErrOtherDocument
	// ErrOlder means that the version is below the ring's minVersion, or that of a document which
	// this client has, or was built with.
	ErrOlder = envelope.ErrOlder
)

// Mode says what becomes of a document that nobody vouches for. It is compiled in: no document can
// change it.
type Mode uint8

// The modes. In all of them a document may come in an envelope, so that one URL serves programs
// from before and after the first signature.
const (
	Unsigned   Mode = iota // it is taken: nothing is checked
	ReportOnly             // it is taken, and told as an EventUnproved
	Enforced               // it is refused
)

// String returns the name of the mode.
func (m Mode) String() string {
	return [...]string{"unsigned", "report-only", "enforced", "unknown"}[min(m, Enforced+1)]
}

// Trust says whose documents a program takes. The zero value takes anybody's.
type Trust struct {
	// Mode is Unsigned by default, and then Ring must be empty.
	Mode Mode
	// Ring is the key ring that trust begins with, as "tetherctl rotate" writes it, such as an
	// embedded file. The rings that follow it come with the documents.
	Ring []byte
}

// trust is a Trust that was read.
type trust struct {
	mode Mode
	root *envelope.Ring // nil: Unsigned
}

func (t Trust) read() (trust, error) {
	switch {
	case t.Mode > Enforced:
		return trust{}, errors.New("remoteconfig: Trust.Mode is none that there is")
	case t.Mode == Unsigned && len(t.Ring) > 0:
		return trust{}, errors.New("remoteconfig: Trust.Ring is of no use in the mode unsigned: " +
			"choose another")
	case t.Mode == Unsigned:
		return trust{}, nil
	}
	root, err := envelope.ReadRing(t.Ring)
	if err != nil {
		return trust{}, fmt.Errorf("remoteconfig: Trust.Ring: %w", err)
	}
	return trust{t.Mode, root}, nil
}

// Proof tells who vouches for a document. It is zero where nobody does, or nobody was asked.
type Proof struct {
	// Ring is the number of the key ring, Keys the ids of those of its keys whose signatures are
	// valid, sorted. They must not be changed.
	Ring uint64
	Keys []string
}

// vouched is what the watcher found out about a document before the target sees it.
type vouched struct {
	payload []byte // what the target gets: the content of the envelope, or all
	proof   Proof
	ring    *envelope.Ring // that the proof is by
	doubt   error          // why there is no proof, where one is asked for
}

// open reads a document without asking who made it.
func (p *published) open() *envelope.Envelope {
	p.payload = p.document
	var signed *envelope.Envelope
	if envelope.Is(p.document) {
		var err error
		if signed, err = envelope.Parse(p.document); err == nil {
			p.payload = signed.Payload
		}
	}
	p.facts = peek(p.payload)
	return signed
}

// examine opens a document, and finds out whether it can be trusted. The payload is read only after
// its signatures were, unless the mode takes what has none.
func (w *Watcher) examine(p *published) {
	if w.trust.mode == Unsigned {
		p.open()
		return
	}
	w.mu.Lock()
	ring, least := w.ring, w.least
	w.mu.Unlock()
	p.vouched, p.facts = vouched{}, facts{}
	err := p.verify(w.trust.root, ring)
	if err == nil {
		p.facts = peek(p.payload)
		err = p.fits(least)
	} else if w.trust.mode == ReportOnly {
		p.open()
	}
	if err == nil {
		return
	}
	p.doubt, p.proof, p.ring = fmt.Errorf("remoteconfig: %w", err), Proof{}, nil
	if w.trust.mode == Enforced {
		// Whoever made it may have given it the tag of the next document, so as to keep that away.
		p.tag = ""
	}
}

// verify checks the signatures, from the compiled-in ring up to the newest.
func (p *published) verify(root, followed *envelope.Ring) error {
	signed, err := envelope.Parse(p.document)
	if err != nil {
		return err
	}
	if p.ring, err = root.Follow(signed.Rings, followed); err != nil {
		return err
	}
	if p.proof.Keys, err = p.ring.Verify(signed, envelope.DocumentType); err != nil {
		return err
	}
	p.proof.Ring, p.payload = p.ring.Number, signed.Payload
	return nil
}

// fits tells why a document with valid signatures is not one to take, if so.
func (p *published) fits(least uint64) error {
	return p.ring.Fits(p.name, p.version, least)
}

// follow remembers what a document in force proves. It is called with the lock held.
func (w *Watcher) follow(p *published) {
	if p.ring != nil {
		w.ring, w.least = p.ring, max(w.least, p.version)
	}
}

// prove examines what the watcher starts with. The newest ring among it counts for all of it, and
// so does the highest version that this ring vouches for, even if the target refuses it: without
// the cache, the program's own document is what an old one can't be replayed against.
func (w *Watcher) prove(candidates ...*published) {
	for range 2 { // the second time with the newest ring
		for _, p := range candidates {
			if p != nil {
				w.examine(p)
				w.mu.Lock()
				if p.ring != nil {
					w.ring = p.ring
				}
				w.mu.Unlock()
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range candidates {
		if p != nil {
			w.follow(p)
		}
	}
}
