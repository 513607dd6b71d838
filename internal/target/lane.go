package target

import (
	"time"

	"github.com/tether-go/tether/internal/queue"
	"github.com/tether-go/tether/ratelimit/hint"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// MaxLanes bounds the lanes of one target; whoever finds no room shares one.
const MaxLanes = 256

// Lane holds the calls of one credential at one target, or one partition of them. A target that told
// nobody to wait or to slow down has none.
type Lane struct {
	Gate      *pacing.Gate
	allowance *pacing.Allowance
	Queue     queue.Queue
	name      uint64 // of its partition; 0: all requests of its credential
	shared    bool   // by the credentials that found no room for lanes of their own
}

func (l *Lane) Door() Door { return Door{&l.Queue, l.Gate, l.allowance, nil} }

// Ask counts a call that is asked for, once a call.
func (l *Lane) Ask() {
	l.Gate.Ask()
	l.allowance.Ask()
}

// Untake gives back what let a call through that nobody sent.
func (l *Lane) Untake() {
	l.Gate.Untake()
	l.allowance.Untake()
	l.Queue.WakeNext()
}

// ignored tells the lane's gate, if the attempt passed one, that it taught nothing.
func (l *Lane) ignored() {
	if l != nil {
		l.Gate.Ignored()
	}
}

func (l *Lane) busy(recent bool) bool {
	return l.Queue.Len() > 0 || busy(l.Gate, recent) || recent && l.allowance.Rate() > 0
}

// Lane returns the lane of a credential's requests at a place, or nil if they were never told to wait. Of several that
// say something about the place it is the one that is held longest.
func (t *Target) Lane(credential, place uint64) (lane *Lane) {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	var held time.Time
	look := func(l *Lane) {
		if l == nil {
			return
		}
		if until, _ := l.Gate.Status(); lane == nil || until.After(held) {
			lane, held = l, until
		}
	}
	t.Partitions.names(place, time.Now(), func(name uint64) { look(t.Lanes[LaneKey{credential, name}]) })
	look(t.Lanes[LaneKey{credential, 0}])
	if lane == nil {
		return t.Lanes[LaneKey{}]
	}
	return lane
}

func (t *Target) HasLanes() bool { return t.laned.Load() }

// LaneFor returns the lane of what an answer to a credential's request at a place was about, and notes
// what partition that place is of. Where nobody was told anything before it opens a lane, or returns nil.
func (t *Target) LaneFor(
	credential, place, name uint64, scope hint.Scope, open bool, rand func() float64,
) *Lane {
	t.Mu.Lock()
	defer t.Mu.Unlock()
	mixed, displaced := t.Partitions.Learn(place, name, scope, time.Now())
	if mixed {
		t.undivide(rand)
	}
	for _, name := range displaced {
		t.widen(name, rand)
	}
	key := LaneKey{credential, t.Partitions.covered(name, scope)}
	if l := t.Lanes[key]; l != nil || !open {
		return l
	}
	return t.OpenLane(key, rand)
}

// Hold keeps a lane's calls back, and with it those of all partitions where it is a credential's: what
// was said of all of its requests holds for each of them. It reports when the hold ends.
func (t *Target) Hold(l *Lane, wait time.Duration) (until time.Time) {
	until = l.Gate.Hold(wait)
	l.Queue.WakeAll()
	t.Mu.Lock()
	defer t.Mu.Unlock()
	own := until // of this answer: the lane may be held longer for another's sake
	if asked := time.Now().Add(wait); asked.Before(own) {
		own = asked
	}
	t.Partitions.hold(l.name, own)
	if l.name == 0 {
		t.holdPartitions(l, wait)
	}
	return until
}

// holdPartitions holds the lanes of all partitions of a credential whose own lane is whole. The target is locked.
func (t *Target) holdPartitions(whole *Lane, wait time.Duration) {
	for key, other := range t.Lanes {
		if key.Partition != 0 && t.Lanes[LaneKey{key.Credential, 0}] == whole {
			other.Gate.Hold(wait)
			other.Queue.WakeAll()
		}
	}
}

// undivide extends the holds of partitions to their credentials: their names turned out not to tell
// requests apart. The target is locked.
func (t *Target) undivide(rand func() float64) {
	t.extend(func(key LaneKey) bool { return key.Partition != 0 }, rand)
}

// widen extends the holds of one partition to their credentials: it is not known any more which routes they cover. The
// target is locked.
func (t *Target) widen(name uint64, rand func() float64) {
	t.extend(func(key LaneKey) bool { return key.Partition == name }, rand)
}

// extend holds all requests of the credentials of which a lane is held that which picks. The target is locked.
func (t *Target) extend(which func(LaneKey) bool, rand func() float64) {
	held := make(map[uint64]time.Time)
	for key, l := range t.Lanes {
		if until, _ := l.Gate.Status(); which(key) && until.After(held[key.Credential]) {
			held[key.Credential] = until
		}
	}
	for credential, until := range held {
		whole, wait := t.OpenLane(LaneKey{credential, 0}, rand), time.Until(until)
		whole.Gate.Hold(wait)
		whole.Queue.WakeAll()
		t.holdPartitions(whole, wait)
	}
}

// OpenLane returns a lane and opens it if need be. The target is locked.
func (t *Target) OpenLane(key LaneKey, rand func() float64) *Lane {
	if l := t.Lanes[key]; l != nil {
		return l
	}
	if len(t.Lanes) >= MaxLanes {
		t.dropIdleLanes()
	}
	if len(t.Lanes) >= MaxLanes {
		if l := t.Lanes[LaneKey{key.Credential, 0}]; l != nil { // which a call of the credential looks at first
			return l
		}
		key = LaneKey{}
		if l := t.Lanes[key]; l != nil {
			return l
		}
	}
	t.closeFastLocked()
	sharers := 1.0 // of the target's usual rate: those that were told to wait lately
	for _, l := range t.Lanes {
		if until, _ := l.Gate.Status(); !until.IsZero() || l.Queue.Len() > 0 {
			sharers++
		}
	}
	opts := pacing.Options{Rand: rand, Usual: t.Gate.Usual() / sharers}
	gate, err := pacing.NewGate(t.settings.gate, opts)
	if err != nil {
		gate, _ = pacing.NewGate(pacing.Policy{}, opts)
	}
	if t.Lanes == nil {
		t.Lanes = make(map[LaneKey]*Lane)
	}
	l := &Lane{Gate: gate, allowance: pacing.NewAllowance(opts), name: key.Partition, shared: key == LaneKey{}}
	t.Lanes[key] = l
	t.laned.Store(true)                                        // for good: lanes are only dropped to make room for one
	for _, of := range [...]LaneKey{{key.Credential, 0}, {}} { // it covered the lane's calls until now
		if wider := t.Lanes[of]; wider != nil && wider != l {
			if until, _ := wider.Gate.Status(); !until.IsZero() {
				l.Gate.Hold(time.Until(until))
			}
		}
	}
	return l
}

// lanesIdle tells whether no lane keeps anybody back. The lanes that don't are forgotten on the way, and the first that
// does ends it: so each lane is looked at once, and not again for every new server. The target is locked.
func (t *Target) lanesIdle(recent bool, looks *int) bool {
	for key, l := range t.Lanes {
		if *looks == 0 {
			return false
		}
		if *looks--; l.busy(recent) {
			return false
		}
		delete(t.Lanes, key)
	}
	return true
}

// dropIdleLanes forgets the lanes that keep nobody back. The target is locked.
func (t *Target) dropIdleLanes() {
	for key, l := range t.Lanes {
		if !l.busy(true) {
			delete(t.Lanes, key)
		}
	}
}
