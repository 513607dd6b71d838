package flags

import (
	"errors"
	"fmt"
	"time"
)

// GuardPolicy says when a guard takes a flag off for this process. It is plain data: the zero value is
// the documented default of every field.
type GuardPolicy struct {
	// MinCalls is how many calls each of the two paths must have had in Window before they are
	// compared. From 2 to 1,000,000; default 20.
	MinCalls int `json:"minCalls"`
	// WorseBy is by how much more of its calls the new path must fail than the old one, beyond what
	// chance explains. Above 0, to 1; default 0.05.
	WorseBy float64 `json:"worseBy"`
	// SlowerBy is how many times as long the new path's calls must take as the old one's, beyond what
	// chance explains. From 1.1 to 1,000; 0: slowness is no reason. Default 0.
	SlowerBy float64 `json:"slowerBy"`
	// Window is the time over which calls are compared. From 1 s to 24 h; default 60 s.
	Window time.Duration `json:"window"`
	// Latch is how long the flag stays off before a few calls try the new path again. From 1 s to
	// 720 h; default 1 h.
	Latch time.Duration `json:"latch"`
}

// WithDefaults returns the policy with every field left zero replaced by its default.
func (p GuardPolicy) WithDefaults() GuardPolicy {
	if p.MinCalls == 0 {
		p.MinCalls = 20
	}
	if p.WorseBy == 0 {
		p.WorseBy = 0.05
	}
	if p.Window == 0 {
		p.Window = time.Minute
	}
	if p.Latch == 0 {
		p.Latch = time.Hour
	}
	return p
}

// Validate returns an error that names every field with an impossible value, or nil. A field left
// zero is valid.
func (p GuardPolicy) Validate() error {
	p = p.WithDefaults()
	var problems []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			problems = append(problems, fmt.Errorf("flags: "+format, args...))
		}
	}
	refuse(p.MinCalls < 2 || p.MinCalls > 1_000_000, "minCalls is %d, must be from 2 to 1000000", p.MinCalls)
	refuse(!(p.WorseBy > 0 && p.WorseBy <= 1), "worseBy is %v, must be above 0 and at most 1", p.WorseBy)
	refuse(p.SlowerBy != 0 && !(p.SlowerBy >= 1.1 && p.SlowerBy <= 1000),
		"slowerBy is %v, must be from 1.1 to 1000, or 0", p.SlowerBy)
	refuse(p.Window < time.Second || p.Window > 24*time.Hour,
		"window is %v, must be from 1s to 24h", p.Window)
	refuse(p.Latch < time.Second || p.Latch > 720*time.Hour,
		"latch is %v, must be from 1s to 720h", p.Latch)
	return errors.Join(problems...)
}
