package target

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether/breaker"
	"github.com/tether-go/tether/internal/clock"
	"github.com/tether-go/tether/internal/jsondoc"
	"github.com/tether-go/tether/internal/metrics"
	"github.com/tether-go/tether/internal/priority"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/retry"
)

func (ts *Table) Make(key Key, settings Settings, version uint64) *Target {
	_, now := ts.Opts.Clock.Now()
	t := &Target{Key: key, Name: key.Host, Clock: ts.Opts.Clock, rand: ts.Opts.Rand, seed: ts.Opts.Seed, born: now, settings: settings, version: version, used: now}
	if key.Service != "" {
		t.Name += " " + key.Service
	}
	if key.Rule != "" {
		t.Name += " " + jsondoc.Plain(key.Rule)
	}
	t.Shedder = priority.New(ts.Opts.Rand)
	t.Series = ts.Opts.Series(t.Name)
	// What Validate and Clamp let through is valid for the leaves: a failure here is a bug of ours, and
	// then the leaf's own defaults protect.
	var err error
	if t.Gate, err = pacing.NewGate(settings.gate, pacing.Options{Rand: ts.Opts.Rand}); err != nil {
		t.Gate, _ = pacing.NewGate(pacing.Policy{}, pacing.Options{Rand: ts.Opts.Rand})
	}
	opts := breaker.Options{Rand: ts.Opts.Rand, Observe: ts.observe(t)}
	if t.Breaker, err = breaker.New(settings.breaker, opts); err != nil {
		t.Breaker, _ = breaker.New(breaker.Policy{}, opts)
	}
	t.limits = newLimits(settings, ts.Opts.Rand)
	budget := retry.BudgetOptions{Initial: ts.Opts.InitialRetries}
	kin := ts.siblings(key, version)
	if ts.forgot || len(kin) > 0 { // perhaps this very target: coming and going must not save anything
		budget.Initial = 0
	}
	if shared := ts.Opts.Shared; shared != nil {
		budget.Within = shared(key, budget.Initial)
	}
	if t.Budget, err = retry.NewBudget(settings.budgetRatio, budget); err != nil {
		t.Budget, _ = retry.NewBudget(0, budget)
	}
	t.inherit(kin, ts.Opts.Rand)
	return t
}

// Options are what a table has of its engine.
type Options struct {
	Clock          *clock.Clock
	Rand           func() float64
	Seed           maphash.Seed
	Most           int // targets that are kept
	InitialRetries int
	Shared         func(key Key, initial int) *retry.Budget // with other engines; nil: none is
	Series         func(target string) *metrics.Series
	BreakerChanged func(target, note string) // told under locks
}

// Table is the bounded map of all targets of an engine. It is safe for concurrent use.
type Table struct {
	Opts Options

	Last atomic.Pointer[Target] // that was asked for, which most clients ask for again

	Mu     sync.Mutex // guards what follows
	ByKey  map[Key]*Target
	Rest   *Target         // shared by what finds no room
	forgot bool            // a target was forgotten to make room
	rules  map[string]bool // that had a target of their own, up to maxRules
}

// Find returns the state of the server that key names. It may be forgotten before a call has entered it.
func (ts *Table) Find(key Key, p *policy.Resolved, version uint64) *Target {
	if t := ts.Last.Load(); t != nil && t.Key == key && t.Users.Load() >= 0 {
		return t
	}
	ts.Mu.Lock()
	defer ts.Mu.Unlock()
	t := ts.ByKey[key]
	if t == nil {
		t = ts.admit(key, p, version)
	}
	ts.Last.Store(t)
	return t
}

// Use is find for a user that is no call. It counts as a user until it calls release.
func (ts *Table) Use(key Key, p *policy.Resolved, version uint64) *Target {
	for {
		if t := ts.Find(key, p, version); t.Users.Add(1) > 0 {
			return t
		}
	}
}

// admit makes room for a new target. The table is locked.
func (ts *Table) admit(key Key, p *policy.Resolved, version uint64) *Target {
	if len(ts.ByKey) >= ts.Opts.Most && !ts.ForgetOne() {
		if ts.Rest == nil {
			ts.Rest = ts.Make(Key{Host: "other targets"}, SettingsOf(p), version)
		}
		return ts.Rest
	}
	key = Key{strings.Clone(key.Scheme), strings.Clone(key.Host), strings.Clone(key.Service), key.Rule}
	t := ts.Make(key, SettingsOf(p), version)
	ts.ByKey[key] = t
	return t
}

// ForgetOne drops the longest unused of a few random targets that hold nothing worth keeping. A few,
// so that a million hosts cost a million short looks and not a million long ones.
func (ts *Table) ForgetOne() bool {
	var oldest Key
	var since clock.Moment
	found := false
	looked, lanes := 0, MaxLanes+1 // looks at lanes in all: one target's at least can be seen to be idle
	for key, t := range ts.ByKey {
		if used, idle := t.idle(&lanes); idle && (!found || used < since) {
			oldest, since, found = key, used, true
		}
		if looked++; looked >= 32 {
			break
		}
	}
	if !found || !ts.ByKey[oldest].Forget() {
		return false // or a call has begun there meanwhile
	}
	delete(ts.ByKey, oldest)
	ts.forgot = true
	return true
}

// HeldUntil returns when the last hold of a host's targets ends; zero if none is held.
func (ts *Table) HeldUntil(host string) (until time.Time) {
	if host == "" {
		return until
	}
	ts.Mu.Lock()
	defer ts.Mu.Unlock()
	for key, t := range ts.ByKey {
		_, usual := policy.OriginOf(key.Scheme, host)
		if key.Rule != "" || key.Host != usual && key.Host != host {
			continue
		}
		if held, _ := t.Gate.Status(); held.After(until) {
			until = held
		}
	}
	return until
}

// observe keeps the usual rate when a breaker opens, and passes its changes on. A look at a breaker may be what changes
// it, also under a lock.
func (ts *Table) observe(t *Target) func(breaker.Event) {
	return func(b breaker.Event) {
		if b.To == breaker.Open {
			t.Gate.Remember()
		}
		ts.Opts.BreakerChanged(t.Name, b.From.String()+" -> "+b.To.String()+": "+b.Cause.String())
	}
}

// All are the targets that are remembered, and the one that the rest share.
func (ts *Table) All() []*Target {
	ts.Mu.Lock()
	defer ts.Mu.Unlock()
	all := make([]*Target, 0, len(ts.ByKey)+1)
	for _, t := range ts.ByKey {
		all = append(all, t)
	}
	if ts.Rest != nil {
		all = append(all, ts.Rest)
	}
	return all
}

// Restored returns the target that key names, counting the caller as a user of it. It leaves half of the table free,
// since a target that is held can't be forgotten.
func (ts *Table) Restored(key Key, p *policy.Resolved) *Target {
	ts.Mu.Lock()
	defer ts.Mu.Unlock()
	t := ts.ByKey[key]
	if t == nil {
		if len(ts.ByKey) > ts.Opts.Most/2 {
			return nil
		}
		t = ts.admit(key, p, 0) // its first call brings the settings
	}
	t.Users.Add(1)
	return t
}

// Held are the targets that are held, and until when.
func (ts *Table) Held() map[Key]time.Time {
	ts.Mu.Lock()
	defer ts.Mu.Unlock()
	held := make(map[Key]time.Time)
	for key, t := range ts.ByKey {
		if until, _ := t.Gate.Status(); !until.IsZero() {
			held[key] = until
		}
	}
	return held
}
