package remoteconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Targets are several targets that one watcher serves, such as the engines of two SDKs. Each gets every
// document, whatever the others make of it; one that any of them refuses counts as refused, is offered to
// all again at each poll, and isn't kept in the cache. What they keep for the next process is kept by
// their order.
type Targets []Target

// Apply hands the document to each target. The notes are those of all of them, each once; the error is
// that of all who refused it.
func (ts Targets) Apply(document []byte) (notes []string, err error) {
	return ts.each(func(t Target) ([]string, error) { return t.Apply(document) })
}

// Readopt is Apply for a document of the cache: for targets that are no [Readopter] it is Apply.
func (ts Targets) Readopt(document []byte, adopted time.Time) (notes []string, err error) {
	return ts.each(func(t Target) ([]string, error) {
		if again, can := t.(Readopter); can {
			return again.Readopt(document, adopted)
		}
		return t.Apply(document)
	})
}

func (ts Targets) each(give func(Target) ([]string, error)) (notes []string, err error) {
	var errs []error
	for _, t := range ts {
		var told []string
		errs = append(errs, guard(func() (err error) { // one that panics must not cost the others the document
			told, err = give(t)
			return err
		}))
		for _, note := range told {
			if !slices.Contains(notes, note) {
				notes = append(notes, note)
			}
		}
	}
	return notes, errors.Join(errs...)
}

// Snapshot is what the targets that are [Keeper] keep; nil if none has anything.
func (ts Targets) Snapshot() []byte {
	kept := make([][]byte, len(ts))
	some := false
	for i, t := range ts {
		if keeper, can := t.(Keeper); can {
			_ = guard(func() error { kept[i] = keeper.Snapshot(); return nil }) // the others' is kept
			some = some || kept[i] != nil
		}
	}
	if !some {
		return nil
	}
	snapshot, err := json.Marshal(kept)
	if err != nil {
		return nil // of byte slices: it can't be
	}
	return snapshot
}

// Restore gives each target what it kept. An error is that of all who couldn't take it.
func (ts Targets) Restore(snapshot []byte) error {
	var kept [][]byte
	if err := json.Unmarshal(snapshot, &kept); err != nil {
		return fmt.Errorf("remoteconfig: what the targets kept is damaged: %w", err)
	}
	var errs []error
	for i, t := range ts[:min(len(ts), len(kept))] {
		if keeper, can := t.(Keeper); can && kept[i] != nil {
			errs = append(errs, guard(func() error { return keeper.Restore(kept[i]) }))
		}
	}
	return errors.Join(errs...)
}

func (ts Targets) check() error {
	if len(ts) == 0 || slices.Contains(ts, nil) {
		return errors.New("remoteconfig: a watcher needs targets, none of them nil")
	}
	return nil
}
