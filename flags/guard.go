package flags

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tether-go/tether/internal/eventqueue"
	"github.com/tether-go/tether/internal/random"
)

const (
	// reentry is how many calls in a row must succeed before a flag that was off is on again.
	reentry = 5
	// probeLease is how long one of them may take before it counts as failed.
	probeLease = 10 * time.Second
	// latchJitter is the most that a latch is lengthened by, as a share of it: clients that turned
	// a flag off together don't try it again together.
	latchJitter = 0.25
	// maxGuardEvents bounds the events that a slow listener has yet to hear of.
	maxGuardEvents = 64
)

// GuardOptions are settings of the program, not of a server. The zero value is the default.
type GuardOptions struct {
	// FallBack says that the old path may run after the new one failed, panicked or took too long:
	// that whatever the new one did by then does no harm when the old one does it again. Default: the
	// new path's failure is the caller's.
	FallBack bool
	// Timeout ends the context of the new path, which must obey it. Default: the caller's deadline alone.
	Timeout time.Duration
	// Failed tells which errors say something against a path. Default: all of them.
	Failed func(error) bool
	// Observe hears of every event, in order, outside every lock. It must not wait.
	Observe func(GuardEvent)
	// Seed makes the jitter of the latch repeatable; 0 draws one. Default 0.
	Seed uint64
}

// GuardEvent is something that a guard did.
type GuardEvent struct {
	Key  string // of the flag
	Kind GuardEventKind
	Err  error       // why the new path failed, of FellBack and StaysOff; else nil
	New  GuardCounts // within the window, of TurnedOff
	Old  GuardCounts // within the window, of TurnedOff
}

// GuardEventKind tells what a guard did.
type GuardEventKind string

// The events of a guard.
const (
	FellBack    GuardEventKind = "fell back"    // the old path answers for the new one
	TurnedOff   GuardEventKind = "turned off"   // the new path is clearly worse
	TryingAgain GuardEventKind = "trying again" // the latch is over; a few calls try the new path
	StaysOff    GuardEventKind = "stays off"    // one of them failed
	TurnedOn    GuardEventKind = "turned on"    // all of them succeeded
)

// GuardCounts are the calls of one path. Those that their caller cancelled are not among them.
type GuardCounts struct{ Calls, Failures uint64 }

// GuardStatus is how a guard stands.
type GuardStatus struct {
	Off       bool        // the new path is turned off, or only being tried
	New, Old  GuardCounts // since the guard was made
	Fallbacks uint64      // calls of the new path that the old one answered
	Dropped   uint64      // events that nobody heard
}

// Guard runs the new path of a boolean flag for those who have the flag, and the old path for everybody
// else. It compares the two over the same time, and turns the flag off in this process where the new path
// is clearly worse; what fails for both says nothing. It needs calls of both to compare: with everybody on
// the new path, only fallbacks are calls of the old one.
//
// After [GuardPolicy].Latch a few calls, one at a time, try the new path again. A push doesn't end a
// latch, or raising a share from 5 to 10 % would bring a fault back everywhere at once; a shorter latch in
// flagSettings does. It is safe for concurrent use, starts no goroutine, and needs no closing.
type Guard struct {
	store   *Store
	key     string
	policy  GuardPolicy
	options GuardOptions
	random  *random.Source
	events  *eventqueue.Queue[GuardEvent]

	mu         sync.Mutex // guards what follows
	status     GuardStatus
	state      guardState
	epoch      uint64 // of the state: results of an earlier one change nothing
	window     window
	since      time.Time // the flag is off
	phase      float64   // of the latch's jitter
	probing    bool
	probeUntil time.Time
	succeeded  int // probes in a row
}

type guardState uint8

const (
	guardOn guardState = iota
	guardOff
	guardTrying
)

// NewGuard returns a guard of one flag of a store. What the document's flagSettings say about the flag
// replaces the policy's fields one by one, at each call. The error names impossible values.
func NewGuard(store *Store, key string, policy GuardPolicy, options GuardOptions) (*Guard, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	switch {
	case store == nil || key == "":
		return nil, errors.New("flags: a guard needs a store and the key of a flag")
	case options.Timeout < 0:
		return nil, fmt.Errorf("flags: Timeout is %v, must not be negative", options.Timeout)
	}
	return &Guard{store: store, key: key, policy: policy, options: options,
		random: random.New(options.Seed), events: eventqueue.New(maxGuardEvents, options.Observe)}, nil
}

// Key returns the key of the guard's flag.
func (g *Guard) Key() string { return g.key }

// Status tells how the guard stands.
func (g *Guard) Status() GuardStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	status := g.status
	status.Off = g.state != guardOn
	status.Dropped = g.events.Dropped()
	return status
}

// Do runs fresh for those who have the flag, while it is on here, else old, and returns what that returned.
// With FallBack, old runs after a fresh that failed, unless the caller's context is done.
func (g *Guard) Do(ctx context.Context, attributes Attributes,
	fresh, old func(context.Context) error) error {
	t := g.admit(attributes)
	g.events.Deliver()
	if t.fresh {
		failed, err := g.measure(ctx, t, fresh)
		if !failed || !g.options.FallBack || ctx.Err() != nil {
			return err
		}
		g.fellBack(err)
	}
	t.fresh, t.probe = false, false
	_, err := g.measure(ctx, t, old)
	return err
}

// ticket is one call of one path.
type ticket struct {
	policy GuardPolicy
	fresh  bool // of the new path
	probe  bool
	epoch  uint64
}

func (g *Guard) admit(attributes Attributes) ticket {
	set := g.store.Current()
	return g.ticketFor(set, set.Bool(attributes, g.key, false))
}

func (g *Guard) ticketFor(set *Set, has bool) ticket {
	t := ticket{policy: overlaid(g.policy, set.Guard(g.key))}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if has {
		t.fresh, t.probe = g.lets(t.policy, now)
	}
	t.epoch = g.epoch
	return t
}

// overlaid returns the policy with what the document says instead.
func overlaid(local, pushed GuardPolicy) GuardPolicy {
	if pushed.MinCalls != 0 {
		local.MinCalls = pushed.MinCalls
	}
	if pushed.WorseBy != 0 {
		local.WorseBy = pushed.WorseBy
	}
	if pushed.SlowerBy != 0 {
		local.SlowerBy = pushed.SlowerBy
	}
	if pushed.Window != 0 {
		local.Window = pushed.Window
	}
	if pushed.Latch != 0 {
		local.Latch = pushed.Latch
	}
	return local.WithDefaults()
}

// lets tells whether the new path may run. It is called with the lock held.
func (g *Guard) lets(policy GuardPolicy, now time.Time) (fresh, probe bool) {
	if g.state == guardOn {
		return true, false
	}
	if g.state == guardOff {
		latch := time.Duration(float64(policy.Latch) * (1 + latchJitter*g.phase))
		if now.Before(g.since.Add(latch)) {
			return false, false
		}
		g.enter(guardTrying, now)
		g.events.Push(GuardEvent{Key: g.key, Kind: TryingAgain})
	}
	if g.probing {
		if now.Before(g.probeUntil) {
			return false, false
		}
		g.enter(guardOff, now)
		g.events.Push(GuardEvent{Key: g.key, Kind: StaysOff, Err: context.DeadlineExceeded})
		return false, false
	}
	g.probing, g.probeUntil = true, now.Add(probeLease)
	return true, true
}

// enter changes the state. It is called with the lock held.
func (g *Guard) enter(state guardState, now time.Time) {
	g.state = state
	g.epoch++
	g.probing, g.succeeded = false, 0
	g.window = window{}
	if state == guardOff {
		g.since, g.phase = now, g.random.Float64()
	}
}

func (g *Guard) fellBack(err error) {
	g.mu.Lock()
	g.status.Fallbacks++
	g.events.Push(GuardEvent{Key: g.key, Kind: FellBack, Err: err})
	g.mu.Unlock()
	g.events.Deliver()
}
