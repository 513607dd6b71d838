package flags

import (
	"sync"
	"sync/atomic"

	"github.com/tether-go/tether/internal/eventqueue"
)

// Options are settings of the program, not of a server. The zero value is the default.
type Options struct {
	// Load says how documents are read. Default: flagd's form, strictly.
	Load LoadOptions
	// Changed hears of the flags that a document changed, in order, outside every lock; see
	// [Set.Changed]. It may evaluate flags; what it must not do is wait, for it runs within Apply.
	Changed func(keys []string)
}

// Store holds the flags in force. Documents replace each other whole, in one atomic step: evaluation
// takes no lock and never waits, whatever is being applied. Until the first document it has no flags, and
// every evaluation gives the caller's default.
//
// It takes documents as a remoteconfig.Target does. Nothing needs to be closed. It is safe for concurrent
// use.
type Store struct {
	load    LoadOptions
	changes *eventqueue.Queue[[]string]

	applying sync.Mutex // orders the documents and their changes
	set      atomic.Pointer[Set]
}

// maxChanges bounds the changes that a slow listener has yet to hear of.
const maxChanges = 64

// New returns a store without flags. The error is about LoadOptions that are impossible.
func New(options Options) (*Store, error) {
	if err := options.Load.validate(); err != nil {
		return nil, err
	}
	s := &Store{load: options.Load, changes: eventqueue.New(maxChanges, options.Changed)}
	s.set.Store(&Set{})
	return s, nil
}

// Apply puts a document in force; see [Load]. The notes tell what of it was not understood. On an
// error, which is a *[DocumentError], everything stays as it was.
func (s *Store) Apply(document []byte) (notes []string, err error) {
	set, err := Load(document, s.load)
	if err != nil {
		return nil, err
	}
	for _, note := range set.notes {
		notes = append(notes, note.String())
	}
	s.swap(set)
	s.changes.Deliver()
	return notes, nil
}

func (s *Store) swap(set *Set) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if changed := set.Changed(s.set.Swap(set)); len(changed) > 0 {
		s.changes.Push(changed)
	}
}

// Current returns the flags in force, for evaluations that must agree with each other, and for the
// details of one.
func (s *Store) Current() *Set { return s.set.Load() }

// Bool is [Set.Bool] of the flags in force.
func (s *Store) Bool(attributes Attributes, key string, fallback bool) bool {
	return s.Current().Bool(attributes, key, fallback)
}

// String is [Set.String] of the flags in force.
func (s *Store) String(attributes Attributes, key string, fallback string) string {
	return s.Current().String(attributes, key, fallback)
}

// Int is [Set.Int] of the flags in force.
func (s *Store) Int(attributes Attributes, key string, fallback int64) int64 {
	return s.Current().Int(attributes, key, fallback)
}

// Float is [Set.Float] of the flags in force.
func (s *Store) Float(attributes Attributes, key string, fallback float64) float64 {
	return s.Current().Float(attributes, key, fallback)
}

// Object is [Set.Object] of the flags in force.
func (s *Store) Object(attributes Attributes, key string, fallback map[string]any) map[string]any {
	return s.Current().Object(attributes, key, fallback)
}
