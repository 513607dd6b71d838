package tether

import (
	"time"

	"github.com/tether-go/tether/internal/jsondoc"
)

// EventKind says what an [Event] reports.
type EventKind uint8

// The kinds of events.
const (
	EventRefused    EventKind = iota // a call, or a further attempt of one, was refused; Note is a kill's name and reason
	EventWaited                      // a call waited more than a second and may go
	EventRetry                       // a call will be repeated
	EventGaveUp                      // a call failed and will not be repeated; Err says why
	EventHeld                        // a server asked for silence until Until; Note "restored": of an earlier process, "quota": it is empty
	EventBreaker                     // a breaker changed its state; Note says from what to what
	EventApplied                     // a document is in force
	EventNote                        // a document was changed or read in part; Note says what
	EventNotTaken                    // a document was refused; Err says why
	EventSkipped                     // scheduled work, named by Note, was left out once; Err says why
	EventPanic                       // scheduled work, named by Note, panicked; Err is a *PanicError
	EventPaced                       // failures make calls to a target leave at a pace; Note says which kind
	EventLoop                        // Note's route is asked for over 20 times as often as usual; at most once a minute
	EventLimit                       // the adaptive concurrency limit falls or is lifted; Note says to what
	EventHedge                       // a second attempt was sent beside one that had no answer after Wait
	EventStaged                      // a stage of the document, named by Note, is in force here
	EventRolledBack                  // a stage was taken back and stays off; Note says which and why
	EventRoute                       // a call fell back from a route, or the client leaves or takes one; Note says which flag's
)

// String returns the name of the kind.
func (k EventKind) String() string {
	return [...]string{"refused", "waited", "retry", "gave up", "held", "breaker", "applied", "note",
		"not taken", "skipped", "panic", "paced", "loop", "limit", "hedge", "staged", "rolled back",
		"route", "unknown"}[min(k, EventRoute+1)]
}

// Event is something that an operator may want to know. Fields that say nothing about its kind are
// zero. It holds no URL and no credential.
type Event struct {
	Time    time.Time
	Kind    EventKind
	Target  string        // the host, or the name that [Call] gave
	Stage   Stage         // of a refusal or a wait
	Shed    bool          // a refusal is for the sake of more critical calls
	Attempt int           // attempts that the call had made
	Wait    time.Duration // how long the call waited, or will
	Until   time.Time     // when a hold ends, or a refusal may
	Version uint64        // of the document
	Note    string        // printable, 300 bytes at most
	Err     error
}

// emit hands an event to Options.Observe, in order. No lock may be held.
func (e *Engine) emit(event Event) {
	if !e.events.Enabled() {
		return
	}
	e.note(event)
	e.events.Deliver()
}

// Report hands an event of somebody else's part of the work, such as an edge's, to [Options].Observe in
// order, with the time set. No lock may be held that Observe might want.
func (e *Engine) Report(event Event) { e.emit(event) }

// note queues an event for whoever delivers next: for places where locks may be held.
func (e *Engine) note(event Event) {
	event.Time, event.Note = time.Now(), jsondoc.Plain(event.Note)
	e.events.Push(event)
}
