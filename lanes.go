package tether

import (
	"time"

	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// maxLanes bounds the lanes of one target; whoever finds no room shares one.
const maxLanes = 256

// lane holds the calls of one credential at one target, or one partition of them. A target that told
// nobody to wait or to slow down has none.
type lane struct {
	gate      *pacing.Gate
	allowance *pacing.Allowance
	line      queue.Queue
	shared    bool // by whoever found no room for a lane of their own
}

func (l *lane) place() place { return place{&l.line, l.gate, l.allowance, nil} }

// ask counts a call that is asked for, once a call.
func (l *lane) ask() {
	l.gate.Ask()
	l.allowance.Ask()
}

// untake gives back what let a call through that nobody sent.
func (l *lane) untake() {
	l.gate.Untake()
	l.allowance.Untake()
	l.line.WakeNext()
}

// ignored tells the lane's gate, if the attempt passed one, that it taught nothing.
func (l *lane) ignored() {
	if l != nil {
		l.gate.Ignored()
	}
}

func (l *lane) busy(recent bool) bool {
	return l.line.Len() > 0 || busy(l.gate, recent) || recent && l.allowance.Rate() > 0
}

// lane returns the lane of a credential's requests at a place, or nil if they were never told to wait.
func (t *target) lane(credential, place uint64) *lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	if is, known := t.partitions.byRoute[place]; known {
		if l := t.lanes[laneKey{credential, is.name}]; l != nil {
			return l
		}
	}
	if l := t.lanes[laneKey{credential, 0}]; l != nil {
		return l
	}
	return t.lanes[laneKey{}]
}

func (t *target) hasLanes() bool { return t.laned.Load() }

// told returns the lane of what an answer to a credential's request at a place was about, and notes
// what partition that place is of. Where nobody was told anything before it opens a lane, or returns nil.
func (t *target) told(
	credential, place, name uint64, scope hint.Scope, open bool, rand func() float64,
) *lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.partitions.learn(place, name, scope) {
		t.undivide(rand)
	}
	key := laneKey{credential, t.partitions.covered(name, scope)}
	if l := t.lanes[key]; l != nil || !open {
		return l
	}
	return t.openLane(key, rand)
}

// hold keeps a lane's calls back, and with it those of all partitions where it is a credential's: what
// was said of all of its requests holds for each of them. It reports when the hold ends.
func (t *target) hold(l *lane, wait time.Duration) (until time.Time) {
	until = l.gate.Hold(wait)
	l.line.WakeAll()
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, other := range t.lanes {
		if key.partition != 0 && t.lanes[laneKey{key.credential, 0}] == l {
			other.gate.Hold(wait)
			other.line.WakeAll()
		}
	}
	return until
}

// undivide extends the holds of partitions to their credentials: their names turned out not to tell
// requests apart. The target is locked.
func (t *target) undivide(rand func() float64) {
	held := make(map[uint64]time.Time)
	for key, l := range t.lanes {
		if until, _ := l.gate.Status(); key.partition != 0 && until.After(held[key.credential]) {
			held[key.credential] = until
		}
	}
	for credential, until := range held {
		t.openLane(laneKey{credential, 0}, rand).gate.Hold(time.Until(until))
	}
}

// openLane returns a lane and opens it if need be. The target is locked.
func (t *target) openLane(key laneKey, rand func() float64) *lane {
	if l := t.lanes[key]; l != nil {
		return l
	}
	if len(t.lanes) >= maxLanes {
		t.dropIdleLanes()
	}
	if len(t.lanes) >= maxLanes {
		key = laneKey{}
		if l := t.lanes[key]; l != nil {
			return l
		}
	}
	t.disturbLocked()
	sharers := 1.0 // of the target's usual rate: those that were told to wait lately
	for _, l := range t.lanes {
		if until, _ := l.gate.Status(); !until.IsZero() || l.line.Len() > 0 {
			sharers++
		}
	}
	opts := pacing.Options{Rand: rand, Usual: t.gate.Usual() / sharers}
	gate, err := pacing.NewGate(t.settings.gate, opts)
	if err != nil {
		gate, _ = pacing.NewGate(pacing.Policy{}, opts)
	}
	if t.lanes == nil {
		t.lanes = make(map[laneKey]*lane)
	}
	l := &lane{gate: gate, allowance: pacing.NewAllowance(opts), shared: key == laneKey{}}
	t.lanes[key] = l
	t.laned.Store(true) // for good: lanes are only dropped to make room for one
	if whole := t.lanes[laneKey{key.credential, 0}]; key.partition != 0 && whole != nil {
		if until, _ := whole.gate.Status(); !until.IsZero() {
			l.gate.Hold(time.Until(until))
		}
	}
	return l
}

// lanesIdle tells whether no lane keeps anybody back. The lanes that don't are forgotten on the way, and the first that
// does ends it: so each lane is looked at once, and not again for every new server. The target is locked.
func (t *target) lanesIdle(recent bool, looks *int) bool {
	for key, l := range t.lanes {
		if *looks == 0 {
			return false
		}
		if *looks--; l.busy(recent) {
			return false
		}
		delete(t.lanes, key)
	}
	return true
}

// dropIdleLanes forgets the lanes that keep nobody back. The target is locked.
func (t *target) dropIdleLanes() {
	for key, l := range t.lanes {
		if !l.busy(true) {
			delete(t.lanes, key)
		}
	}
}
