package tethergrpc

import (
	"sync"
	"sync/atomic"
)

// maxMemo bounds what is remembered of names: a proxy may be asked for any.
const maxMemo = 1000

// memo remembers what follows from a name. What finds no room is worked out each time. It is safe for
// concurrent use.
type memo[V any] struct {
	mu    sync.RWMutex // guards known
	known map[string]V
}

func (m *memo[V]) get(name string) (v V, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok = m.known[name]
	return v, ok
}

func (m *memo[V]) put(name string, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = make(map[string]V)
	}
	if len(m.known) < maxMemo {
		m.known[name] = v
	}
}

// once is for what is said once.
type once struct{ said atomic.Bool }

func (o *once) first() bool { return !o.said.Load() && !o.said.Swap(true) }
