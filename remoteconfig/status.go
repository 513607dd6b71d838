package remoteconfig

import (
	"errors"
	"time"
)

// EventKind says what an [Event] reports.
type EventKind uint8

// The kinds of events.
const (
	EventApplied   EventKind = iota // a document is in force; Notes say what of it was changed
	EventRefused                    // the target refused a document; told once for each reason
	EventFailed                     // a poll failed; Next says when the next one is
	EventRecovered                  // a poll was answered after Failures that weren't
	EventCache                      // the cache can't be used, or (Err nil) can again
	EventUnproved                   // what was applied would be refused if Trust were enforced; Err says why
	EventWatch                      // the watch of a Notifier broke, or (Err nil) stands again
)

// String returns the name of the kind.
func (k EventKind) String() string {
	return [...]string{"applied", "refused", "failed", "recovered", "cache",
		"unproved", "watch", "unknown"}[min(k, EventWatch+1)]
}

// Event is something that an operator may want to know. Fields that say nothing about its kind are
// zero. It holds no URL.
type Event struct {
	Time     time.Time
	Kind     EventKind
	Version  uint64 // of the document
	Notes    []string
	Failures int // polls in a row that failed
	Next     time.Time
	Proof    Proof // of a document that was applied or refused
	Err      error
}

// Status is how a watcher fares. It holds no URL.
type Status struct {
	// Wanted is the version that the source publishes, as far as known; Applied the one in force.
	// They differ while the target refuses the newer one: then Refused is its version, and
	// RefusedErr says why. A document without a version has 0.
	Wanted, Applied, Refused uint64
	RefusedErr               error
	// Mode is the program's; Proof tells who vouches for the document in force, Unproved why nobody
	// does, where the mode is [ReportOnly] and it would be refused if it were [Enforced].
	Mode     Mode
	Proof    Proof
	Unproved error
	// Tag stands for the document in force, as the source named it.
	Tag string
	// LastSuccess is when the source last confirmed the document in force, in this process or an
	// earlier one; zero if it never did. Age is the time since then, 0 if never.
	LastSuccess time.Time
	Age         time.Duration
	// Stale tells that the document in force has expired, or wasn't confirmed for more than two
	// intervals. It stays in force: what it says is still better than nothing.
	Stale bool
	// Failures is how many polls in a row failed; LastErr why the last one brought nothing newer,
	// if so: the error of the source, or of the target.
	Failures int
	LastErr  error
	// CacheErr says why the cache can't be used, if so.
	CacheErr error
	// WatchErr says why the source isn't watched now, if it can be. Polls go on.
	WatchErr error
	// NextPoll is zero before Run.
	NextPoll time.Time
}

// Status returns how the watcher fares now.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	s := Status{
		RefusedErr: w.why, Mode: w.trust.mode, LastSuccess: w.plan.Success, Failures: w.plan.Failures,
		LastErr: w.lastErr, CacheErr: errors.Join(w.docErr, w.planErr, w.keptErr), NextPoll: w.due(),
		WatchErr: w.watchErr,
	}
	expired := false
	if w.current != nil {
		s.Wanted, s.Applied, s.Tag = w.current.version, w.current.version, w.current.tag
		s.Proof, s.Unproved = w.current.proof, w.current.doubt
		expired = !w.current.expires.IsZero() && now.After(w.current.expires)
	}
	if w.refused != nil {
		s.Refused = w.refused.version
		if w.refused.doubt == nil || w.trust.mode != Enforced { // else it says nothing of what is wanted
			s.Wanted = w.refused.version
		}
	}
	if !s.LastSuccess.IsZero() {
		s.Age = max(now.Sub(s.LastSuccess), 0)
	}
	s.Stale = expired || s.LastSuccess.IsZero() || s.Age > 2*w.intervalNow()
	return s
}

// push queues an event. It is called with the lock held; events.Deliver is called without.
func (w *Watcher) push(event Event) {
	event.Time = time.Now()
	w.events.Push(event)
}
