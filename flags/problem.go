package flags

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tether-go/tether/internal/jsondoc"
)

// maxListed is how many problems are listed: a person reads no more.
const maxListed = 100

// Problem is one mistake in a document.
type Problem struct {
	// Path tells where, such as flags.checkout.targeting.if[0]; empty for the document as a whole.
	Path string
	// Line is the line in the document, from 1; 0 where there is none.
	Line int
	// Problem is what is wrong.
	Problem string
	// Hint is what to write instead; it may be empty.
	Hint string
}

// String is the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Problem)
	if p.Hint != "" {
		b.WriteString(": " + p.Hint)
	}
	return b.String()
}

// DocumentError is a document that was refused.
type DocumentError struct {
	// Problems are in the order of their lines; of a document with more than 100, the first found.
	Problems []Problem
}

// Error lists the first ten problems; Problems has all of them.
func (e *DocumentError) Error() string {
	const most = 10
	var b strings.Builder
	b.WriteString("flags: document refused")
	separator := ": "
	for i, p := range e.Problems {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(e.Problems)-most)
			break
		}
		b.WriteString(separator + p.String())
		separator = "; "
	}
	return b.String()
}

// findings collects what is wrong with a document.
type findings struct {
	refused []Problem // why it can't be loaded
	notes   []Problem // what is odd, yet harms nobody, or one flag at most
}

func (f *findings) refuse(v *jsondoc.Value, path, problem, hint string) {
	f.refused = add(f.refused, v, path, problem, hint)
}

func (f *findings) note(v *jsondoc.Value, path, problem, hint string) {
	f.notes = add(f.notes, v, path, problem, hint)
}

func add(list []Problem, v *jsondoc.Value, path, problem, hint string) []Problem {
	if len(list) >= maxListed {
		return list
	}
	return append(list, Problem{path, v.Line, problem, hint})
}

// unknown notes the members that nobody reads.
func (f *findings) unknown(v *jsondoc.Value, path string, known ...string) {
	for i := range v.Items {
		member := &v.Items[i]
		if slices.Contains(known, member.Name) || len(f.notes) >= maxListed {
			continue
		}
		hint := ""
		if near := jsondoc.Nearest(member.Name, known); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		f.note(member, jsondoc.Join(path, member.Name), "not known to this version, ignored", hint)
	}
}

// err is nil when the document can be loaded.
func (f *findings) err() error {
	if len(f.refused) == 0 {
		return nil
	}
	slices.SortStableFunc(f.refused, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &DocumentError{Problems: f.refused}
}
