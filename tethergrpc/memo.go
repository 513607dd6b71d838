package tethergrpc

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxMemo bounds what is remembered of names: a proxy may be asked for any.
const maxMemo = 1000

// memo remembers what follows from names. What finds no room is worked out each time. It is safe for
// concurrent use.
type memo[K comparable, V any] struct {
	mu    sync.Mutex              // held while one map replaces another
	known atomic.Pointer[map[K]V] // never changed itself: each call reads it
}

func (m *memo[K, V]) get(name K) (v V, ok bool) {
	if known := m.known.Load(); known != nil {
		v, ok = (*known)[name]
	}
	return v, ok
}

func (m *memo[K, V]) put(name K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := make(map[K]V)
	if known := m.known.Load(); known != nil {
		if len(*known) >= maxMemo {
			return
		}
		maps.Copy(next, *known)
	}
	next[name] = v
	m.known.Store(&next)
}

// once is for what is said once.
type once struct{ said atomic.Bool }

func (o *once) first() bool { return !o.said.Load() && !o.said.Swap(true) }
