package tethertest

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
)

// Rehearsal describes a fleet, its backend, and what befalls it. The zero value is the fleet of reference:
// 2,000 clients that call once in two seconds, an engine each, which is 75 % of the backend's
// capacity.
type Rehearsal struct {
	Seed uint64 // of all randomness. Default 1

	// Clients is how many callers there are. Default 2000.
	Clients int
	// Share is how many callers share one http.Client, and so one engine. Default 1.
	Share int
	// Rate is what one caller asks for, in calls a second, at random times (a Poisson process). Default 0.5.
	Rate float64
	// Critical and Sheddable are the shares of calls that are so, drawn for each; the rest is Default.
	Critical, Sheddable float64
	// Deadline is each call's. Default 10 s.
	Deadline time.Duration
	// HeaderTimeout is how long the base transport waits for an answer's head. Default 1 s; negative: for ever.
	HeaderTimeout time.Duration

	Backend Backend
	Fault   Fault
	// Warm is the time before the fault, After the time that is looked at behind it. Default 40 s and
	// 60 s.
	Warm, After time.Duration

	// Client builds what every Share callers use, on a base that is the modelled network. Default: a
	// tether client with the zero Document and Options.
	Client func(base *http.Client, seed uint64) (*http.Client, error)
	// Observe hears the events of the default clients.
	Observe func(tether.Event)
}

// Backend is what the fleet calls. Its zero value can do 1,333 requests a second.
type Backend struct {
	Workers int           // that serve one request each. Default 80
	Service Distribution  // of the time that a request occupies a worker. Default Exponential(60 ms)
	Queue   time.Duration // bound of the queue, in time at full capacity. Default 1.5 s
	Trip    time.Duration // there and back on the network. Default 2 ms
	Fail    float64       // share of requests that are answered 500 at once
	Lose    float64       // share of requests that are never answered
	Extra   time.Duration // added to every answer, outside of the workers
	Polls   float64       // share of requests that are long polls: answered after PollTime, by no worker
	// PollTime is how long a long poll takes. Default 20 s.
	PollTime time.Duration
}

// Fault is what happens for a time. Its zero fields change nothing.
type Fault struct {
	For time.Duration

	Down     bool          // connections are refused
	Capacity float64       // share of the workers that is left
	Slower   float64       // factor of the service time, which costs capacity as well
	Extra    time.Duration // added to every answer, outside of the workers
	Demand   float64       // factor of what callers ask for
	Fail     float64       // share of requests that are answered 500 at once
	Lose     float64       // share of requests that are never answered
	Closed   int           // status of every answer, which names the fault's end
	Says     Form          // how it names it
}

// Form is how an answer names a time.
type Form uint8

// The forms. The zero Form is Retry-After in seconds.
const (
	Seconds   Form = iota
	Date           // Retry-After as a date
	RateLimit      // RateLimit with nothing left, in seconds
	Epoch          // X-RateLimit-Reset with nothing left, in seconds since 1970
)

func (r Rehearsal) withDefaults() Rehearsal {
	r.Seed = cmp.Or(r.Seed, 1)
	r.Clients = cmp.Or(r.Clients, 2000)
	r.Share = cmp.Or(r.Share, 1)
	r.Rate = cmp.Or(r.Rate, 0.5)
	r.Deadline = cmp.Or(r.Deadline, 10*time.Second)
	r.HeaderTimeout = cmp.Or(r.HeaderTimeout, time.Second)
	r.Warm = cmp.Or(r.Warm, 40*time.Second)
	r.After = cmp.Or(r.After, 60*time.Second)
	r.Backend.Workers = cmp.Or(r.Backend.Workers, 80)
	r.Backend.Queue = cmp.Or(r.Backend.Queue, 1500*time.Millisecond)
	r.Backend.Trip = cmp.Or(r.Backend.Trip, 2*time.Millisecond)
	r.Backend.PollTime = cmp.Or(r.Backend.PollTime, 20*time.Second)
	r.Fault.Capacity = cmp.Or(r.Fault.Capacity, 1)
	r.Fault.Slower = cmp.Or(r.Fault.Slower, 1)
	r.Fault.Demand = cmp.Or(r.Fault.Demand, 1)
	if r.Backend.Service == nil {
		r.Backend.Service = Exponential(60 * time.Millisecond)
	}
	if r.Client == nil {
		r.Client = func(base *http.Client, seed uint64) (*http.Client, error) {
			client, err := tether.NewClient(base, tether.Options{Seed: seed, Observe: r.Observe})
			if err != nil {
				return nil, err
			}
			return client.Client, nil
		}
	}
	return r
}

// criticality draws a call's; without shares nothing is drawn, so that such a fleet's calls stay as they were.
func (r *Rehearsal) criticality(rng *rand.Rand) criticality.Level {
	if r.Critical == 0 && r.Sheddable == 0 {
		return criticality.Default
	}
	switch lot := rng.Float64(); {
	case lot < r.Critical:
		return criticality.Critical
	case lot < r.Critical+r.Sheddable:
		return criticality.Sheddable
	}
	return criticality.Default
}

// capacity is in requests a second.
func (b Backend) capacity() float64 {
	return float64(b.Workers) / b.Service.Mean().Seconds()
}
