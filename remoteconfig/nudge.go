package remoteconfig

import (
	"context"
	"strconv"
	"strings"
	"time"
)

const (
	// nudgeSpread is over how long the clients that hear a nudge in one moment are spread. It is what the
	// source must stand: N clients that are active ask it at N/8 a second, and it has a push with them in 10 s.
	nudgeSpread = 8 * time.Second
	// maxNudged is how many early polls a version that somebody named is worth.
	maxNudged = 3
	// versionField is where a poll tells the version in force, as a Structured Field (RFC 9651).
	versionField = "Tether-Config"
)

// Nudged is a [Target] that hears of newer documents on the way; a *tether.Engine is one. Newer returns the
// version that was named last, 0 if that isn't newer than the one in force, and a channel that is closed
// when another is named.
//
// The watcher then polls early, within 8 s at random, and again up to twice if that brings nothing newer:
// [Options].PollMin after the last early poll, then twice as long. After that the version is ignored until
// one in force has passed it. Three early polls that bring nothing newer, for whatever versions, are
// the last until a usual poll brings something newer: who names ever higher numbers wins nothing. An early
// poll never shortens a Retry-After of the source, nor comes while polls fail.
//
// The first poll is brought forward too. Without [Options].CacheDir the start counts as an early poll, since
// nothing tells it from one that dies and starts again: PollMin after it is the soonest.
type Nudged interface {
	Newer() (version uint64, more <-chan struct{})
}

// nudged is what is known of early polls. It is kept in the cache with the plan.
type nudged struct {
	Named uint64    `json:"named,omitempty"` // the version that they are for
	Tries int       `json:"tries,omitempty"` // for it
	Vain  int       `json:"vain,omitempty"`  // since a poll last brought something newer
	Last  time.Time `json:"last,omitzero"`
	Gone  uint64    `json:"gone,omitempty"` // named so often in vain that it counts no more
}

func (n *nudged) sane(now time.Time) bool {
	return n.Tries >= 0 && n.Tries <= maxNudged && n.Vain >= 0 && n.Vain <= maxNudged && !n.Last.After(now)
}

// polled counts an early poll. That it was in vain is taken back once it wasn't.
func (n *nudged) polled(now time.Time, early bool) {
	if !early {
		return
	}
	n.Last, n.Tries, n.Vain = now, min(n.Tries+1, maxNudged), min(n.Vain+1, maxNudged)
	if n.Tries == maxNudged {
		n.Gone = n.Named
	}
}

// after is the earliest moment for an early poll for a version that is newer than have; not ok: there is
// to be none. The usual poll before it doesn't count: nobody chose its moment.
func (n *nudged) after(version, have uint64, floor time.Duration) (at time.Time, ok bool) {
	if version <= have || version == n.Gone || n.Vain >= maxNudged {
		return time.Time{}, false
	}
	if version != n.Named && (n.Named <= have || n.Tries == maxNudged) {
		n.Named, n.Tries = version, 0
	}
	if n.Last.IsZero() {
		return time.Time{}, true
	}
	return n.Last.Add(floor << max(0, n.Vain-1)), true
}

// newer is what the target has heard: of several, the highest version and each one's channel.
func newer(target Target) (version uint64, more []<-chan struct{}) {
	targets, several := target.(Targets)
	if !several {
		targets = Targets{target}
	}
	for _, t := range targets {
		if t, hears := t.(Nudged); hears {
			named, next := t.Newer()
			version, more = max(version, named), append(more, next)
		}
	}
	return version, more
}

// heedNudge brings the next poll forward where the target heard of a newer document, and returns what is
// closed when it hears of another.
func (w *Watcher) heedNudge() (more []<-chan struct{}) {
	version, more := newer(w.target)
	w.mu.Lock()
	defer w.mu.Unlock()
	if version == 0 || !w.nudge.IsZero() || w.plan.Failures > 0 {
		return more
	}
	var have uint64
	for _, known := range [...]*published{w.current, w.refused} {
		if known != nil {
			have = max(have, known.version)
		}
	}
	at, ok := w.plan.Nudges.after(version, have, w.floor)
	if !ok {
		return more
	}
	if w.plan.Nudges.Last.IsZero() && (w.cache == nil || w.planErr != nil) {
		at = w.began.Add(w.floor)
	}
	soon := later(time.Now(), at, w.plan.Hold).Add(between(0, nudgeSpread, w.draw()))
	if soon.Before(w.plan.Next) {
		w.nudge = soon
	}
	return more
}

type versionKey struct{}

// tellingVersion has a source know the document in force, where its name is what a Structured Field's
// string can hold (RFC 9651 section 3.3.3).
func (w *Watcher) tellingVersion(ctx context.Context) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	const largest = 999_999_999_999_999 // of RFC 9651's integers
	if w.current == nil || w.current.name == "" || w.current.version > largest ||
		usableTag(w.current.name) != w.current.name {
		return ctx
	}
	name := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w.current.name)
	return context.WithValue(ctx, versionKey{}, `"`+name+`";v=`+strconv.FormatUint(w.current.version, 10))
}
