package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tether-go/tether/internal/random"
)

// Why a [Gate] keeps a call back.
var (
	// ErrHeld means that the server said when to come back, and that this is not yet.
	ErrHeld = errors.New("ratelimit: held: the server said not before")
	// ErrPaced means that calls return one at a time, at the client's usual rate.
	ErrPaced = errors.New("ratelimit: paced: calls return at their usual rate")
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
		return fmt.Errorf("ratelimit: MaxHold %v is under 1s", p.MaxHold)
	}
	return nil
}

// Options are what only code can set about a [Gate].
type Options struct {
	// Rand yields uniform numbers in [0, 1) and is safe for concurrent use. Default: a source of the
	// gate's own, seeded by the operating system.
	Rand func() float64
}

const (
	// A client returns at its usual rate and a little more, so that calls that waited are caught up;
	// good answers let it grow to returnMost, which a server that runs at three quarters of its
	// capacity can still serve. After returnTime it grows as fast as answers let it: demand may have
	// changed meanwhile, and a healthy server must not be kept from it.
	returnFactor = 1.1
	returnMost   = 1.3
	returnTime   = 30 * time.Second
	// growth is how much of an e-fold one good answer adds to a paced rate, and growTime bounds it to
	// one such step in that time: a busy client's many answers move it no faster than few do.
	growth   = 0.12
	growTime = 3 * time.Second
	// An overloaded answer halves the rate, down to probes that are frequent enough to notice the end
	// of the overload: a quarter of the usual rate, between one in 25 s and one a second.
	shrink     = 0.5
	probeShare = 0.25
	probeLeast = 1.0 / 25
	probeMost  = 1.0
	// One overloaded answer is an accident, two in a row are a state.
	overloadsInRow = 2
)

// Gate keeps calls back while a server has asked for silence, and lets them return afterwards in
// random phase at about the client's own usual rate, so that nobody owes the server a burst. It paces
// in the same way while answers keep saying "overloaded". It is safe for concurrent use.
type Gate struct {
	rand func() float64

	mu     sync.Mutex // guards what follows
	policy Policy
	demand demand
	usual  float64   // calls/s as they were when the calm ended; 0: not yet known
	until  time.Time // nothing leaves before
	strain int       // overloaded answers in a row

	paced  bool
	rate   float64   // sends/s
	credit float64   // sends that may leave now, at most 1
	at     time.Time // when credit was last brought up to date
	from   time.Time // when pacing began, or overload was seen last
	proved bool      // a good answer came since then
	denied bool      // a call was turned away since the last one that passed
}

// NewGate returns an open gate.
func NewGate(policy Policy, opts Options) (*Gate, error) {
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	if opts.Rand == nil {
		opts.Rand = random.New(0).Float64
	}
	return &Gate{rand: opts.Rand, policy: policy.WithDefaults()}, nil
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

// Ask counts a call that is asked for, once a call: the client's usual rate is measured by it.
func (g *Gate) Ask() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.demand.ask(time.Now())
}

// Take lets one call through, or says why not and when to try again. Waiting is how many calls wait
// for this gate beside the one that asks. Pacing ends with a call that nobody waits beside, after a good
// answer, if none was turned away since the one before: callers then ask for less than may leave.
func (g *Gate) Take(waiting int) (retryAt time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Before(g.until) {
		return g.until, ErrHeld
	}
	if g.policy.PacingOff {
		g.paced = false
	}
	if !g.paced {
		return time.Time{}, nil
	}
	g.earn(now)
	if g.credit < 1 {
		// A nanosecond more, so that rounding can't wake the caller just too early.
		gap := time.Duration((1-g.credit)/g.rate*1e9) + 1
		return now.Add(gap), ErrPaced
	}
	g.credit--
	if waiting == 0 && !g.denied && g.proved && g.strain == 0 && g.rate >= g.usual {
		g.paced, g.usual = false, 0
	}
	g.denied = false
	return time.Time{}, nil
}

// TurnedAway says that a call could not wait for its turn: there is more demand than waits here.
func (g *Gate) TurnedAway() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.denied = true
}

// Untake gives back what [Gate.Take] let through and nobody sent.
func (g *Gate) Untake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !time.Now().Before(g.until) { // else a hold has begun meanwhile, and with it a new phase
		g.credit = min(1, g.credit+1)
	}
}

// Hold keeps every call back until wait has passed, at most MaxHold. It never shortens a hold that
// is on. It reports when the hold ends.
func (g *Gate) Hold(wait time.Duration) (until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.until = later(g.until, now.Add(min(max(wait, 0), g.policy.MaxHold)))
	g.restart(now, g.until)
	return g.until
}

// Remember keeps the usual rate as it is now: trouble begins, and callers in distress may ask far more
// often than usual, or not at all. The end of pacing forgets it.
func (g *Gate) Remember() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remember(time.Now())
}

// Resume lets calls start again from now on, in random phase and at the usual rate: something else
// than a hold (an open breaker, a kill switch) has kept them back until now.
func (g *Gate) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.strain = 0
	g.restart(now, later(now, g.until))
}

// Recovered is Resume after a probe's good answer. Probes leave at random times already, so the next call
// need not wait for a phase of its own.
func (g *Gate) Recovered() {
	g.Resume()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.credit = 1
}

// Healthy says that an answer was good: a paced rate grows.
func (g *Gate) Healthy() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.strain = 0
	if !g.paced {
		return
	}
	g.proved = true
	now := time.Now()
	g.earn(now)
	step, most := growth*min(1, 1/(g.rate*growTime.Seconds())), returnMost*g.usual
	if now.Sub(g.from) > returnTime {
		most = math.Inf(1)
	}
	g.rate = min(g.rate*math.Exp(step), max(most, g.rate))
	// Back from probing: what kept the client down has passed, and one answer has tested it.
	g.rate = max(g.rate, shrink*g.usual)
}

// Overloaded says that an answer was a refusal without a time: the rate falls.
func (g *Gate) Overloaded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.strain++
	if g.strain < overloadsInRow && !g.paced {
		return
	}
	if !g.paced {
		g.restart(now, now)
	}
	g.earn(now)
	g.from, g.proved = now, false
	least := min(max(probeShare*g.usual, probeLeast), probeMost)
	g.rate = max(g.rate*shrink, least)
	// The next send is about one gap away, at random: clients refused together come back apart.
	g.credit = min(g.credit, g.rand()-0.5)
}

// Status tells whether a hold is on and until when, and the paced rate (0: not paced).
func (g *Gate) Status() (until time.Time, perSecond float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.paced {
		g.earn(now)
		perSecond = g.rate
	}
	if now.Before(g.until) {
		until = g.until
	}
	return until, perSecond
}

// restart begins paced sending at from, one gap or less away, at the rate that was usual when the
// trouble began; a gate too young to know it learns it until then.
func (g *Gate) restart(now, from time.Time) {
	g.remember(now)
	g.paced, g.rate = true, 0
	g.credit, g.at, g.from, g.proved = g.rand(), from, from, false
}

func (g *Gate) remember(now time.Time) {
	if g.usual == 0 && g.demand.known(now) {
		g.usual = g.demand.rate(now)
	}
}

// earn brings the rate and the credit up to date.
func (g *Gate) earn(now time.Time) {
	if g.usual == 0 {
		g.usual = g.demand.rate(now)
	}
	if g.rate == 0 {
		g.rate = returnFactor * g.usual
	}
	if elapsed := now.Sub(g.at).Seconds(); elapsed > 0 {
		g.credit = min(1, g.credit+elapsed*g.rate)
		g.at = now
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
