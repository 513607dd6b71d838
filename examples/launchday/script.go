package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// phase is an act with its place in the script: the seconds from From up to To, which is the next
// one's. All lengths are whole seconds, because all counts are by second.
type phase struct {
	Name string `json:"name"`
	From int    `json:"from"`
	To   int    `json:"to"`
	act  act
}

// act is what happens in a phase, which takes seconds of a script of fullLength, and least of the
// shortest.
type act struct {
	name           string
	seconds, least int
	backend        mode
	surge          bool
	kill           bool

	steered bool // the config server plays too: less load, of several paths
	edition edition
	told    string // of the edition
}

const (
	fullLength = 59 // the sum of all seconds
	shortest   = 36 // the sum of all least
	longest    = 69

	surgeLoad   = 2.25 // times capacity
	steeredLoad = 0.4  // calls a second and client: periodic work needs room beside them
)

// acts is the script. The outage has at least 6 s: the two retries that a client may have saved
// before it are 0.5 attempts per call in 4 s, and what is judged is what comes after them. The
// recovery has room for the 3 s that tether may take and the 3 s that prove it. A push has reached
// everybody after at most 1.1 s, and what is left of its act is measured.
var acts = [...]act{
	{name: "steady", seconds: 4, least: 2},
	{name: "outage", seconds: 8, least: 6, backend: resetting},
	{name: "recovery", seconds: 7, least: 6},
	{name: "surge", seconds: 6, least: 2, surge: true},
	{name: "after surge", seconds: 7, least: 1},
	{name: "retry-after", seconds: 4, least: 2, backend: holding},
	{name: "after T", seconds: 3, least: 1},
	{name: "kill", seconds: 3, least: 1, kill: true},
	{name: "release", seconds: 3, least: 1},
	{name: "follow", seconds: 4, least: 4, steered: true, edition: first,
		told: "changes nothing yet"},
	{name: "push", seconds: 3, least: 3, steered: true, edition: calmer,
		told: "sync every 30s, no retries of " + searchPath},
	{name: "path kill", seconds: 2, least: 2, steered: true, edition: pathKilled,
		told: "kill " + exportPath},
	{name: "bad push", seconds: 2, least: 2, steered: true, edition: malformed,
		told: "without the kill, and maxAttempts 0, which is a mistake"},
	{name: "path back", seconds: 3, least: 3, steered: true, edition: released,
		told: "without the kill and the mistake"},
}

// script lays the acts out over at most so many seconds, of shortest to longest.
func script(seconds int) []phase {
	var phases []phase
	from := 0
	for _, a := range acts {
		to := from + a.least + (a.seconds-a.least)*(seconds-shortest)/(fullLength-shortest)
		phases = append(phases, phase{Name: a.name, From: from, To: to, act: a})
		from = to
	}
	return phases
}

func find(phases []phase, name string) phase {
	for _, p := range phases {
		if p.Name == name {
			return p
		}
	}
	return phase{}
}

func length(phases []phase) int { return phases[len(phases)-1].To }

// arrival is one call of the plan.
type arrival struct {
	at     time.Duration
	client int
	path   string
}

// arrivals plans the calls: open loop, so nobody waits for an answer before he asks again, and
// Poisson, one call a second and client except in the surge and the steered acts.
func arrivals(s settings, phases []phase) []arrival {
	random := rand.New(rand.NewPCG(s.seed, 1))
	var plan []arrival
	for _, p := range phases {
		rate := float64(s.clients)
		switch {
		case p.act.surge:
			rate = surgeLoad * float64(s.capacity)
		case p.act.steered:
			rate *= steeredLoad
		}
		// Starting anew at each phase is exact: an exponential gap has no memory.
		at := float64(p.From)
		for {
			at += random.ExpFloat64() / rate
			if at >= float64(p.To) {
				break
			}
			when := time.Duration(at * float64(time.Second))
			a := arrival{when, random.IntN(s.clients), rootPath}
			if p.act.steered {
				a.path = steeredPaths[random.IntN(len(steeredPaths))]
			}
			plan = append(plan, a)
		}
	}
	return plan
}

// perSecond counts the calls of a plan by the second in which they start; those of one path only,
// unless it is "".
func perSecond(plan []arrival, seconds int, path string) []int {
	calls := make([]int, seconds)
	for _, a := range plan {
		if path == "" || path == a.path {
			calls[a.at/time.Second]++
		}
	}
	return calls
}

// lateness says how far behind its plan this machine started calls.
type lateness struct {
	worst time.Duration
	late  int // calls that started more than grace late
}

// show plays the script for both fleets at the same time.
type show struct {
	phases        []phase
	plan          []arrival
	plain, tether *fleet
	config        *publisher
	story         func(string) // is told what the config server does; nil: nobody
	start         time.Time
	version       int // of the last document applied or published
	looks         looks
	running       sync.WaitGroup // watchers and periodic work
}

// play returns when the script has ended and every call has returned. Each second that has passed
// is told to onSecond.
func (s *show) play(ctx context.Context, onSecond func(second int, p phase)) (lateness, error) {
	defer s.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.start = time.Now()
	s.plain.backend.begin(s.start)
	s.tether.backend.begin(s.start)
	generated := make(chan lateness, 1)
	go func() { generated <- s.generate(ctx) }()

	err := s.direct(ctx, onSecond)
	if err != nil {
		cancel()
	}
	late := <-generated
	return late, err
}

// direct changes the scene at the beginning of each phase.
func (s *show) direct(ctx context.Context, onSecond func(second int, p phase)) error {
	for _, p := range s.phases {
		if err := s.enter(ctx, p); err != nil {
			return err
		}
		for second := p.From; second < p.To; second++ {
			if err := sleepUntil(ctx, s.start.Add(time.Duration(second+1)*time.Second)); err != nil {
				return err
			}
			onSecond(second, p)
		}
		if err := s.leave(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) enter(ctx context.Context, p phase) error {
	end := s.start.Add(time.Duration(p.To) * time.Second)
	for _, f := range []*fleet{s.plain, s.tether} {
		f.backend.become(p.act.backend, end)
	}
	if p.act.steered {
		return s.steer(ctx, p)
	}
	if !p.act.kill {
		return nil
	}
	s.version++
	// Longer than the phase: it is the release that ends the kill, not its expiry.
	if err := s.tether.kill(s.version, end.Add(time.Minute)); err != nil {
		return err
	}
	s.plain.backend.watchKill(true)
	s.tether.backend.watchKill(true)
	return nil
}

func (s *show) leave(p phase) error {
	if p.act.steered {
		s.steered(p.act.edition)
	}
	if !p.act.kill {
		return nil
	}
	s.plain.backend.watchKill(false)
	s.tether.backend.watchKill(false)
	s.version++
	return s.tether.release(s.version)
}

// generate makes each call of the plan at its time, once in each fleet, and waits for all.
func (s *show) generate(ctx context.Context) lateness {
	var late lateness
	var calls sync.WaitGroup
	defer calls.Wait()
	for _, a := range s.plan {
		due := s.start.Add(a.at)
		if sleepUntil(ctx, due) != nil {
			return late
		}
		behind := time.Since(due)
		late.worst = max(late.worst, behind)
		if behind > grace {
			late.late++
		}
		second := int(a.at / time.Second)
		for _, f := range []*fleet{s.plain, s.tether} {
			calls.Go(func() { f.call(ctx, a.client, second, a.path) })
		}
	}
	return late
}

func sleepUntil(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
