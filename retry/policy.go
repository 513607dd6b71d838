package retry

import "time"

// Policy says how often and how patiently a call may be repeated. It is plain data: the zero value
// is the documented default of every field.
type Policy struct {
	// Disabled makes every call one attempt.
	Disabled bool
	// MaxAttempts counts the first attempt too. Default 3, as in the SRE book, chapter 21; at most 10.
	MaxAttempts int
	// InitialBackoff is the ceiling of the first delay. Default 250 ms.
	InitialBackoff time.Duration
	// MaxBackoff is a true cap: no delay, jitter included, is longer. Default 5 s.
	MaxBackoff time.Duration
	// Multiplier is the growth of the ceiling from one attempt to the next, at least 1. Default 2.
	Multiplier float64
}
