package retry

import (
	"fmt"
	"sync"
	"time"
)

const (
	savedAtMost   = 2                // re-attempts that a client with little traffic may save
	budgetWindow  = 10 * time.Second // over which a busy client's larger savings are measured
	budgetBuckets = 10
)

// BudgetOptions are what only code can set about a [Budget].
type BudgetOptions struct {
	// Initial is how many re-attempts are saved at the start, 0 to 2. Few, because a launch is a
	// million clients that all start at once.
	Initial int
	// Within is a budget that this one shares with others, so that several clients of one server, each with
	// a ratio and a budget of its own, have one purse beside: what a success saves here it saves there too,
	// times that budget's ratio (usually 1), and a re-attempt is taken from both or from neither. Default
	// nil: none.
	Within *Budget
}

// Budget bounds re-attempts to a share of the calls that succeeded. Each success saves Ratio of a
// re-attempt; a client saves at most 2, or Ratio times its calls of the last 10 s if that is more.
// Nothing is ever saved by time alone, so that a dead server sees no re-attempts (Bronson and others,
// "Metastable Failures in Distributed Systems", HotOS 2021). It is safe for concurrent use.
type Budget struct {
	within *Budget // nil: none; locked after this one

	mu     sync.Mutex // guards what follows
	ratio  float64
	saved  float64
	calls  [budgetBuckets]float64 // calls of the last budgetWindow, a bucket a second
	all    float64                // their sum
	newest int64                  // the bucket period that the newest count belongs to
	start  time.Time
}

// NewBudget returns a budget. A ratio of 0 allows no re-attempt at all; ratio is from 0 to 1.
func NewBudget(ratio float64, opts BudgetOptions) (*Budget, error) {
	if !(ratio >= 0 && ratio <= 1) {
		return nil, fmt.Errorf("retry: budget ratio is %v, not from 0 to 1", ratio)
	}
	if opts.Initial < 0 || opts.Initial > savedAtMost {
		return nil, fmt.Errorf("retry: budget starts with %d, not from 0 to %d", opts.Initial, savedAtMost)
	}
	return &Budget{within: opts.Within, ratio: ratio, saved: float64(opts.Initial), start: time.Now()}, nil
}

// Call counts a call that begins: what may be saved grows with traffic.
func (b *Budget) Call() { b.CallAt(time.Now()) }

// CallAt is Call by a clock that was just read, which costs more than all the rest.
func (b *Budget) CallAt(now time.Time) { b.call(1, now) }

func (b *Budget) call(share float64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.saved, b.room(now))                           // what there was no room for doesn't come back by calls alone
	if at := max(0, b.period(now)); at > b.newest-budgetBuckets { // another's clock may have been read much later
		b.calls[at%budgetBuckets] += share
		b.all += share
	}
	if b.within != nil {
		b.within.call(share*b.ratio, now)
	}
}

// Success saves a share of a re-attempt: a call got its answer.
func (b *Budget) Success() { b.SuccessAt(time.Now()) }

// SuccessAt is Success by a clock that was just read.
func (b *Budget) SuccessAt(now time.Time) { b.success(1, now) }

func (b *Budget) success(share float64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.saved+share*b.ratio, b.room(now))
	if b.within != nil {
		b.within.success(share*b.ratio, now)
	}
}

// CountAt is so many times Call, and then so many times Success, by a clock that was read just after them. Both are
// from 0, and independent: a call may succeed in a later count than it began in. A time that is earlier than
// another call's is taken for that.
func (b *Budget) CountAt(at time.Time, calls, successes int) {
	b.call(float64(calls), at)
	b.success(float64(successes), at)
}

// Take spends one re-attempt, or reports that none is saved.
func (b *Budget) Take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.saved, b.room(time.Now()))
	if b.ratio == 0 || b.saved < 1 || b.within != nil && !b.within.Take() {
		return false
	}
	b.saved--
	return true
}

// Refund gives back a re-attempt that was taken and never sent.
func (b *Budget) Refund() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.saved+1, b.room(time.Now()))
	if b.within != nil {
		b.within.Refund()
	}
}

// SetRatio changes the share. A lower one scales what is saved with what may be; a higher one leaves
// it as it is, so that no push, and no sequence of pushes, saves anything: only successes do.
func (b *Budget) SetRatio(ratio float64) error {
	if !(ratio >= 0 && ratio <= 1) {
		return fmt.Errorf("retry: budget ratio is %v, not from 0 to 1", ratio)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if ratio == b.ratio {
		return nil
	}
	now := time.Now()
	before := b.room(now)
	saved := min(b.saved, before)
	b.ratio = ratio
	b.saved = saved * min(1, b.room(now)/before)
	return nil
}

// Saved returns how many re-attempts are saved and how many could be: in the budget that this one is
// within too, if that has less.
func (b *Budget) Saved() (saved, room float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room = b.room(time.Now())
	saved = min(b.saved, room)
	if b.within != nil {
		shared, most := b.within.Saved()
		saved, room = min(saved, shared), min(room, most)
	}
	return saved, room
}

// room is the most that may be saved now.
func (b *Budget) room(now time.Time) float64 {
	b.roll(now)
	return max(savedAtMost, b.ratio*b.all)
}

func (b *Budget) period(at time.Time) int64 {
	return int64(at.Sub(b.start) / (budgetWindow / budgetBuckets))
}

// roll forgets the buckets that have left the window. An earlier time than another call's changes
// nothing.
func (b *Budget) roll(at time.Time) {
	now := b.period(at)
	if now <= b.newest {
		return
	}
	for n := max(b.newest+1, now-budgetBuckets+1); n <= now; n++ {
		b.calls[n%budgetBuckets] = 0
	}
	b.newest, b.all = now, 0
	for _, n := range b.calls { // anew, so that rounding doesn't add up
		b.all += n
	}
}
