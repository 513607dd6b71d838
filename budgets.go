package tether

import (
	"sync"
	"weak"

	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/retry"
)

// Budgets are retry budgets that several engines of a process share ([Options].Budgets): engines of
// different SDKs, say, that call the same server. The zero value is ready.
//
// All of them together then re-attempt no more than one engine would: what they save goes into one purse
// for each target, and a re-attempt is taken from the engine's own budget and from that purse. So
// sharing only ever refuses; no engine gets more than it would have alone, whatever settings another
// one has or is sent. It is safe for concurrent use.
type Budgets struct {
	mu     sync.Mutex // guards what follows
	byKey  map[target.Key]weak.Pointer[retry.Budget]
	sweep  int  // entries beyond which those that nobody uses are removed
	forgot bool // some were
}

// of returns the budget that all engines' targets of that key share. It lives as long as one of them:
// engines are dropped without a word. One that comes again starts with nothing, because coming and
// going must not save anything.
func (b *Budgets) of(key target.Key, initial int) *retry.Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	pointer, known := b.byKey[key]
	if budget := pointer.Value(); budget != nil {
		return budget
	}
	if known || b.forgot {
		initial = 0
	}
	budget, err := retry.NewBudget(1, retry.BudgetOptions{Initial: initial}) // of what each one's ratio saves
	if err != nil {
		budget, _ = retry.NewBudget(0, retry.BudgetOptions{})
	}
	if b.byKey == nil {
		b.byKey = make(map[target.Key]weak.Pointer[retry.Budget])
	}
	if len(b.byKey) >= b.sweep {
		b.removeUnused()
	}
	b.byKey[key] = weak.Make(budget)
	return budget
}

func (b *Budgets) removeUnused() {
	for key, pointer := range b.byKey {
		if pointer.Value() == nil {
			delete(b.byKey, key)
			b.forgot = true
		}
	}
	b.sweep = max(64, 2*len(b.byKey))
}
