package breaker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/tether-go/tether/internal/eventqueue"
	"github.com/tether-go/tether/internal/random"
)

// Options are what only code can set. The zero value is useful.
type Options struct {
	// Rand returns uniform numbers in [0, 1), which jitter the open time. It must be safe for
	// concurrent use. Nil means a source of the breaker's own, seeded by the operating system.
	Rand func() float64
	// Observe hears every change of state, in order, one at a time and with no lock held: it may call
	// the breaker. It runs on the goroutine of a call that uses the breaker, so a slow one delays that
	// call and no other. A panic in it is swallowed. When it is 256 events behind, the oldest are
	// dropped.
	Observe func(Event)
}

// eventLimit is minutes of changes of state at the shortest sensible open times.
const eventLimit = 256

// Breaker decides whether calls to one server are sent. Use New.
//
// A Breaker is safe for concurrent use. It starts no goroutine and needs no closing.
type Breaker struct {
	rand   func() float64
	events *eventqueue.Queue[Event]
	pass   atomic.Uint64 // for a look without the lock: 1 + generation while every call passes untimed, else 0

	mu     sync.Mutex // guards what follows
	policy Policy     // defaults resolved

	machine    *machine // closed when state is; open or half-open when state is either
	state      State
	generation uint64 // of the state; calls admitted in an earlier one teach nothing
	cause      Cause  // why machine opened, set by trip
	tripCounts Counts // what machine had counted when it opened

	reason    Cause     // why the state is what it is
	slows     *machine  // counts slow calls as failures, never opens; nil: none was counted
	spared    uint64    // calls that only ObserveOnly admitted
	streak    uint64    // failures in a row
	probes    []*call   // out and not lapsed, the oldest first
	good      int       // probes that succeeded in this half-open time
	openedAt  time.Time // when the breaker last opened
	closedAt  time.Time // when it last closed; zero, long ago, if never
	doublings int       // of the open time
	phase     float64   // of the jitter of the open time
	nextPhase float64   // of the next opening: Rand isn't called under the lock
	opened    uint64
	changed   bool // the state changed since the lock was taken
}

// New returns a closed breaker. The error names every field of the policy that is impossible.
func New(policy Policy, opts Options) (*Breaker, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	if opts.Rand == nil {
		opts.Rand = random.New(0).Float64
	}
	b := &Breaker{
		rand:      opts.Rand,
		events:    eventqueue.New(eventLimit, opts.Observe),
		policy:    policy.WithDefaults(),
		nextPhase: opts.Rand(),
	}
	b.machine = newMachine(b.policy.Window, b.trip)
	b.letPass()
	return b, nil
}

// letPass notes whether calls need to be asked about. It runs where the state or the policy changes.
func (b *Breaker) letPass() {
	timed := b.policy.SlowCallRatio > 0 && b.policy.SlowCallDuration > 0
	if b.state == Closed && !b.policy.Mode.forced() && !timed {
		b.pass.Store(b.generation + 1)
	} else {
		b.pass.Store(0)
	}
}

// Allow admits a call, or refuses it with an *OpenError, for which errors.Is(err, ErrOpen) holds.
// Whoever is admitted should call Done on the ticket. Allow never waits.
func (b *Breaker) Allow() (Ticket, error) { return b.AllowIn(nil) }

// Room is memory for one ticket. The zero value is ready. It is free again once Done was called on
// that ticket, of which there must be no copy any more.
type Room struct{ call call }

// AllowIn is Allow for a caller that has memory of its own for each call: in the closed state the
// ticket lives in room, and nothing is allocated.
func (b *Breaker) AllowIn(room *Room) (Ticket, error) {
	if pass := b.pass.Load(); pass != 0 {
		if room == nil {
			room = new(Room)
		}
		room.call = call{breaker: b, generation: pass - 1}
		return Ticket{&room.call}, nil
	}
	b.mu.Lock()
	defer b.unlock()
	switch b.policy.Mode {
	case ForcedClosed:
		return Ticket{}, nil
	case ForcedOpen:
		return Ticket{}, &OpenError{Forced: true}
	}
	if b.state == Closed {
		if room == nil {
			room = new(Room)
		}
		room.call = call{breaker: b, generation: b.generation, began: time.Now()}
		return Ticket{&room.call}, nil
	}
	now := time.Now()
	b.advance(now)
	retryAt, refused := b.refused()
	switch {
	case refused && b.policy.Mode == ObserveOnly:
		b.spared++
		return Ticket{}, nil
	case refused:
		return Ticket{}, &OpenError{RetryAt: retryAt, Probing: b.state == HalfOpen}
	}
	return Ticket{b.lease(now)}, nil
}

// Do calls fn if the breaker allows it, and returns its error or the refusal. A nil error is a
// Success and any other a Failure, except that context.Canceled (the caller's doing) and ErrOpen
// (another breaker's) are Ignored. If fn panics or ends the goroutine, that is Ignored too, and
// goes its way.
func (b *Breaker) Do(fn func() error) error {
	ticket, err := b.Allow()
	if err != nil {
		return err
	}
	result := Ignored
	defer func() { ticket.Done(result) }()
	err = fn()
	switch {
	case err == nil:
		result = Success
	case !errors.Is(err, context.Canceled) && !errors.Is(err, ErrOpen):
		result = Failure
	}
	return err
}

// SetPolicy changes the policy and keeps what was learnt. Everything is in force at once:
//
//   - thresholds are judged at the next failure, with the counts as they are;
//   - an open breaker stays open, its time counted from when it opened: repeating a push extends
//     nothing, and none closes the breaker;
//   - the number and the lease of probes hold for those that are out;
//   - a new Window keeps the counts as if their calls had just ended (of more than 10,000 the ratio
//     is kept); a breaker that isn't closed has none, and takes the window when it closes.
//
// A policy that means the same as the present one changes nothing. An impossible one is refused as
// by New, and changes nothing.
func (b *Breaker) SetPolicy(policy Policy) error {
	if err := policy.Validate(); err != nil {
		return err
	}
	policy = policy.WithDefaults()
	b.mu.Lock()
	defer b.unlock()
	b.advance(time.Now()) // what is over under the old policy stays over
	b.policy = policy
	if policy.SlowCallRatio == 0 {
		b.slows = nil
	} else if b.slows != nil && b.slows.window != policy.Window {
		b.slows = b.slows.resized(policy.Window)
	}
	if b.state == Closed && b.machine.window != policy.Window {
		b.machine = b.machine.resized(policy.Window)
	}
	b.letPass()
	return nil
}

// State returns where the breaker stands now: HalfOpen as soon as the open time is over, before any
// probe goes out. In the forced modes it is what was learnt before. As time may have changed the
// state, State may deliver events.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.unlock()
	b.advance(time.Now())
	return b.state
}

// Refuses tells whether the next call may be refused: the mode is ForcedOpen, or it is Auto and the
// State is not Closed. Like State, it may deliver events.
func (b *Breaker) Refuses() bool {
	b.mu.Lock()
	defer b.unlock()
	b.advance(time.Now())
	return b.policy.Mode == ForcedOpen || b.policy.Mode == Auto && b.state != Closed
}

// Health returns a snapshot for people and dashboards. Like State, it may deliver events.
func (b *Breaker) Health() Health {
	dropped := b.events.Dropped()
	b.mu.Lock()
	defer b.unlock()
	b.advance(time.Now())
	h := Health{
		State:    b.state,
		Cause:    b.reason,
		Mode:     b.policy.Mode,
		Probes:   len(b.probes),
		Spared:   b.spared,
		Opened:   b.opened,
		OpenedAt: b.openedAt,
		Dropped:  dropped,
	}
	if b.state == Closed {
		h.Counts = b.counts(b.machine.counts())
	}
	if h.Mode == Auto {
		h.RetryAt, _ = b.refused()
	}
	return h
}

// unlock releases the lock, and then does what a change of state asks for but must not be done
// under it.
func (b *Breaker) unlock() {
	changed := b.changed
	b.changed = false
	b.mu.Unlock()
	if !changed {
		return
	}
	phase := b.rand()
	b.mu.Lock()
	b.nextPhase = phase
	b.mu.Unlock()
	b.events.Deliver()
}

// trip is asked by the machine after a failure in the closed state.
func (b *Breaker) trip(c gobreaker.Counts) bool {
	b.tripCounts = b.counts(c)
	var open bool
	b.cause, open = b.policy.trip(b.tripCounts)
	return open
}

func (b *Breaker) counts(c gobreaker.Counts) Counts {
	counts := Counts{
		Successes:           uint64(c.TotalSuccesses),
		Failures:            uint64(c.TotalFailures),
		ConsecutiveFailures: b.streak,
	}
	if b.slows != nil {
		counts.Slow = uint64(b.slows.counts().TotalFailures)
	}
	return counts
}
