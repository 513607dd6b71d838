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
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
}

// Parse reads a document.
//
// Duplicate members are problems, yet the tree is returned with all of them. The document is nil
// only when there is no tree to return: then there is one problem.
func Parse(data []byte, limits Limits) (*Document, []Problem) {
	if !utf8.Valid(data) {
		return nil, []Problem{{Problem: "not UTF-8 text", Hint: "save the document as UTF-8"}}
	}
	// The whole grammar is checked first, so that what follows meets valid JSON only.
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, []Problem{syntaxProblem(data, err)}
	}
	p := parser{data: data, decoder: json.NewDecoder(bytes.NewReader(data)), line: 1,
		limits: limits}
	p.decoder.UseNumber()
	doc := &Document{data: data}
	token, err := p.next(&doc.Root)
	if err == nil {
		err = p.value(&doc.Root, token)
	}
	if err != nil {
		return nil, []Problem{{Line: p.line, Problem: err.Error(),
			Hint: "make the document simpler"}}
	}
	return doc, p.problems
}

func syntaxProblem(data []byte, err error) Problem {
	p := Problem{Line: 1, Problem: "not JSON: " + err.Error(),
		Hint: "check it with a JSON formatter"}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at := min(max(int(syntax.Offset), 0), len(data))
		p.Line += bytes.Count(data[:at], []byte{'\n'})
	}
	return p
}

type parser struct {
	data     []byte
	decoder  *json.Decoder
	limits   Limits
	at       int    // end of the last token
	line     int    // of the last token
	steps    []step // to the value being read
	values   int    // in the tree
	opaque   bool   // within an opaque member
	problems []Problem
}

// step is one step of a path: an index, or a name if the index is -1.
type step struct {
	name  string
	index int
}

// next reads one token and notes in v where it lies.
func (p *parser) next(v *Value) (json.Token, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	end := int(p.decoder.InputOffset())
	start := p.at
	for start < end && strings.IndexByte(" \t\r\n,:", p.data[start]) >= 0 {
		start++
	}
	// No token holds a raw line break, so those skipped above are all there are.
	p.line += bytes.Count(p.data[p.at:start], []byte{'\n'})
	p.at = end
	v.start, v.end, v.Line = start, end, p.line
	return token, nil
}

// value completes v, whose first token was read, and everything below it.
func (p *parser) value(v *Value, token json.Token) error {
	if !p.opaque {
		p.values++
	}
	if p.values > p.limits.Values {
		return fmt.Errorf("has more than %d values", p.limits.Values)
	}
	switch t := token.(type) {
	case json.Delim:
		if len(p.steps) == p.limits.Depth {
			return fmt.Errorf("nested deeper than %d levels", p.limits.Depth)
		}
		if t == '{' {
			v.Kind = Object
			return p.members(v)
		}
		v.Kind = Array
		return p.elements(v)
	case string:
		v.Kind, v.Text = String, t
	case json.Number:
		v.Kind, v.Text = Number, t.String()
	case bool:
		v.Kind, v.Text = Bool, strconv.FormatBool(t)
	}
	return nil
}

func (p *parser) members(v *Value) error {
	seen := make(map[string]struct{})
	for p.decoder.More() {
		var member Value
		token, err := p.next(&member)
		if err != nil {
			return err
		}
		member.Name, _ = token.(string)
		if _, twice := seen[member.Name]; twice {
			p.duplicate(member.Name)
			v.Twice = true
		}
		seen[member.Name] = struct{}{}
		outermost := len(p.steps) == 0
		if outermost && p.limits.Opaque != nil {
			p.opaque = p.limits.Opaque(member.Name)
		}
		if err := p.child(v, &member, step{member.Name, -1}); err != nil {
			return err
		}
		if outermost {
			if p.opaque {
				v.Items = append(v.Items, member)
			}
			p.opaque = false
		}
	}
	return p.close(v)
}

func (p *parser) elements(v *Value) error {
	for i := 0; p.decoder.More(); i++ {
		var element Value
		if err := p.child(v, &element, step{index: i}); err != nil {
			return err
		}
	}
	return p.close(v)
}

// child reads the next value whole and, unless it is opaque, adds it to v.
func (p *parser) child(v, child *Value, s step) error {
	p.steps = append(p.steps, s)
	token, err := p.next(child)
	if err == nil {
		err = p.value(child, token)
	}
	if err != nil {
		return err
	}
	p.steps = p.steps[:len(p.steps)-1]
	v.Twice = v.Twice || child.Twice
	if !p.opaque {
		v.Items = append(v.Items, *child)
	}
	return nil
}

func (p *parser) close(v *Value) error {
	var end Value
	_, err := p.next(&end)
	v.end = end.end
	return err
}

func (p *parser) duplicate(name string) {
	if len(p.problems) >= limit {
		return
	}
	path := ""
	for _, s := range p.steps {
		if s.index >= 0 {
			path = Index(path, s.index)
		} else {
			path = Join(path, s.name)
		}
	}
	p.problems = append(p.problems, Problem{Path: Join(path, name), Line: p.line,
		Problem: "written twice", Hint: "keep one of them"})
}

// Join returns the path of a member of the object at path.
func Join(path, name string) string {
	name = printable(shorten(name))
	if path == "" {
		return name
	}
	return path + "." + name
}

// Index returns the path of an element of the array at path.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

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
