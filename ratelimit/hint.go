package ratelimit

import "time"

// Hint is what a server's answer says about when to come back.
type Hint struct {
	// Wait is the explicit wait that the server asked for, counted from the moment the answer's head
	// arrived. It is meaningful only when Explicit is true; it is never negative.
	Wait time.Duration
	// Explicit tells that the server named a wait, be it zero.
	Explicit bool
}
