package breaker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A script is one step a line: "at <time>: <operation> -> <what must come of it>". The operations:
//
//	allow [ticket]             admitted | probe | forced | refused until <time>[ probing]
//	done <ticket> <result>     the state after it
//	call <result> [x<times>]   allow and done; the state after it
//	push <policy>              the state after it
//	state                      the state
//	counts                     <successes> <failures> <consecutive failures>
//	slow                       <slow calls>
//	spared                     <calls that only ObserveOnly admitted>
//	why                        the cause of the last change of state
//
// The source of randomness says 0.5, so open times are in the middle of their jitter.
type script struct {
	t        *testing.T
	b        *Breaker
	start    time.Time
	policies map[string]Policy
	tickets  map[string]Ticket
}

func runScript(t *testing.T, policy Policy, policies map[string]Policy, text string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, policy, Options{Rand: func() float64 { return 0.5 }})
		s := &script{t, b, time.Now(), policies, map[string]Ticket{}}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				s.step(line)
			}
		}
	})
}

func (s *script) step(line string) {
	when, rest, _ := strings.Cut(strings.TrimPrefix(line, "at "), ": ")
	operation, want, found := strings.Cut(rest, " -> ")
	at, err := time.ParseDuration(when)
	if err != nil || !found {
		s.t.Fatalf("not a step: %q", line)
	}
	time.Sleep(time.Until(s.start.Add(at)))
	if got := s.do(strings.Fields(operation)); got != want {
		s.t.Fatalf("%s\ngot: %s", line, got)
	}
}

func (s *script) do(words []string) string {
	argument := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	switch words[0] {
	case "allow":
		ticket, err := s.b.Allow()
		s.tickets[argument(1)] = ticket
		return s.admission(ticket, err)
	case "done":
		s.tickets[words[1]].Done(result(words[2]))
	case "call":
		times, err := strconv.Atoi(strings.TrimPrefix(argument(2), "x"))
		if err != nil {
			times = 1
		}
		for range times {
			ticket, err := s.b.Allow()
			if err != nil {
				return err.Error()
			}
			ticket.Done(result(words[1]))
		}
	case "push":
		if err := s.b.SetPolicy(s.policies[words[1]]); err != nil {
			return err.Error()
		}
	case "counts":
		c := s.b.Health().Counts
		return fmt.Sprint(c.Successes, c.Failures, c.ConsecutiveFailures)
	case "slow":
		return fmt.Sprint(s.b.Health().Counts.Slow)
	case "spared":
		return fmt.Sprint(s.b.Health().Spared)
	case "why":
		return s.b.Health().Cause.String()
	case "state":
	default:
		s.t.Fatalf("unknown operation %q", words[0])
	}
	return s.b.State().String()
}

func (s *script) admission(ticket Ticket, err error) string {
	var open *OpenError
	switch {
	case errors.As(err, &open) && open.Forced:
		return "forced"
	case errors.As(err, &open):
		text := fmt.Sprintf("refused until %v", open.RetryAt.Sub(s.start))
		if open.Probing {
			text += " probing"
		}
		return text
	case err != nil:
		return err.Error()
	case ticket.Probe():
		return "probe"
	default:
		return "admitted"
	}
}

func result(word string) Result {
	for _, r := range []Result{Ignored, Success, Failure, Fault, Slow} {
		if r.String() == word {
			return r
		}
	}
	panic("no result: " + word)
}

func mustNew(t testing.TB, policy Policy, opts Options) *Breaker {
	t.Helper()
	b, err := New(policy, opts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
