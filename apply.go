package tether

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/jsondoc"
	"github.com/tether-go/tether/policy"
)

// Why [Engine.Apply] refuses a document, beside *[policy.Error].
var (
	// ErrOlder means that the document's version is below that of the one in force.
	ErrOlder = errors.New("tether: the document is older than the one in force")
	// ErrSameVersion means that the version is the one in force and the content another.
	ErrSameVersion = errors.New("tether: the document differs from the one of the same version in force")
	// ErrOtherDocument means that the name is not that of the document in force.
	ErrOtherDocument = errors.New("tether: the document is not the one that this engine follows")
	// ErrUnidentified means that the document has no name or no version: nothing tells then whether it is
	// meant for this engine, or newer than another.
	ErrUnidentified = errors.New("tether: the document has no name or no version")
	// ErrAudience means that the document is for others than [Options.Audience]. None of it is taken,
	// kill switches included.
	ErrAudience = errors.New("tether: the document is for another audience")
	// ErrExpired means that the document's time is over: a document is never newly adopted then.
	ErrExpired = errors.New("tether: the document has expired")
)

// current is the configuration in force.
type current struct {
	*policy.Compiled
	flags  *flags.Set      // with its stages' patches
	plain  *flags.Set      // of published, or the application's own
	pushed policy.Document // the zero Document: the application's own alone is in force; with its stages' patches
	// published is pushed before its stages and bounds; on are the stages that are in it, trials those that are watched.
	published policy.Document
	on        []policy.Rollout
	trials    []*trial
	inForce   []policy.KillInForce // what pushed.Kill is of
	document  []byte               // as it was published; nil: none was
	serial    uint64               // grows with each change
	since     time.Time            // when it was adopted
	replaced  chan struct{}        // closed when a newer configuration is in force
}

// refusal remembers a refused document whose kills were taken. It must not renew them by coming
// back, at the next poll or in the next process.
type refusal struct {
	sum   [sha256.Size]byte
	since time.Time // its kills' cap counts from then
	taken bool      // its kills are in force: false after a restart
}

// Apply puts a published document in force: in one step, for calls that begin from now on. Calls under
// way keep the configuration that they began with, kill switches excepted. What was learnt stays:
// applying never closes a breaker, refills a budget or shortens a hold. The same document again
// changes nothing.
//
// What a document loosens beyond [Options.Bounds] is brought back to them and told in the notes,
// together with what this version doesn't know. An error (a *[policy.Error], [ErrOlder],
// [ErrUnidentified], [ErrSameVersion], [ErrOtherDocument], [ErrAudience], [ErrExpired]) leaves the
// configuration as it was; only the kill switches of a document that is neither older nor another's
// are added even then: a mistake elsewhere in it must not keep a backend from being saved, nor lift a
// kill that is on. A document that is refused again for the same reason is no event again.
func (e *Engine) Apply(document []byte) (notes []string, err error) {
	return e.adopt(document, time.Now())
}

// Readopt is [Engine.Apply] for a document that was in force in an earlier process, since adopted. It
// is taken although it has expired, if it was valid then, and kills are capped by what is left of
// [policy.Bounds.MaxKill]: a program that restarts again and again neither loses its document nor renews a
// kill for ever. A time in the future counts as now.
func (e *Engine) Readopt(document []byte, adopted time.Time) (notes []string, err error) {
	if now := time.Now(); adopted.After(now) {
		adopted = now
	}
	return e.adopt(document, adopted)
}

func (e *Engine) adopt(document []byte, adopted time.Time) (notes []string, err error) {
	next, read, known, err := e.replace(document, adopted)
	e.flagsChanged()
	for _, n := range read {
		notes = append(notes, strings.TrimPrefix(n.Path+": "+n.Text, ": "))
		if !known {
			e.emit(Event{Kind: EventNote, Version: next.Version, Note: notes[len(notes)-1]})
		}
	}
	switch {
	case err != nil && !known:
		e.emit(Event{Kind: EventNotTaken, Version: next.Version, Err: err})
	case err == nil && next.Version > 0:
		e.emit(Event{Kind: EventApplied, Version: next.Version, Note: next.Label})
	}
	return notes, err
}

// replace swaps the configuration. It returns the zero Document when nothing changed, and whether the
// same was refused for the same reason before.
func (e *Engine) replace(document []byte, adopted time.Time) (
	_ policy.Document, _ []policy.Note, known bool, _ error) {
	e.applying.Lock()
	defer e.applying.Unlock()
	old := e.config.Load()
	if old.document != nil && bytes.Equal(old.document, document) {
		return policy.Document{}, nil, false, nil
	}
	next, set, notes, err := policy.Load(document, &e.tally, e.gets)
	if err == nil && !next.Expires.IsZero() && adopted.After(next.Expires) {
		err = ErrExpired
	}
	if unfit := e.unfit(old, next); unfit != nil { // nor are its kill switches meant for us
		err = errors.Join(unfit, err)
	} else if err != nil {
		e.addKills(old, sha256.Sum256(document), next.Kill, adopted)
	}
	if err != nil {
		told := sha256.Sum256(append([]byte(err.Error()), document...))
		known, e.told = told == e.told, told
		return next, notes, known, err
	}
	if !next.HasFlags() {
		set.Plain = e.localFlags
	}
	kills, capped := e.opts.Bounds.KillsInForce(next.Kill, adopted)
	e.told = [sha256.Size]byte{}
	changed := e.putStaged(next, set, kills, bytes.Clone(document), adopted)
	return next, slices.Concat(notes, changed, capped), false, nil
}

// addKills puts the kills of a refused document in force beside those that are: a mistake must not
// lift a kill either.
func (e *Engine) addKills(old *current, sum [sha256.Size]byte, kills []policy.Kill, adopted time.Time) {
	if len(kills) == 0 {
		return
	}
	i := slices.IndexFunc(e.refused, func(r refusal) bool { return r.sum == sum })
	if i < 0 {
		e.refused = append(e.refused, refusal{sum: sum, since: adopted})
		e.refused = e.refused[max(0, len(e.refused)-maxRefusals):]
		i = len(e.refused) - 1
	}
	if e.refused[i].taken {
		return
	}
	e.refused[i].taken = true
	more, _ := e.opts.Bounds.KillsInForce(kills, e.refused[i].since)
	all := policy.JoinKills(old.inForce, more)
	e.putStaged(old.published, policy.Flags{Plain: old.plain}, all, old.document, old.since)
}

// maxRefusals is how many servers may have a mistake of their own, in turn.
const maxRefusals = 16

// unfit tells why nothing of a document is meant for this engine at this time, if so.
func (e *Engine) unfit(old *current, next policy.Document) error {
	if next.Document == "" || next.Version == 0 {
		return ErrUnidentified
	}
	for _, member := range slices.Sorted(maps.Keys(next.Audience)) {
		if own, is := e.opts.Audience[member]; !is || own != next.Audience[member] {
			return fmt.Errorf("%w: %s is not ours", ErrAudience, jsondoc.Quote(member))
		}
	}
	return old.precedes(next)
}

// precedes tells why next must not replace c, if so.
func (c *current) precedes(next policy.Document) error {
	switch {
	case c.document == nil:
		return nil
	case next.Document != c.pushed.Document:
		return ErrOtherDocument
	case next.Version < c.pushed.Version:
		return ErrOlder
	case next.Version == c.pushed.Version:
		return ErrSameVersion
	}
	return nil
}

func (c *current) version() uint64 { return c.pushed.Version }
