package remoteconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	defaultInterval = 300 * time.Second // a push reaches everybody within minutes
	minInterval     = 30 * time.Second  // a mistyped document must not become a flood
	leastInterval   = time.Second       // that a program may compile in: what is faster isn't polling
	maxInterval     = 24 * time.Hour    // nor silence clients for longer than a day
	maxSilence      = time.Hour         // that a Retry-After asks for: a server that wants more says so again
	firstWithin     = 60 * time.Second  // for a client that has no document to start with
	localGap        = 5 * time.Second   // between attempts that Refresh asks for and no server sees
	refreshSpread   = 5 * time.Second   // a network that comes back wakes all its clients at once
)

// plan is what is known of polls past and to come. It is kept in the cache directory too.
type plan struct {
	Failures int       `json:"failures"`
	Attempt  time.Time `json:"attempt"` // the last one's beginning
	Success  time.Time `json:"success"` // when the source last confirmed what is in force
	Next     time.Time `json:"next"`
	Hold     time.Time `json:"hold"` // no attempt before: a server asked for silence
	Nudges   nudged    `json:"nudges,omitzero"`
}

// poll asks the source once and plans the next poll.
func (w *Watcher) poll(ctx context.Context) error {
	before, tag := w.attempt()
	fetched, err := w.fetch(ctx, tag)
	switch {
	case ctx.Err() != nil:
		w.abandoned(before)
		return ctx.Err()
	case err == nil:
		err = w.answered(fetched)
	default:
		w.failed(err)
	}
	w.saveKept()
	w.events.Deliver()
	return err
}

// attempt notes that a poll begins, on disk as if it had failed already: a process that dies of
// what it fetches, again and again, then waits like any other.
func (w *Watcher) attempt() (before plan, tag string) {
	w.mu.Lock()
	before = w.plan
	now := time.Now()
	w.asked = false
	planned := !w.plan.Next.After(now)
	w.plan.Nudges.polled(now, !planned && !w.nudge.IsZero() && !now.Before(w.nudge))
	if w.early = !planned && (!w.told.IsZero() || !w.nudge.IsZero()); w.early && !w.told.IsZero() {
		w.hinted = now
		w.idle++
	}
	w.told, w.nudge = time.Time{}, time.Time{}
	w.plan.Attempt = now
	w.plan.Failures++
	w.schedule(now.Add(usual(w.intervalNow(), w.draw())))
	noted := w.plan
	if w.current != nil {
		tag = w.current.tag
	}
	if w.refused != nil {
		tag = w.refused.tag // what is refused needn't be sent again to be refused again
	}
	w.mu.Unlock()
	w.savePlan(noted)
	return before, tag
}

// fetch bounds what a source may cost, whoever wrote it.
func (w *Watcher) fetch(ctx context.Context, tag string) (fetched Fetched, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("remoteconfig: the source panicked: %v", v)
		}
	}()
	fetched, err = w.source.Fetch(w.tellingVersion(ctx), tag)
	if err == nil && len(fetched.Document) > maxDocument {
		err = ErrTooLarge
	}
	return fetched, err
}

// abandoned takes back the failure that attempt noted: the caller ended the poll. It still counts
// as an attempt, or a program that is started and stopped in turn would poll each time.
func (w *Watcher) abandoned(before plan) {
	w.mu.Lock()
	w.plan.Failures = before.Failures
	w.schedule(w.plan.Attempt.Add(usual(w.intervalNow(), w.draw())))
	noted := w.plan
	w.mu.Unlock()
	w.savePlan(noted)
}

// failed plans the next poll after a failed one.
func (w *Watcher) failed(err error) {
	var fault FetchError
	if known := (*FetchError)(nil); errors.As(err, &known) {
		fault = *known
	}
	fault.Local = fault.Local || neverLeft(err) // of a source that doesn't know the difference
	w.mu.Lock()
	now, interval := time.Now(), w.intervalNow()
	w.lastErr, w.local = err, fault.Local
	switch {
	case fault.Local: // nobody was asked, so nobody needs to be spared
		w.plan.Failures--
		if w.current == nil {
			interval = min(interval, firstWithin)
		}
		w.schedule(now.Add(usual(interval, w.draw())))
	case fault.RetryAfter > 0:
		w.plan.Next = now.Add(held(interval, fault.RetryAfter,
			w.draw(), w.draw()))
		w.plan.Hold = now.Add(min(fault.RetryAfter, max(maxSilence, interval)))
	default:
		w.schedule(now.Add(usual(interval, w.draw())))
	}
	noted := w.plan
	w.push(Event{Kind: EventFailed, Failures: noted.Failures, Next: noted.Next, Err: err})
	w.mu.Unlock()
	w.savePlan(noted)
}

// answered takes what a source returned, and plans the next poll. A source that answers isn't at
// fault if the target refuses the document, so the next poll is at the usual time.
func (w *Watcher) answered(fetched Fetched) error {
	err := w.take(fetched)
	if errors.Is(err, ErrUnchanged) {
		w.failed(err)
		return err
	}
	w.mu.Lock()
	if err == nil { // else an error page of a cache would set the pace
		w.wish = min(fetched.MaxAge, maxInterval)
	}
	now := time.Now()
	w.lastErr, w.local = err, false
	if err == nil {
		w.plan.Success = now
	}
	if failures := w.plan.Failures - 1; failures > 0 {
		w.push(Event{Kind: EventRecovered, Failures: failures})
	}
	w.plan.Failures = 0
	w.plan.Hold = time.Time{}
	w.schedule(now.Add(usual(w.intervalNow(), w.draw())))
	if !w.joined { // clients that were all in a hurry to have a document must not stay together
		w.plan.Next = now.Add(phase(w.intervalNow(), w.draw(), w.draw()))
		w.joined = true
	}
	noted := w.plan
	w.mu.Unlock()
	w.savePlan(noted)
	return err
}

// take puts a fetched document in force, unless it is already. The cache is brought up to date each
// time, since another process may have put an older document there.
func (w *Watcher) take(fetched Fetched) error {
	w.mu.Lock()
	current, refused := w.current, w.refused
	w.mu.Unlock()
	next := &published{document: fetched.Document, tag: usableTag(fetched.Tag)}
	switch {
	case fetched.Unchanged && refused != nil:
		next = refused // again: an expiry seen by a wrong clock, or a panic, may be over
	case fetched.Unchanged && current == nil:
		return ErrUnchanged
	case fetched.Unchanged:
		next = current
	case current != nil && bytes.Equal(current.document, fetched.Document):
		again := *current
		again.tag = next.tag
		next = &again
	default:
		w.examine(next)
		if current != nil && bytes.Equal(current.payload, next.payload) {
			next.adopted = current.adopted // signed anew, or only its envelope changed: it is as old
		}
	}
	if current == nil || !bytes.Equal(current.document, next.document) {
		if err := w.apply(next); err != nil {
			return err
		}
		next = next.takenAt(time.Now())
	}
	w.mu.Lock()
	if current == nil || next.version > current.version {
		w.plan.Nudges.Vain = 0
	}
	w.current, w.refused, w.why = next, nil, nil
	w.follow(next)
	w.mu.Unlock()
	w.saveDocument(next)
	return nil
}

// apply hands a document to the target and tells what came of it.
func (w *Watcher) apply(next *published) error {
	var notes []string
	err := guard(func() (err error) {
		if next.doubt != nil && w.trust.mode == Enforced {
			return next.doubt
		}
		if again, can := w.target.(Readopter); can && !next.adopted.IsZero() {
			notes, err = again.Readopt(next.payload, next.adopted)
		} else {
			notes, err = w.target.Apply(next.payload)
		}
		return err
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.idle = 0
		w.push(Event{Kind: EventApplied, Version: next.version, Notes: notes, Proof: next.proof})
		if next.doubt != nil {
			w.push(Event{Kind: EventUnproved, Version: next.version, Err: next.doubt})
		}
		return nil
	}
	known := w.refused != nil && w.why.Error() == err.Error() &&
		bytes.Equal(w.refused.document, next.document)
	w.refused, w.why = next, err
	if !known { // a document that stays refused is told once, not at every poll
		w.push(Event{Kind: EventRefused, Version: next.version, Notes: notes, Proof: next.proof, Err: err})
	}
	return err
}

// guard turns a panic of the target into an error: it costs what it was asked for and no poll.
func guard(ask func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("remoteconfig: the target panicked: %v", v)
		}
	}()
	return ask()
}

// bounded brings an interval that a server named between what any watcher may poll at; the watcher's
// own floor is above.
func bounded(d time.Duration) time.Duration { return min(max(d, leastInterval), maxInterval) }

// between returns the point r of the way from low to high.
func between(low, high time.Duration, r float64) time.Duration {
	return low + time.Duration(r*float64(high-low))
}

// usual is the wait after a poll, whatever came of it: the interval, a tenth of it to either side. A
// server that fails is asked as often as a healthy one, which it must bear anyway; waiting longer
// would keep a kill from clients for as long once it is back.
func usual(interval time.Duration, r float64) time.Duration {
	return between(interval*9/10, interval*11/10, r)
}

// held is the wait after a failure for which the server asked for silence. Everybody's silence ends
// at about the same time, so the return is spread over an interval, which is the usual rate.
func held(interval, after time.Duration, r, s float64) time.Duration {
	after = min(after, max(maxSilence, interval))
	if wait := usual(interval, r); after < wait {
		return wait
	}
	return after + phase(interval, r, s)
}

// phase is the wait of a client that joins those that poll at an interval, so that a herd that
// joins at once is polled flat from the first moment on: what is left, at a random moment, of a
// usual wait. A random moment falls more often into a longer wait, hence the root; with a phase
// that is uniform over the interval instead, some clients would be at their second poll while the
// last are at their first, and the rate half as high again.
func phase(interval time.Duration, r, s float64) time.Duration {
	const shortest, longest = 0.9, 1.1 // of usual
	whole := math.Sqrt(shortest*shortest + s*(longest*longest-shortest*shortest))
	return between(0, time.Duration(whole*float64(interval)), r)
}

// longestWait is the most that any of the above returns. A plan on disk that waits for longer was
// made by another clock.
func longestWait(interval time.Duration) time.Duration {
	return max(maxSilence, interval*11/10) + interval*11/10 + 1
}

// firstWait is the wait of a client that starts and has no plan from before. Programs start
// together, so it is spread over all of an interval. A crash loop polls at the usual rate too,
// because most of its short lives end before the poll; one that has neither a document nor a plan
// polls once in firstWithin at most.
func firstWait(interval time.Duration, document bool, r, s float64) time.Duration {
	if !document {
		return between(0, min(interval, firstWithin), r)
	}
	return phase(interval, r, s)
}
