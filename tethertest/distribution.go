package tethertest

import (
	"math"
	"math/rand/v2"
	"time"
)

// Distribution is how long something takes, at random.
type Distribution interface {
	Draw(*rand.Rand) time.Duration
	Mean() time.Duration
}

// Exponential is memoryless with that mean.
type Exponential time.Duration

// Draw returns a random time.
func (e Exponential) Draw(r *rand.Rand) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(e))
}

// Mean returns the mean.
func (e Exponential) Mean() time.Duration { return time.Duration(e) }

// Constant always takes as long.
type Constant time.Duration

// Draw returns the time.
func (c Constant) Draw(*rand.Rand) time.Duration { return time.Duration(c) }

// Mean returns the time.
func (c Constant) Mean() time.Duration { return time.Duration(c) }

// Lognormal has a long tail. Sigma is the standard deviation of the logarithm.
type Lognormal struct {
	Median time.Duration
	Sigma  float64
}

// Draw returns a random time.
func (l Lognormal) Draw(r *rand.Rand) time.Duration {
	return time.Duration(float64(l.Median) * math.Exp(l.Sigma*r.NormFloat64()))
}

// Mean returns the mean.
func (l Lognormal) Mean() time.Duration {
	return time.Duration(float64(l.Median) * math.Exp(l.Sigma*l.Sigma/2))
}

// Mixture draws from Slow with the probability Share, else from Fast.
type Mixture struct {
	Fast, Slow Distribution
	Share      float64
}

// Draw returns a random time.
func (m Mixture) Draw(r *rand.Rand) time.Duration {
	if r.Float64() < m.Share {
		return m.Slow.Draw(r)
	}
	return m.Fast.Draw(r)
}

// Mean returns the mean.
func (m Mixture) Mean() time.Duration {
	return time.Duration(m.Share*float64(m.Slow.Mean()) + (1-m.Share)*float64(m.Fast.Mean()))
}
