package breaker

import "time"

// Policy says when a breaker opens and how it comes back. It is plain data: the zero value is the
// documented default of every field.
type Policy struct {
	// Disabled admits every call and learns nothing.
	Disabled bool
	// ConsecutiveFailures opens the breaker; it serves clients with little traffic. Default 5.
	ConsecutiveFailures int
	// FailureRatio opens the breaker when at least MinCalls were counted in Window, from 0 (exclusive)
	// to 1. Default 0.5.
	FailureRatio float64
	// MinCalls is the volume below which FailureRatio says nothing. Default 20.
	MinCalls int
	// Window is the rolling time over which calls are counted. Default 30 s.
	Window time.Duration
	// OpenTime is how long the breaker refuses after its first opening, jittered by +-25 %. Default 1 s.
	OpenTime time.Duration
	// MaxOpenTime is the longest open time, jitter included; each failed probe doubles the open time
	// up to it. Default 5 s.
	MaxOpenTime time.Duration
	// Probes is how many calls may test a half-open breaker at once, and how many good ones close it.
	// Default 1.
	Probes int
	// ProbeLease is how long a probe may take before its slot is free again and it counts as a
	// failure. Default 10 s.
	ProbeLease time.Duration
}
