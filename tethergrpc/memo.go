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

func (m *memo[V]) of(name string, work func(string) V) V {
	m.mu.RLock()
	v, ok := m.known[name]
	m.mu.RUnlock()
	if ok {
		return v
	}
	v = work(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = make(map[string]V)
	}
	if len(m.known) < maxMemo {
		m.known[name] = v
	}
	return v
}

// once is for what is said once.
type once struct{ said atomic.Bool }

func (o *once) first() bool { return !o.said.Load() && !o.said.Swap(true) }
