package pacing

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tether-go/tether/internal/random"
)

// Why a [Gate] keeps a call back.
var (
	// ErrHeld means that the server said when to come back, and that this is not yet.
	ErrHeld = errors.New("pacing: held: the server said not before")
	// ErrPaced means that calls return one at a time, at the client's usual rate.
	ErrPaced = errors.New("pacing: paced: calls return at their usual rate")
)

// Policy says how a [Gate] treats the server's word. It is plain data: the zero value is the
// documented default of every field.
type Policy struct {
	// MaxHold is the longest hold that one answer can cause; a server that wants longer says so
	// again then. From 1 s. Default 1 h.
	MaxHold time.Duration
	// PacingOff leaves calls unpaced after a hold and after overload. Holds are kept all the same.
	PacingOff bool
}

// WithDefaults returns the policy with every zero field replaced by its default.
func (p Policy) WithDefaults() Policy {
	if p.MaxHold == 0 {
		p.MaxHold = time.Hour
	}
	return p
}

// Validate lists every field that cannot mean anything.
func (p Policy) Validate() error {
	if p.WithDefaults().MaxHold < time.Second {
		return fmt.Errorf("pacing: MaxHold %v is under 1s", p.MaxHold)
	}
	return nil
}

// Options are the settings of a [Gate] that only code can make.
type Options struct {
	// Rand yields uniform numbers in [0, 1) and is safe for concurrent use. Default: a source of the
	// gate's own, seeded by the operating system.
	Rand func() float64
	// Usual is about how many calls a second are asked for, as far as is known. The gate begins to
	// measure there.
	Usual float64
}

const (
	// A client returns at its usual rate and a little more, so that calls that waited are caught up;
	// good answers let it grow to returnMost, which a server that runs at three quarters of its
	// capacity can still serve. After returnTime the calls that waited then are gone: waiting calls are
	// new demand, and the rate may grow on, by an e-fold in growTime.
	returnFactor = 1.1
	returnMost   = 1.2
	returnTime   = 60 * time.Second
	growTime     = 20 * time.Second
	idleTime     = 30 * time.Second // longer than the longest gap between probes
	// calledOn is how many waiting calls leave one by one on fast answers once the server is back. A
	// fleet of quiet clients finds that out over seconds; clients that know serve for the others.
	calledOn = 6
	// leakTime is after how long without a send an attempt under way no longer keeps others back: it
	// may have been forgotten.
	leakTime = 2 * time.Second
	meanTime = 3 * time.Second // over which a busy client averages the times of its answers
)

// Gate keeps calls back while a server has asked for silence, and lets them return afterwards in
// random phase at about the client's own usual rate, without a burst. It paces
// calls too while failures say that the server is down or overloaded: fast enough to find the end of
// that, slowly enough not to stand in its way. A lone timeout, failures that answer fast, and slowness
// don't pace calls. It is safe for concurrent use.
type Gate struct {
	rand func() float64

	mu     sync.Mutex // guards all fields below
	policy Policy
	demand demand
	usual  float64   // calls/s as they were when the calm ended; 0: they are calm
	kept   bool      // usual stands until calls return, whatever still ends well
	young  bool      // the calm was too short to know: more may be usual
	until  time.Time // nothing leaves before
	pacer  pacer

	credit  float64       // sends that may leave now
	at      time.Time     // when credit was last brought up to date
	from    time.Time     // when the last return began, or something failed last
	goodAt  time.Time     // when the last good answer came
	proved  bool          // a good answer came since then, or since the last failure
	called  int           // how many calls fast answers may still call on
	denied  bool          // a call was turned away since the last one that passed
	waiting int           // calls, when last told
	sent    time.Time     // when a call last passed
	running int           // attempts under way
	mean    time.Duration // of good answers' times while nothing was paced
	recent  time.Duration // mean of the last few
}

// NewGate returns an open gate.
func NewGate(policy Policy, opts Options) (*Gate, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	if opts.Rand == nil {
		opts.Rand = random.New(0).Float64
	}
	g := &Gate{rand: opts.Rand, policy: policy.WithDefaults()}
	if opts.Usual > 0 {
		g.demand = demandOf(opts.Usual, time.Now())
	}
	return g, nil
}

// SetPolicy changes the policy. A hold that is on is never shortened by it.
func (g *Gate) SetPolicy(policy Policy) error {
	if err := policy.Validate(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.policy = policy.WithDefaults()
	return nil
}

// Doubt is how long the repeat of a lone failure should wait, at random: about as long as it takes
// until the client's next call shows whether it was an accident. Clients that fail together then
// repeat apart.
func (g *Gate) Doubt() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pacer.paced || !g.pacer.failing || g.policy.PacingOff {
		return 0
	}
	return time.Duration((0.5 + g.rand()) / max(0.5, g.usualRate(time.Now())) * 1e9)
}

// Usual is how many calls a second are usual.
func (g *Gate) Usual() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.usualRate(time.Now())
}

// Ask counts a call that is asked for, once a call: the client's usual rate is measured by it.
func (g *Gate) Ask() { g.AskAt(time.Now()) }

// AskAt is Ask by a clock that was just read, which costs more than all the rest.
func (g *Gate) AskAt(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.demand.ask(now)
}

// Take lets one call through, or says why not and when to try again. Each call let through is answered
// by one of Good, Failed, Ignored, Hold or Untake. Waiting is how many calls wait for this gate beside
// the one that asks. Pacing ends with a call beside which none waits, after a good answer, if none was
// turned away since the one before: callers then ask for less than may leave. It lapses
// when nothing was sent for half a minute: a fresh call teaches more than the old answers.
func (g *Gate) Take(waiting int) (retryAt time.Time, err error) { return g.TakeAt(time.Now(), waiting) }

// TakeAt is Take by a clock that was just read.
func (g *Gate) TakeAt(now time.Time, waiting int) (retryAt time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = waiting
	if now.Before(g.until) {
		return g.until, ErrHeld
	}
	if g.policy.PacingOff || now.Sub(later(g.from, g.sent)) > idleTime {
		g.free()
	}
	if g.pacer.paced {
		d := g.earn(now)
		if g.credit < 1 {
			// A nanosecond more, so that rounding can't wake the caller just too early.
			gap := time.Duration((1-g.credit)/g.pacer.pace(d)*1e9) + 1
			return now.Add(gap), ErrPaced
		}
		if g.windowFull(now, d) {
			if lapse := g.sent.Add(max(leakTime, 5*g.mean)); now.Before(lapse) {
				return lapse, ErrPaced
			}
			g.running = 0
		}
		g.credit--
		// After a minute without trouble only bursts are still turned away from a rate that is enough.
		enough := !g.denied || now.Sub(g.from) > returnTime && g.pacer.rate >= g.demand.rate(now)
		if waiting == 0 && enough && g.proved && g.pacer.rate >= d {
			g.free()
		}
		g.denied = false
	}
	g.running++
	g.sent = later(g.sent, now)
	return time.Time{}, nil
}

// free ends pacing and forgets its lessons.
func (g *Gate) free() { g.pacer.free(); g.usual, g.kept = 0, false }

// windowFull tells whether as many attempts are under way as the rate needs where answers are fast:
// more would only wait in the server's queue. A minute after the last failure slowness may
// be the server's new normal: then the usual rate always has the room that it needs.
func (g *Gate) windowFull(now time.Time, d float64) bool {
	needed := g.pacer.rate * g.mean.Seconds()
	if now.Sub(g.from) > returnTime {
		needed = max(needed, d*g.recent.Seconds())
	}
	return g.mean > 0 && float64(g.running) >= max(1, window*needed)
}

// TurnedAway says that a call could not wait for its turn: there is more demand than waits here.
func (g *Gate) TurnedAway() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.denied = true
}

// Untake gives back a call that [Gate.Take] let through and that was never sent.
func (g *Gate) Untake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended()
	if !time.Now().Before(g.until) { // else a hold has begun meanwhile, and with it a new phase
		g.credit = max(g.credit, min(1, g.credit+1))
	}
}

// Ignored says that an attempt taught nothing.
func (g *Gate) Ignored() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended()
}

func (g *Gate) ended() { g.running = max(0, g.running-1) }

// Paced tells whether calls leave one at a time.
func (g *Gate) Paced() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pacer.paced
}

// Status tells whether a hold is on and until when, and the paced rate (0: not paced).
func (g *Gate) Status() (until time.Time, perSecond float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.pacer.paced {
		perSecond = g.pacer.pace(g.earn(now))
	}
	if now.Before(g.until) {
		until = g.until
	}
	return until, perSecond
}
