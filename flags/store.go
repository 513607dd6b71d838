package flags

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tether-go/tether/internal/eventqueue"
)

// Options are settings of the program, not of a server. The zero value is the default.
type Options struct {
	// Load says how documents are read. Default: flagd's form, strictly.
	Load LoadOptions
}

// Store holds the flags in force. Documents replace each other whole, in one atomic step: evaluation
// takes no lock and never waits, whatever is being applied. Until the first document it has no flags, and
// every evaluation gives the caller's default.
//
// It takes documents as a remoteconfig.Target does. Nothing needs to be closed. It is safe for concurrent
// use.
type Store struct {
	load    LoadOptions
	current func() *Set
	set     *atomic.Pointer[Set] // what current reads; nil: another's, see Follow
	off     func(GuardEvent)     // hears of guards' TurnedOff; nil: nobody does

	mu        sync.Mutex // guards what follows, and orders the changes
	told      *Set
	listeners []*eventqueue.Queue[[]string]
}

// maxChanges bounds the changes that a slow listener has yet to hear of.
const maxChanges = 64

// ErrFollows is why Apply of a store that follows another's flags refuses every document.
var ErrFollows = errors.New("flags: the store follows flags that are put in force elsewhere")

// New returns a store without flags. The error is about LoadOptions that are impossible.
func New(options Options) (*Store, error) {
	if err := options.Load.validate(); err != nil {
		return nil, err
	}
	set := new(atomic.Pointer[Set])
	set.Store(&Set{})
	return &Store{load: options.Load, current: set.Load, set: set, told: set.Load()}, nil
}

// Follow returns a store whose flags in force are always those that current returns, which must be quick,
// safe for concurrent use and never nil: so flags change in one step with what else changes there. Changed
// is to be called, with no lock held, after each change; it tells the listeners. TurnedOff, unless it is nil,
// hears of every guard of the store that turns its flag off, outside every lock.
func Follow(current func() *Set, turnedOff func(GuardEvent)) (s *Store, changed func()) {
	s = &Store{current: current, off: turnedOff, told: current()}
	return s, s.tell
}

// Apply puts a document in force; see [Load]. The notes tell what of it was not understood. On an
// error, which is a *[DocumentError], or [ErrFollows], everything stays as it was.
func (s *Store) Apply(document []byte) (notes []string, err error) {
	if s.set == nil {
		return nil, ErrFollows
	}
	set, err := Load(document, s.load)
	if err != nil {
		return nil, err
	}
	for _, note := range set.notes {
		notes = append(notes, note.String())
	}
	s.set.Store(set)
	s.tell()
	return notes, nil
}

// Listen has changed hear of the keys of the flags that each further document changes, in order,
// outside every lock; see [Set.Changed]. It may evaluate flags; what it must not do is wait, for it runs
// within Apply. Of changes that it has yet to hear of the 64 newest are kept. After stop it hears of no
// new ones.
func (s *Store) Listen(changed func(keys []string)) (stop func()) {
	listener := eventqueue.New(maxChanges, changed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(slices.Clip(s.listeners), listener)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listeners = slices.DeleteFunc(slices.Clone(s.listeners),
			func(l *eventqueue.Queue[[]string]) bool { return l == listener })
	}
}

func (s *Store) tell() {
	for _, listener := range s.compare() {
		listener.Deliver()
	}
}

// compare queues what changed since it last looked. Whoever looks takes the newest set, so two documents
// at once are told of in order, or as one change.
func (s *Store) compare() []*eventqueue.Queue[[]string] {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.current()
	changed := set.Changed(s.told)
	s.told = set
	if len(changed) == 0 {
		return nil
	}
	for _, listener := range s.listeners {
		listener.Push(slices.Clone(changed))
	}
	return s.listeners
}

// Current returns the flags in force, for evaluations that must agree with each other, and for the
// details of one.
func (s *Store) Current() *Set { return s.current() }

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
