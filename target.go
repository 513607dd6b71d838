package tether

import (
	"hash/maphash"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/internal/metrics"

	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/loopguard"
	"github.com/tether-go/tether/policy"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/jsondoc"
	"github.com/tether-go/tether/internal/latency"
	"github.com/tether-go/tether/internal/priority"
	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/ratelimit"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/retry"
)

// targetKey names a server: HTTP's origin, or what a [Call] says. A rule with a state of its own adds
// its name.
type targetKey struct {
	scheme, host, service, rule string
}

// target is what has been learnt about one server. It is safe for concurrent use.
type target struct {
	key     targetKey
	name    string // for errors and events
	clock   *clock.Clock
	rand    func() float64 // the engine's
	seed    maphash.Seed   // the engine's
	born    clock.Moment   // when it was made
	gate    *pacing.Gate
	breaker *breaker.Breaker
	budget  *retry.Budget
	limits
	line      queue.Queue
	deference *priority.Shedder
	stats     stats
	inFlight  atomic.Int32 // attempts that are not settled
	series    *metrics.Series

	users     atomic.Int32 // calls under way but for the quiet ones; a target that has some is never forgotten
	wasKilled atomic.Bool  // changed under the lock
	laned     atomic.Bool  // lanes has some

	mu         sync.Mutex // guards what follows
	quiet      quiet
	lastRoute  lastRoute
	used       clock.Moment // when a call last began
	settings   targetPolicy
	version    uint64            // of the snapshot that settings came from
	lanes      map[laneKey]*lane // since a credential was told to wait or to slow down
	partitions partitions
	usual      time.Duration // about the median time to an answer; 0: not known
	normals    latency.Endpoints
	loops      loopguard.Guard
	tooShort   time.Duration // the longest time that brought no answer since the last one
	hasty      int           // deadlines in a row that left little time and ended without an answer
	hastySince time.Time
}

// targetPolicy is the part of a policy that belongs to a target.
type targetPolicy struct {
	budgetRatio float64
	gate        pacing.Policy
	breaker     breaker.Policy
	rate        ratelimit.LimitPolicy
	concurrency ratelimit.ConcurrencyPolicy
}

func forTarget(p *policy.Resolved) targetPolicy {
	b := p.Breaker
	b.SlowCallDuration = 0 // we tell it what is slow: it can't tell a stream from an answer
	return targetPolicy{p.BudgetRatio, pacing.Policy{MaxHold: p.HoldMax, PacingOff: p.PacingOff}, b,
		p.Rate, p.Concurrency}
}

func (ts *targets) make(key targetKey, settings targetPolicy, version uint64) *target {
	_, now := ts.opts.clock.Now()
	t := &target{key: key, name: key.host, clock: ts.opts.clock, rand: ts.opts.rand, seed: ts.opts.seed, born: now, settings: settings, version: version, used: now}
	if key.service != "" {
		t.name += " " + key.service
	}
	if key.rule != "" {
		t.name += " " + jsondoc.Plain(key.rule)
	}
	t.deference = priority.New(ts.opts.rand)
	t.series = ts.opts.series(t.name)
	// What Validate and Clamp let through is valid for the leaves: a failure here is a bug of ours, and
	// then the leaf's own defaults protect.
	var err error
	if t.gate, err = pacing.NewGate(settings.gate, pacing.Options{Rand: ts.opts.rand}); err != nil {
		t.gate, _ = pacing.NewGate(pacing.Policy{}, pacing.Options{Rand: ts.opts.rand})
	}
	opts := breaker.Options{Rand: ts.opts.rand, Observe: ts.observe(t)}
	if t.breaker, err = breaker.New(settings.breaker, opts); err != nil {
		t.breaker, _ = breaker.New(breaker.Policy{}, opts)
	}
	t.limits = newLimits(settings, ts.opts.rand)
	budget := retry.BudgetOptions{Initial: ts.opts.initialRetries}
	kin := ts.kin(key, version)
	if ts.forgot || len(kin) > 0 { // perhaps this very target: coming and going must not save anything
		budget.Initial = 0
	}
	if shared := ts.opts.budgets; shared != nil {
		budget.Within = shared.of(key, budget.Initial)
	}
	if t.budget, err = retry.NewBudget(settings.budgetRatio, budget); err != nil {
		t.budget, _ = retry.NewBudget(0, budget)
	}
	t.inherit(kin, ts.opts.rand)
	return t
}

// follow brings the stages up to a newer snapshot's settings; what they have learnt stays.
func (t *target) follow(p *policy.Resolved, version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.followLocked(p, version, t.clock.MomentOf(time.Now()))
}

func (t *target) followLocked(p *policy.Resolved, version uint64, now clock.Moment) {
	t.used = max(t.used, now) // another call's clock may have been read later
	if version <= t.version {
		return
	}
	t.version = version
	settings := forTarget(p)
	if settings == t.settings {
		return
	}
	t.disturbLocked()
	was, is := t.settings.breaker.Mode == breaker.ForcedOpen, settings.breaker.Mode == breaker.ForcedOpen
	switch {
	case is && !was:
		t.gate.Remember()
	case was && !is: // law 4: as after a kill
		t.gate.Resume()
	}
	t.settings = settings
	t.gate.SetPolicy(settings.gate)
	for _, l := range t.lanes {
		l.gate.SetPolicy(settings.gate)
	}
	t.breaker.SetPolicy(settings.breaker)
	t.budget.SetRatio(settings.budgetRatio)
	t.limits.set(settings)
	t.line.WakeAll() // what stood in the way may not do so any more
}

// useful is what an attempt takes at least to be of use: about the median of the answers so far.
func (t *target) useful() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.usual
}

// learnTimeout notes that took was not enough for an answer.
func (t *target) learnTimeout(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tooShort = max(t.tooShort, took)
}

// reserve is what a call that waits must keep of its time for the attempt: twice the median, since half
// of the calls that leave with no more would be served too late, or what was not enough lately. The
// next answer corrects it; calls that need not wait are not asked, and so there always are such answers.
func (t *target) reserve() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(2*t.usual, t.tooShort)
}

// killed notes that a kill switch refused a call; alive, that it no longer does.
func (t *target) killed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.wasKilled.Swap(true) {
		t.disturbLocked()
		t.gate.Remember()
	}
}

func (t *target) alive() {
	if !t.wasKilled.Load() {
		return
	}
	t.beginTrouble()
	defer t.endTrouble()
	t.mu.Lock()
	was := t.wasKilled.Swap(false)
	t.mu.Unlock()
	if was {
		t.gate.Resume()
	}
}

// tableOptions are what a table has of its engine.
type tableOptions struct {
	clock          *clock.Clock
	rand           func() float64
	seed           maphash.Seed
	most           int // targets that are kept
	initialRetries int
	budgets        *Budgets // nil: targets share none with other engines
	series         func(target string) *metrics.Series
	breakerChanged func(target, note string) // told under locks
}

// targets is the bounded map of all targets of an engine.
type targets struct {
	opts tableOptions

	last atomic.Pointer[target] // that was asked for, which most clients ask for again

	mu     sync.Mutex // guards what follows
	byKey  map[targetKey]*target
	rest   *target         // shared by what finds no room
	forgot bool            // a target was forgotten to make room
	rules  map[string]bool // that had a target of their own, up to maxRules
}

// find returns the state of the server that key names. It may be forgotten before a call has entered it.
func (ts *targets) find(key targetKey, p *policy.Resolved, version uint64) *target {
	if t := ts.last.Load(); t != nil && t.key == key && t.users.Load() >= 0 {
		return t
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.byKey[key]
	if t == nil {
		t = ts.admit(key, p, version)
	}
	ts.last.Store(t)
	return t
}

// use is find for a user that is no call. It counts as a user until it calls release.
func (ts *targets) use(key targetKey, p *policy.Resolved, version uint64) *target {
	for {
		if t := ts.find(key, p, version); t.users.Add(1) > 0 {
			return t
		}
	}
}

// forgotten is so few users that none who still finds the target takes it for one in use.
const forgotten = math.MinInt32 / 2

// useLease is how long a call keeps its target in the table while no other begins there: longer than any but a stream
// takes. A permit that its caller forgot must not keep it for good (laws 5 and 11).
const useLease = time.Hour

// unusedFor is the time since a call last began. The target is locked.
func (t *target) unusedFor() time.Duration { return t.clock.MomentOf(time.Now()).Since(t.used) }

// inUse tells whether calls are under way whose lease has not ended. The target is locked.
func (t *target) inUse() bool {
	return (t.users.Load() > 0 || t.quiet.underWay > 0) && t.unusedFor() < useLease
}

// forget reports false for a target that is in use.
func (t *target) forget() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	users := t.users.Load()
	return !t.inUse() && t.users.CompareAndSwap(users, users+forgotten)
}

func (t *target) release() { t.users.Add(-1) }

// admit makes room for a new target. The table is locked.
func (ts *targets) admit(key targetKey, p *policy.Resolved, version uint64) *target {
	if len(ts.byKey) >= ts.opts.most && !ts.forgetOne() {
		if ts.rest == nil {
			ts.rest = ts.make(targetKey{host: "other targets"}, forTarget(p), version)
		}
		return ts.rest
	}
	key = targetKey{strings.Clone(key.scheme), strings.Clone(key.host), strings.Clone(key.service), key.rule}
	t := ts.make(key, forTarget(p), version)
	ts.byKey[key] = t
	return t
}

// forgetOne drops the longest unused of a few random targets that hold nothing worth keeping. A few,
// so that a million hosts cost a million short looks and not a million long ones.
func (ts *targets) forgetOne() bool {
	var oldest targetKey
	var since clock.Moment
	found := false
	looked, lanes := 0, maxLanes+1 // looks at lanes in all: one target's at least can be seen to be idle
	for key, t := range ts.byKey {
		if used, idle := t.idle(&lanes); idle && (!found || used < since) {
			oldest, since, found = key, used, true
		}
		if looked++; looked >= 32 {
			break
		}
	}
	if !found || !ts.byKey[oldest].forget() {
		return false // or a call has begun there meanwhile
	}
	delete(ts.byKey, oldest)
	ts.forgot = true
	return true
}

// idle tells when the target was last used and whether forgetting it would loosen nothing. It looks at that many of
// its lanes at most; one whose lanes are more is not idle yet.
func (t *target) idle(looks *int) (used clock.Moment, idle bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	recent := t.unusedFor() < returnMemory
	if t.inUse() || t.wasKilled.Load() || busy(t.gate, recent) {
		return t.used, false
	}
	mode := t.settings.breaker.Mode
	if state := t.breaker.State(); state == breaker.Open && mode != breaker.ForcedOpen && mode != breaker.ForcedClosed ||
		recent && (state != breaker.Closed || mode == breaker.ForcedOpen) {
		return t.used, false // else a thousand dead servers would keep the table for ever
	}
	return t.used, t.lanesIdle(recent, looks)
}

// returnMemory is how long a target that nobody calls is kept for the sake of its pacing alone.
const returnMemory = 5 * time.Minute

// heldUntil returns when the last hold of a host's targets ends; zero if none is held.
func (ts *targets) heldUntil(host string) (until time.Time) {
	if host == "" {
		return until
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for key, t := range ts.byKey {
		_, usual := policy.OriginOf(key.scheme, host)
		if key.rule != "" || key.host != usual && key.host != host {
			continue
		}
		if held, _ := t.gate.Status(); held.After(until) {
			until = held
		}
	}
	return until
}

func busy(g *pacing.Gate, recent bool) bool {
	until, perSecond := g.Status()
	return !until.IsZero() || recent && perSecond > 0
}

// observe keeps the usual rate when a breaker opens, and passes its changes on. A look at a breaker may be what changes
// it, also under a lock.
func (ts *targets) observe(t *target) func(breaker.Event) {
	return func(b breaker.Event) {
		if b.To == breaker.Open {
			t.gate.Remember()
		}
		ts.opts.breakerChanged(t.name, b.From.String()+" -> "+b.To.String()+": "+b.Cause.String())
	}
}

// all are the targets that are remembered, and the one that the rest share.
func (ts *targets) all() []*target {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	all := make([]*target, 0, len(ts.byKey)+1)
	for _, t := range ts.byKey {
		all = append(all, t)
	}
	if ts.rest != nil {
		all = append(all, ts.rest)
	}
	return all
}

// restored returns the target that key names, counting the caller as a user of it. It leaves half of the table free,
// since a target that is held can't be forgotten.
func (ts *targets) restored(key targetKey, p *policy.Resolved) *target {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.byKey[key]
	if t == nil {
		if len(ts.byKey) > ts.opts.most/2 {
			return nil
		}
		t = ts.admit(key, p, 0) // its first call brings the settings
	}
	t.users.Add(1)
	return t
}

// held are the targets that are held, and until when.
func (ts *targets) held() map[targetKey]time.Time {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	held := make(map[targetKey]time.Time)
	for key, t := range ts.byKey {
		if until, _ := t.gate.Status(); !until.IsZero() {
			held[key] = until
		}
	}
	return held
}
