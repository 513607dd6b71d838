package breaker

import "errors"

// Mode says whether a breaker goes by what it has learnt. The zero Mode is Auto.
type Mode string

const (
	// Auto opens and closes by what calls bring.
	Auto Mode = "auto"
	// ForcedOpen refuses every call until the mode changes, and learns nothing. What was learnt before
	// is kept: an open breaker that is forced and then Auto again is where its open time says.
	ForcedOpen Mode = "forced-open"
	// ObserveOnly learns, changes its state and reports that as Auto does, and refuses nobody: to see
	// what a policy would do.
	ObserveOnly Mode = "observe-only"
	// ForcedClosed admits every call and learns nothing, and keeps what was learnt as ForcedOpen does.
	ForcedClosed Mode = "forced-closed"
)

// forced tells whether the state and its clock stand still.
func (m Mode) forced() bool { return m == ForcedOpen || m == ForcedClosed }

func (m Mode) known() bool {
	return m == Auto || m == ForcedOpen || m == ObserveOnly || m == ForcedClosed
}

// ErrOpen is the cause of every refusal. The error that Allow and Do return is an *OpenError that
// wraps it.
var ErrOpen = errors.New("breaker: open")

// ErrForcedOpen is the cause of a refusal in the mode ForcedOpen: whoever set that decides when it
// ends. It is an ErrOpen too.
var ErrForcedOpen error = forcedOpen{}

type forcedOpen struct{}

func (forcedOpen) Error() string        { return "breaker: forced open by its policy" }
func (forcedOpen) Is(target error) bool { return target == ErrOpen }
