// Launchday plays a bad launch day on this machine, for two fleets of real HTTP clients at the
// same time: one with the retries that most code has, one wrapped with tether.
//
//	go run ./examples/launchday
//
// Each fleet has a real HTTP server of its own, with a real limit of capacity, on loopback. The
// script is: steady, outage, recovery, surge, 503 with Retry-After, kill switch, release. Then the
// clients are steered by what a config server publishes, which each of tether's polls by itself: a
// push that calms them, a kill of one path, a malformed document, the release. At the end a table
// compares both, by what the servers themselves counted, and tether's promises are judged.
//
// The exit status is 0 if they held, 1 if one did not, 2 if the script could not be played, and 3
// if this machine was too slow to tell. Each client has connections of its own, as in real life,
// so a run needs about 25 file descriptors a client. Where they are short, take fewer -clients and
// less -capacity.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"time"
)

func main() { os.Exit(launchday(os.Args[1:], os.Stdout, os.Stderr)) }

// settings is what the flags say.
type settings struct {
	clients, capacity, seconds int
	seed                       uint64
	json                       bool
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	var short bool
	flags := flag.NewFlagSet("launchday", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.clients, "clients", 300, "clients in each fleet, each making a call a second")
	flags.IntVar(&s.capacity, "capacity", 400, "requests a second that each backend can serve")
	flags.IntVar(&s.seconds, "seconds", fullLength, "length of the script, at most")
	flags.Uint64Var(&s.seed, "seed", 1, "seed of the arrivals and of tether's randomness")
	flags.BoolVar(&short, "short", false, fmt.Sprintf("the shortest script, %d s", shortest))
	flags.BoolVar(&s.json, "json", false, "print the figures as JSON; progress goes to stderr")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if short {
		s.seconds = shortest
	}
	if err := s.check(); err != nil {
		fmt.Fprintln(stderr, "launchday:", err)
		return s, err
	}
	return s, nil
}

func (s settings) check() error {
	switch {
	case s.clients < 100 || s.clients > 1000: // with fewer, chance decides
		return errors.New("-clients must be 100 to 1000")
	case s.capacity > 1200:
		return errors.New("-capacity must be at most 1200")
	case 10*s.clients > 9*s.capacity:
		return errors.New("-clients must be at most 90 % of -capacity, or there is no steady phase")
	case s.seconds < shortest || s.seconds > longest:
		return fmt.Errorf("-seconds must be %d to %d", shortest, longest)
	}
	return nil
}

// launchday is main, with an exit status that a test can see.
func launchday(args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitHeld
	}
	if err != nil {
		return exitError
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	live := stdout
	if s.json {
		live = stderr
	}
	r, err := run(ctx, s, script(s.seconds), live)
	if err == nil && s.json {
		err = r.json(stdout)
	} else if err == nil {
		r.table(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "launchday:", err)
		return exitError
	}
	return r.Exit
}

// run sets the stage, plays the script, and leaves nothing behind.
func run(ctx context.Context, s settings, phases []phase, live io.Writer) (r *report, err error) {
	played := length(phases)
	counted := played + int(patience/time.Second) + 1 // the last calls end after the script

	var backends [2]*backend
	for i := range backends {
		b := newBackend(s.capacity, s.clients, counted)
		if err := b.listen(); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.close()) }()
		backends[i] = b
	}
	plain := newPlainFleet(backends[0], s.clients, counted)
	defer plain.close()
	tether, err := newTetherFleet(backends[1], s.clients, counted, s.seed)
	if err != nil {
		return nil, err
	}
	defer tether.close()
	config, err := newPublisher(played)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, config.close()) }()
	if err := config.watch(tether.engines); err != nil {
		return nil, err
	}

	plan := arrivals(s, phases)
	calls := perSecond(plan, played, "")
	stage := &show{phases: phases, plan: plan, plain: plain, tether: tether, config: config}
	shown := &progress{live, isTerminal(live), s.capacity, calls, stage}
	stage.story = shown.tell
	shown.header()
	late, err := stage.play(ctx, shown.second)
	if err != nil {
		return nil, err
	}
	return summary(s, stage, calls, late), nil
}

func summary(s settings, stage *show, calls []int, late lateness) *report {
	r := &report{Clients: s.clients, Capacity: s.capacity, Seed: s.seed, Script: stage.phases}
	of := func(f *fleet) (figures, []second) {
		c, answered := f.backend.counts(), loadAll(f.answered)
		r.Machine.Unaccepted += c.unaccepted
		return measure(stage.phases, s.capacity, calls, answered, int(f.refused.Load()), c),
			bySecond(calls, answered, c)
	}
	r.Plain, r.PlainSeconds = of(stage.plain)
	r.Tether, r.TetherSeconds = of(stage.tether)
	r.Machine.Worst = late.worst
	r.Machine.Late = float64(late.late) / float64(max(1, len(stage.plan)))
	r.Machine.Steady = r.Plain.Steady
	r.Steering = stage.steering()
	r.Laws = append(judge(r.Tether), r.Steering.judge()...)
	r.Exit, r.Verdict = conclude(r.Laws, r.Machine)
	return r
}

func loadAll(of []atomic.Int64) []int {
	all := make([]int, len(of))
	for i := range of {
		all[i] = int(of[i].Load())
	}
	return all
}
