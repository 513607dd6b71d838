package target

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/internal/metrics"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/loopguard"
	"github.com/tether-go/tether/policy"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/latency"
	"github.com/tether-go/tether/internal/priority"
	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/retry"
)

// Key names a server: HTTP's origin, or what a call says. A rule with a state of its own adds
// its name.
type Key struct {
	Scheme, Host, Service, Rule string
}

// Target is what has been learnt about one server. It is safe for concurrent use.
type Target struct {
	Key     Key
	Name    string // for errors and events
	Clock   *clock.Clock
	rand    func() float64 // the engine's
	seed    maphash.Seed   // the engine's
	born    clock.Moment   // when it was made
	Gate    *pacing.Gate
	Breaker *breaker.Breaker
	Budget  *retry.Budget
	limits
	Queue    queue.Queue
	Shedder  *priority.Shedder
	Stats    stats
	InFlight atomic.Int32 // attempts that are not settled
	Series   *metrics.Series

	Users     atomic.Int32 // calls under way but for the quiet ones; a target that has some is never forgotten
	wasKilled atomic.Bool  // changed under the lock
	laned     atomic.Bool  // lanes has some

	Mu         sync.Mutex // guards what follows
	Fast       fastPath
	lastRoute  lastEndpoint
	used       clock.Moment // when a call last began
	settings   Settings
	version    uint64            // of the snapshot that settings came from
	Lanes      map[LaneKey]*Lane // since a credential was told to wait or to slow down
	Partitions Partitions
	usual      time.Duration // about the median time to an answer; 0: not known
	baselines  latency.Endpoints
	loops      loopguard.Guard
	tooShort   time.Duration // the longest time that brought no answer since the last one
	hasty      int           // deadlines in a row that left little time and ended without an answer
	hastySince time.Time     // sending of the first of them
	hastyTime  time.Duration // the longest that one of them waited
	hastyNext  time.Time     // before which no further call with as little time is sent
}

// Settings are the part of a policy that belongs to a target.
type Settings struct {
	budgetRatio float64
	gate        pacing.Policy
	breaker     breaker.Policy
	rate        ratelimit.LimitPolicy
	concurrency ratelimit.ConcurrencyPolicy
}

func SettingsOf(p *policy.Resolved) Settings {
	b := p.Breaker
	b.SlowCallDuration = 0 // we tell it what is slow: it can't tell a stream from an answer
	return Settings{p.BudgetRatio, pacing.Policy{MaxHold: p.HoldMax, PacingOff: p.PacingOff}, b,
		p.Rate, p.Concurrency}
}

// Follow brings the stages up to a newer snapshot's settings; what they have learnt stays.
func (t *Target) Follow(p *policy.Resolved, version uint64) {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	t.followLocked(p, version, t.Clock.MomentOf(time.Now()))
}

func (t *Target) followLocked(p *policy.Resolved, version uint64, now clock.Moment) {
	t.used = max(t.used, now) // another call's clock may have been read later
	if version <= t.version {
		return
	}
	t.version = version
	settings := SettingsOf(p)
	if settings == t.settings {
		return
	}
	t.closeFastLocked()
	was, is := t.settings.breaker.Mode == breaker.ForcedOpen, settings.breaker.Mode == breaker.ForcedOpen
	switch {
	case is && !was:
		t.Gate.Remember()
	case was && !is: // law 4: as after a kill
		t.Gate.Resume()
	}
	t.settings = settings
	t.Gate.SetPolicy(settings.gate)
	for _, l := range t.Lanes {
		l.Gate.SetPolicy(settings.gate)
	}
	t.Breaker.SetPolicy(settings.breaker)
	t.Budget.SetRatio(settings.budgetRatio)
	t.limits.set(settings)
	t.Queue.WakeAll() // what stood in the way may not do so any more
}

// Useful is what an attempt takes at least to be of use: about the median of the answers so far.
func (t *Target) Useful() time.Duration {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	return t.usual
}

// learnTimeout notes that took was not enough for an answer.
func (t *Target) learnTimeout(took time.Duration) {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	t.tooShort = max(t.tooShort, took)
}

// Reserve is what a call that waits must keep of its time for the attempt: twice the median, since half
// of the calls that leave with no more would be served too late, or what was not enough lately. The
// next answer corrects it; calls that need not wait are not asked, and so there always are such answers.
func (t *Target) Reserve() time.Duration {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	return max(2*t.usual, t.tooShort)
}

// Killed notes that a kill switch refused a call; alive, that it no longer does.
func (t *Target) Killed() {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	if !t.wasKilled.Swap(true) {
		t.closeFastLocked()
		t.Gate.Remember()
	}
}

func (t *Target) Alive() {
	if !t.wasKilled.Load() {
		return
	}
	t.BeginTrouble()
	defer t.EndTrouble()
	t.Mu.Lock()
	was := t.wasKilled.Swap(false)
	t.Mu.Unlock()
	if was {
		t.Gate.Resume()
	}
}

// forgotten is so few users that none who still finds the target takes it for one in use.
const forgotten = math.MinInt32 / 2

// useLease is how long a call keeps its target in the table while no other begins there: longer than any but a stream
// takes. A permit that its caller forgot must not keep it for good (laws 5 and 11).
const useLease = time.Hour

// unusedFor is the time since a call last began. The target is locked.
func (t *Target) unusedFor() time.Duration { return t.Clock.MomentOf(time.Now()).Since(t.used) }

// inUse tells whether calls are under way whose lease has not ended. The target is locked.
func (t *Target) inUse() bool {
	return (t.Users.Load() > 0 || t.Fast.UnderWay > 0) && t.unusedFor() < useLease
}

// Forget reports false for a target that is in use.
func (t *Target) Forget() bool {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	users := t.Users.Load()
	return !t.inUse() && t.Users.CompareAndSwap(users, users+forgotten)
}

func (t *Target) Release() { t.Users.Add(-1) }

// idle tells when the target was last used and whether forgetting it would loosen nothing. It looks at that many of
// its lanes at most; one whose lanes are more is not idle yet.
func (t *Target) idle(looks *int) (used clock.Moment, idle bool) {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	recent := t.unusedFor() < ReturnMemory
	if t.inUse() || t.wasKilled.Load() || busy(t.Gate, recent) {
		return t.used, false
	}
	mode := t.settings.breaker.Mode
	if state := t.Breaker.State(); state == breaker.Open && mode != breaker.ForcedOpen && mode != breaker.ForcedClosed ||
		recent && (state != breaker.Closed || mode == breaker.ForcedOpen) {
		return t.used, false // else a thousand dead servers would keep the table for ever
	}
	return t.used, t.lanesIdle(recent, looks)
}

// returnMemory is how long a target that nobody calls is kept for the sake of its pacing alone.
const ReturnMemory = 5 * time.Minute

func busy(g *pacing.Gate, recent bool) bool {
	until, perSecond := g.Status()
	return !until.IsZero() || recent && perSecond > 0
}
