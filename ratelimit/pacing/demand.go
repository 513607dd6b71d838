package pacing

import (
	"time"

	"github.com/tether-go/tether/internal/decay"
)

const (
	demandFloor = 0.25             // calls/s: a client that calls once a minute has nothing to pace
	shortMemory = 10 * time.Second // over which a busy client's demand is averaged
	longMemory  = 300 * time.Second
	callsToKnow = 20 // the memory holds about this many calls, within the two bounds above
)

// demand measures how many calls a second are asked for: an exponentially weighted rate, corrected
// for the time that a young meter hasn't seen yet.
type demand struct {
	calls  float64 // decayed count
	weight float64 // seconds, decayed in the same way: the divisor of the count
	at     time.Time
	born   time.Time
}

// demandOf is a meter that has seen that rate for its shorter memory.
func demandOf(rate float64, now time.Time) demand {
	return demand{calls: rate * shortMemory.Seconds(), weight: shortMemory.Seconds(), at: now,
		born: now.Add(-shortMemory)}
}

func (d *demand) ask(now time.Time) {
	d.decay(now)
	d.calls++
}

// rate is in calls per second, never under demandFloor.
func (d *demand) rate(now time.Time) float64 {
	d.decay(now)
	return max(demandFloor, d.calls/max(1, d.weight))
}

// known tells whether the meter has watched long enough for its word to be kept.
func (d *demand) known(now time.Time) bool {
	return !d.born.IsZero() && now.Sub(d.born) >= shortMemory
}

func (d *demand) decay(now time.Time) {
	if d.born.IsZero() {
		d.born, d.at = now, now
	}
	elapsed := now.Sub(d.at).Seconds()
	if elapsed <= 0 {
		return
	}
	d.at = now
	rate := d.calls / max(1, d.weight)
	memory := min(max(shortMemory.Seconds(), callsToKnow/max(rate, 1e-9)), longMemory.Seconds())
	keep := decay.Exp(elapsed / memory)
	d.calls *= keep
	d.weight = d.weight*keep + memory*(1-keep)
}
