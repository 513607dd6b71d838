// Package jsondoc reads JSON documents that people write by hand and machines obey: strictly, with
// the line of every mistake, and with all mistakes at once.
//
//	doc, problems := jsondoc.Parse(data, jsondoc.Limits{Depth: 32, Values: 1000})
//	if len(problems) == 0 {
//		binder := jsondoc.Binder{Doc: doc}
//		binder.Bind(&doc.Root, "", &settings)
//	}
//
// It adds to encoding/json what that leaves out: duplicate members are found, names match in their
// exact case, null is a mistake, unknown members are reported with the nearest known name, and a
// time.Duration is a string.
package jsondoc

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one mistake in a document. Line counts from 1; 0 means that there is no line.
type Problem struct {
	Path    string
	Line    int
	Problem string
	Hint    string
}

// Hinted is the error of one value that cannot be read, for whoever knows where the value stands.
type Hinted struct {
	Problem string
	Hint    string
}

func (h *Hinted) Error() string { return h.Problem + ": " + h.Hint }

// Kind tells what a Value is.
type Kind uint8

// The kinds of JSON values.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// Value is one node of a document.
type Value struct {
	// Name is the name of an object's member; empty elsewhere.
	Name string
	// Text is a string decoded, or a number or boolean as written.
	Text string
	// Items are the elements of an array or the members of an object, in order, duplicates
	// included.
	Items []Value
	// Line counts from 1.
	Line int
	Kind Kind
	// Twice tells that an object at or below the value has a duplicate member, so that two readers
	// may read it differently.
	Twice bool

	start, end int // where the value lies in the document
}

// Member returns the first member of that name, or nil.
func (v *Value) Member(name string) *Value {
	if v.Kind != Object {
		return nil
	}
	for i := range v.Items {
		if v.Items[i].Name == name {
			return &v.Items[i]
		}
	}
	return nil
}

// Document is a document that was read as a whole. It is not changed after Parse.
type Document struct {
	Root Value
	// TooMany tells that the members that are counted apart have more values than Limits.Values. They have
	// but a part of their tree then. Nil: they don't.
	TooMany *Problem

	data []byte
}

// Raw returns the bytes of a value as they were written. They must not be changed.
func (d *Document) Raw(v *Value) []byte { return d.data[v.start:v.end:v.end] }

// Limits bound what reading a document costs. The caller has checked its size.
type Limits struct {
	// Depth is how deep objects and arrays may nest; the outermost is 1 deep.
	Depth int
	// Values is how many values the tree may have, each about a hundred bytes.
	Values int
	// Opaque names the members of the outermost object that are checked but get no tree: they have
	// no Items, cost no Values, and are of use by Raw alone. Nil: none.
	Opaque func(member string) bool
	// Apart names the members of the outermost object whose values are counted by themselves, the outermost
	// object with them; see Document.TooMany. Nil: none.
	Apart func(member string) bool
}

// Parse reads a document, in time that its size alone decides.
//
// Duplicate members are problems, yet the tree is returned with all of them. The document is nil
// only when there is no tree to return: then there is one problem.
func Parse(data []byte, limits Limits) (*Document, []Problem) {
	if !utf8.Valid(data) {
		return nil, []Problem{{Problem: "not UTF-8 text", Hint: "save the document as UTF-8"}}
	}
	// The whole grammar is checked first, so that what follows meets valid JSON only.
	if !json.Valid(data) {
		return nil, []Problem{syntaxProblem(data)}
	}
	p := parser{text: string(data), line: 1, limits: limits, passing: make([]Value, limits.Depth+1), values: [2]int{0, 1}}
	root := &p.passing[0]
	if err := p.value(root); err != nil {
		return nil, []Problem{*refusal(p.line, err)}
	}
	return &Document{Root: *root, TooMany: p.tooMany, data: data}, p.problems
}

// refusal is why a document, or a part of it, has no tree.
func refusal(line int, err error) *Problem {
	return &Problem{Line: line, Problem: err.Error(), Hint: "make the document simpler"}
}

// Line returns the line of the value at path, or of the nearest value above it that exists.
func (d *Document) Line(path string) int {
	v := &d.Root
	for path != "" {
		var step string
		if rest, ok := strings.CutPrefix(path, "["); ok {
			step, path, _ = strings.Cut(rest, "]")
			i, err := strconv.Atoi(step)
			if err != nil || v.Kind != Array || i < 0 || i >= len(v.Items) {
				return v.Line
			}
			v = &v.Items[i]
			continue
		}
		path = strings.TrimPrefix(path, ".")
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		step, path = path[:end], path[end:]
		member := v.Member(step)
		if member == nil {
			return v.Line
		}
		v = member
	}
	return v.Line
}
