// Package decay forgets: what was counted shrinks by an e-fold within a time.
package decay

import (
	"math"
	"time"
)

// small is where four terms of the series are as good as math.Exp and a tenth of its cost: the fifth is
// less than what a float64 tells apart from 1. Most calls follow one another that closely.
const small = 1e-4

// Exp is e to the power of -x, for x from 0.
func Exp(x float64) float64 {
	if x < small {
		return 1 - x*(1-x/2*(1-x*(1.0/3)))
	}
	return math.Exp(-x)
}

// Of is what is left after some time of what shrinks by an e-fold within over. A time under 0 counts as
// none.
func Of(since, over time.Duration) float64 {
	if since <= 0 {
		return 1
	}
	return Exp(float64(since) / float64(over))
}
