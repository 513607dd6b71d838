// Package random is the one source of randomness that an engine and its parts share.
package random

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

// Source yields uniform numbers. It is safe for concurrent use.
type Source struct {
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

// New returns a source that repeats itself for a seed other than 0, and one seeded by the
// operating system for 0.
func New(seed uint64) *Source {
	var key [32]byte
	if seed == 0 {
		crand.Read(key[:]) // never fails: it ends the program instead, see crypto/rand
	} else {
		binary.LittleEndian.PutUint64(key[:], seed)
	}
	return &Source{rng: rand.New(rand.NewChaCha8(key))}
}

// Float64 returns a number in [0, 1).
func (s *Source) Float64() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64()
}

// Uint64 returns any number.
func (s *Source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Uint64()
}
