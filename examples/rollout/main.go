// Rollout launches a new path by a flag, on loopback: dark, to 1 %, to 10 %; it breaks and turns itself off;
// it is mended and comes back; to everybody. It takes about ten seconds.
//
//	go run ./examples/rollout
//
// What it tells is what the two servers counted. It exits with 0 only if all of it was true.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rollout:", err)
		os.Exit(1)
	}
}

var errUntrue = errors.New("not all of it was true")

// teller writes the story, and remembers whether it was true.
type teller struct {
	out    io.Writer
	start  time.Time
	untrue int
}

func (t *teller) tell(format string, args ...any) {
	fmt.Fprintf(t.out, "%5.1f s  %s\n", time.Since(t.start).Seconds(), fmt.Sprintf(format, args...))
}

func (t *teller) check(holds bool, format string, args ...any) {
	mark := "        - yes: "
	if !holds {
		t.untrue++
		mark = "        - NO:  "
	}
	fmt.Fprintf(t.out, mark+format+"\n", args...)
}

func run(ctx context.Context, out io.Writer) error {
	t := &teller{out: out, start: time.Now()}
	s, err := newShop()
	if err != nil {
		return err
	}
	defer s.close()
	stop, err := s.watch(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, step := range []func(context.Context, *teller, *shop) error{launch, breaks, mended} {
		if err := step(ctx, t, s); err != nil {
			return err
		}
	}
	if t.untrue > 0 {
		return fmt.Errorf("%w: %d of the answers are NO", errUntrue, t.untrue)
	}
	t.tell("done")
	return nil
}

// launch goes from nobody to one user in ten.
func launch(ctx context.Context, t *teller, s *shop) error {
	if err := s.publish(ctx, 0); err != nil {
		return err
	}
	t.tell("dark: the new path is in the program, and the document turns it on for 0 %%")
	dark := s.everybody(ctx)
	t.check(len(dark.fresh) == 0 && len(dark.old) == users, "all %d users were served by the old path", users)

	if err := s.publish(ctx, 1); err != nil {
		return err
	}
	t.tell("to 1 %%: published, and the running client took it at its next poll")
	one := s.everybody(ctx)
	t.check(len(one.fresh) >= 3 && len(one.fresh) <= 25, "%d of %d users came to the new path", len(one.fresh), users)

	if err := s.publish(ctx, 10); err != nil {
		return err
	}
	t.tell("to 10 %%")
	ten := s.everybody(ctx)
	t.check(len(ten.fresh) >= 60 && len(ten.fresh) <= 140, "%d of %d users came to the new path", len(ten.fresh), users)
	t.check(within(one.fresh, ten.fresh), "the %d users of before are among them", len(one.fresh))
	t.check(dark.failed+one.failed+ten.failed == 0, "no user saw a failure")
	return nil
}

// breaks has two calls in five of the new path fail.
func breaks(ctx context.Context, t *teller, s *shop) error {
	s.broken.Store(true)
	t.tell("the new path breaks: two of its answers in five are 500")
	before, failed := s.guard.Status(), 0
	for rounds := 0; rounds < 10 && !s.guard.Status().Off; rounds++ {
		failed += s.everybody(ctx).failed
	}
	status := s.guard.Status()
	t.check(failed == 0, "no user saw a failure: the old path answered for the new one %d times",
		status.Fallbacks-before.Fallbacks)
	t.check(status.Off, "the client turned the flag off by itself, after %d calls of the new path",
		status.New.Calls-before.New.Calls)
	off := s.everybody(ctx)
	t.check(len(off.fresh) == 0 && len(off.old) == users, "nobody came to the new path any more: nothing was published")
	return nil
}

// mended waits until the client has tried the new path again, and turns it on for everybody.
func mended(ctx context.Context, t *teller, s *shop) error {
	s.broken.Store(false)
	t.tell("the new path is mended; the client tries it again once its latch has lapsed")
	again, err := s.untilOn(ctx)
	if err != nil {
		return err
	}
	t.check(again.failed == 0, "a few calls tried it, one at a time, and turned the flag on again: it told %q", s.told())
	ten := s.everybody(ctx)
	t.check(len(ten.fresh) >= 60 && len(ten.fresh) <= 140, "%d users came to the new path", len(ten.fresh))

	if err := s.publish(ctx, 100); err != nil {
		return err
	}
	t.tell("to 100 %%")
	all := s.everybody(ctx)
	t.check(len(all.fresh) == users && len(all.old) == 0, "all %d users came to the new path, and none to the old one", users)
	t.check(ten.failed+all.failed == 0, "no user saw a failure")
	return nil
}

// within tells whether every user of a is in b.
func within(a, b map[string]bool) bool {
	for user := range a {
		if !b[user] {
			return false
		}
	}
	return true
}
