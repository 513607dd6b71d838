package tether

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Why [Engine.Apply] refuses a document, beside *[ConfigError].
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
	// ErrExpired means that the document's time is over: a document is never newly adopted then.
	ErrExpired = errors.New("tether: the document has expired")
)

// current is the configuration in force.
type current struct {
	*snapshot
	pushed   Config        // the zero Config: the application's own alone is in force
	document []byte        // as it was published; nil: none was
	serial   uint64        // grows with each change
	since    time.Time     // when it was put in force
	replaced chan struct{} // closed when a newer configuration is in force
}

func (e *Engine) newCurrent(pushed Config, document []byte, serial uint64) *current {
	return &current{compile(e.local, pushed, e.opts.Bounds), pushed, document, serial, time.Now(), make(chan struct{})}
}

// Apply puts a published document in force: in one step, for calls that begin from now on. Calls under
// way keep the configuration that they began with, kill switches excepted. What was learnt stays:
// applying never closes a breaker, refills a budget or shortens a hold. The same document again
// changes nothing.
//
// What a document loosens beyond [Options.Bounds] is brought back to them and told in the notes,
// together with what this version doesn't know. An error (a *[ConfigError], [ErrOlder],
// [ErrUnidentified], [ErrSameVersion], [ErrOtherDocument], [ErrExpired]) leaves the configuration as it was; only the
// kill switches of a document that is neither older nor another's are added even then: a mistake
// elsewhere in it must not keep a backend from being saved, nor lift a kill that is on.
func (e *Engine) Apply(document []byte) (notes []string, err error) {
	now := time.Now()
	next, read, err := e.replace(document, now)
	for _, n := range read {
		notes = append(notes, fmt.Sprintf("%s: %s", n.Path, n.Text))
		e.emit(Event{Kind: EventNote, Version: next.Version, Note: notes[len(notes)-1]})
	}
	switch {
	case err != nil:
		e.emit(Event{Kind: EventNotTaken, Version: next.Version, Err: err})
	case next.Version > 0:
		e.emit(Event{Kind: EventApplied, Version: next.Version, Note: next.Label})
	}
	return notes, err
}

// maxRefused is how much of a refused document is remembered: all of any that has kills.
const maxRefused = 1 << 20

// replace swaps the configuration. It returns the zero Config when nothing changed.
func (e *Engine) replace(document []byte, now time.Time) (Config, []Note, error) {
	e.applying.Lock()
	defer e.applying.Unlock()
	old := e.config.Load()
	if old.document != nil && bytes.Equal(old.document, document) {
		return Config{}, nil, nil
	}
	next, notes, err := Parse(document)
	if next.Document == "" || next.Version == 0 {
		return next, notes, errors.Join(ErrUnidentified, err) // nor can its kill switches be trusted
	}
	if newer := old.precedes(next); newer != nil {
		return next, nil, newer
	}
	if err == nil && !next.Expires.IsZero() && now.After(next.Expires) {
		err = ErrExpired
	}
	if err != nil {
		if !bytes.Equal(e.refused, document) { // or it would renew its kills for ever
			e.refused = bytes.Clone(document[:min(len(document), maxRefused)])
			kept := old.pushed
			kills, _ := e.opts.Bounds.capKills(next.Kill, now)
			kept.Kill = append(slices.Clip(kept.Kill), kills...) // a mistake must not lift a kill either
			e.put(kept, old.document)
		}
		return next, notes, err
	}
	clamped, changed := e.opts.Bounds.Clamp(next, e.local)
	kills, capped := e.opts.Bounds.capKills(clamped.Kill, now)
	clamped.Kill = kills
	e.put(clamped, bytes.Clone(document))
	return clamped, slices.Concat(notes, changed, capped), nil
}

// put makes a configuration the one in force and wakes whoever waits under the old one.
func (e *Engine) put(pushed Config, document []byte) {
	old := e.config.Load()
	e.config.Store(e.newCurrent(pushed, document, old.serial+1))
	close(old.replaced)
}

// precedes tells why next must not replace c, if so.
func (c *current) precedes(next Config) error {
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
