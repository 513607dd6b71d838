package policy

import (
	"encoding/json"
	"errors"

	"github.com/tether-go/tether/flags"
)

// Flags are those of a document, compiled.
type Flags struct {
	Plain *flags.Set // without stages; nil: the document has none
	// Staged are the flags as one stage by itself has them, by its name: for the stages that change flags and that
	// the client gets.
	Staged map[string]*flags.Set
}

// flagProblems is why flags can't be loaded.
func flagProblems(err error) (problems []Problem) {
	var known *flags.DocumentError
	if !errors.As(err, &known) {
		return []Problem{{Path: "flags", Problem: err.Error()}}
	}
	for _, p := range known.Problems {
		problems = append(problems, Problem(p))
	}
	return problems
}

// HasFlags tells whether a Document brings flags of its own. The two members go together: how keys are
// hashed belongs to the flags that hash them.
func (c *Document) HasFlags() bool { return len(c.Flags) > 0 || len(c.FlagSettings) > 0 }

// FlagSet compiles the flags of a Document that may never have been a document.
func (c *Document) FlagSet(tally *flags.Tally) (*flags.Set, []Problem) {
	document := make([]byte, 0, len(c.Flags)+len(c.FlagSettings)+len(`{"flags":,"flagSettings":}`))
	document = append(document, '{')
	for _, part := range [...]struct {
		name  string
		value json.RawMessage
	}{{"flags", c.Flags}, {"flagSettings", c.FlagSettings}} {
		switch {
		case len(part.value) == 0:
			continue
		case !json.Valid(part.value):
			return nil, []Problem{{Path: part.name, Problem: "is not JSON", Hint: "marshal the value first"}}
		case len(document) > 1:
			document = append(document, ',')
		}
		document = append(append(document, `"`+part.name+`":`...), part.value...)
	}
	document = append(document, '}')
	set, err := flags.Load(document, flags.LoadOptions{Format: flags.Tether, Tally: tally})
	if err == nil {
		return set, nil
	}
	problems := flagProblems(err)
	for i := range problems {
		problems[i].Line = 0 // of a text that nobody wrote
	}
	return nil, problems
}
