package retry

import (
	"errors"
	"fmt"
	"time"
)

// Policy says how often and how patiently a call may be repeated. It is plain data: the zero value
// is the documented default of every field.
type Policy struct {
	// Disabled makes every call one attempt.
	Disabled bool
	// MaxAttempts counts the first attempt too, from 1 to 10. Default 3, as in the SRE book, chapter 21.
	MaxAttempts int
	// InitialBackoff is the ceiling of the first delay. Default 250 ms.
	InitialBackoff time.Duration
	// MaxBackoff is a true cap: no delay, jitter included, is longer. Default 5 s, or InitialBackoff
	// where that is longer.
	MaxBackoff time.Duration
	// Multiplier is the growth of the ceiling from one attempt to the next, at least 1. Default 2.
	Multiplier float64
	// Jitter says how a delay is drawn below the ceiling. Default JitterFull.
	Jitter Jitter
}

// WithDefaults returns the policy with every zero field replaced by its default.
func (p Policy) WithDefaults() Policy {
	if p.MaxAttempts == 0 {
		p.MaxAttempts = 3
	}
	if p.InitialBackoff == 0 {
		p.InitialBackoff = 250 * time.Millisecond
	}
	if p.MaxBackoff == 0 {
		p.MaxBackoff = max(5*time.Second, p.InitialBackoff)
	}
	if p.Multiplier == 0 {
		p.Multiplier = 2
	}
	if p.Jitter == "" {
		p.Jitter = JitterFull
	}
	return p
}

// Validate lists every field that cannot mean anything.
func (p Policy) Validate() error {
	p = p.WithDefaults()
	var problems []error
	if p.MaxAttempts < 1 || p.MaxAttempts > 10 {
		problems = append(problems, fmt.Errorf("retry: MaxAttempts is %d, not from 1 to 10", p.MaxAttempts))
	}
	if p.InitialBackoff < 0 {
		problems = append(problems, fmt.Errorf("retry: InitialBackoff is negative: %v", p.InitialBackoff))
	}
	if p.MaxBackoff < p.InitialBackoff {
		problems = append(problems, fmt.Errorf("retry: MaxBackoff %v is below InitialBackoff %v",
			p.MaxBackoff, p.InitialBackoff))
	}
	if !(p.Multiplier >= 1 && p.Multiplier <= 100) {
		problems = append(problems, fmt.Errorf("retry: Multiplier is %v, not from 1 to 100", p.Multiplier))
	}
	switch p.Jitter {
	case JitterFull, JitterEqual, JitterDecorrelated:
	default:
		problems = append(problems, fmt.Errorf("retry: Jitter is %q, not full, equal or decorrelated",
			string(p.Jitter)))
	}
	return errors.Join(problems...)
}
