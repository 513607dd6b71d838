package policy

import (
	"encoding/json"
	"errors"

	"github.com/tether-go/tether/flags"
)

// loadFlags compiles the flags of a whole document, as it was written: its lines are told. Whatever changes
// the members flags and flagSettings has to come before, for what was compiled is never mended.
func loadFlags(document []byte, tally *flags.Tally) (set *flags.Set, refused []Problem, notes []Note) {
	set, err := flags.Load(document, flags.LoadOptions{Format: flags.Tether, Tally: tally})
	if err != nil {
		var known *flags.DocumentError
		if !errors.As(err, &known) {
			return nil, []Problem{{Path: "flags", Problem: err.Error()}}, nil
		}
		for _, p := range known.Problems {
			refused = append(refused, Problem(p))
		}
		return nil, refused, nil
	}
	for _, p := range set.Notes() {
		text := p.Problem
		if p.Hint != "" {
			text += " (" + p.Hint + ")"
		}
		notes = append(notes, Note{p.Path, text, NoteUnknown})
	}
	return set, nil, notes
}

// HasFlags tells whether a Document brings flags of its own. The two members go together: how keys are
// hashed belongs to the flags that hash them.
func (c *Document) HasFlags() bool { return len(c.Flags) > 0 || len(c.FlagSettings) > 0 }

// FlagSet compiles the flags of a Document that may never have been a document.
func (c *Document) FlagSet(tally *flags.Tally) (*flags.Set, []Problem) {
	document, err := json.Marshal(struct {
		Flags    json.RawMessage `json:"flags,omitempty"`
		Settings json.RawMessage `json:"flagSettings,omitempty"`
	}{c.Flags, c.FlagSettings})
	if err != nil {
		return nil, []Problem{{Path: "flags", Problem: "is not JSON", Hint: "marshal the value first"}}
	}
	set, problems, _ := loadFlags(document, tally)
	for i := range problems {
		problems[i].Line = 0 // of a text that nobody wrote
	}
	return set, problems
}
