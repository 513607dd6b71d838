package jsondoc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parser reads JSON that is known to be valid. Names and texts are parts of the text, unless they have
// escapes.
type parser struct {
	text     string
	limits   Limits
	at       int      // the next byte
	line     int      // of the last token
	steps    []step   // to the value being read
	names    []string // of the members so far, of every object being read
	passing  []Value  // the value being read, and those that it is in, by their depth
	pending  []Value  // what was read of every object and array being read
	room     []Value  // for those that are whole
	chunk    int      // values that room had last
	values   [2]int   // in the tree: in members that aren't apart, and in those that are
	group    int      // which of them counts
	opaque   bool     // within an opaque member
	tooMany  *Problem // in the members apart
	problems []Problem
}

// step is one step of a path: an index, or a name if the index is -1.
type step struct {
	name  string
	index int
}

// space skips what stands between two tokens, a comma and a colon included.
func (p *parser) space() {
	for ; p.at < len(p.text); p.at++ {
		switch p.text[p.at] {
		case '\n':
			p.line++
		case ' ', '\t', '\r', ',', ':':
		default:
			return
		}
	}
}

// value reads the next value into v, and everything below it.
func (p *parser) value(v *Value) error {
	p.space()
	v.start, v.Line = p.at, p.line
	err := p.count()
	if err != nil {
		return err
	}
	switch p.text[p.at] {
	case '{':
		v.Kind = Object
		err = p.nested(v, p.members)
	case '[':
		v.Kind = Array
		err = p.nested(v, p.elements)
	case '"':
		v.Kind, v.Text = String, p.quoted()
	default:
		p.at = wordEnd(p.text, p.at)
		v.Kind, v.Text = Number, p.text[v.start:p.at]
		switch v.Text {
		case "null":
			v.Kind, v.Text = Null, ""
		case "true", "false":
			v.Kind = Bool
		}
	}
	v.end = p.at
	return err
}

// count counts a value that is in the tree. Where the members apart have too many, the rest of them gets no tree.
func (p *parser) count() error {
	if p.opaque {
		return nil
	}
	if p.values[p.group]++; p.values[p.group] <= p.limits.Values {
		return nil
	}
	err := fmt.Errorf("has more than %d values", p.limits.Values)
	if p.group == 0 {
		return err
	}
	p.opaque = true
	if p.tooMany == nil {
		p.tooMany = refusal(p.line, err)
	}
	return nil
}

// nested reads what is within the brackets that p stands at.
func (p *parser) nested(v *Value, read func(*Value) error) error {
	if len(p.steps) == p.limits.Depth {
		return fmt.Errorf("nested deeper than %d levels", p.limits.Depth)
	}
	p.at++
	first := len(p.pending)
	err := read(v)
	v.Items = p.whole(p.pending[first:])
	p.pending = p.pending[:first]
	p.at++ // the closing bracket, unless there is an error
	return err
}

// whole copies the values of one object or array to where they stay: few in room that is made for many.
func (p *parser) whole(items []Value) []Value {
	const most = 256 // 22 kB
	switch {
	case len(items) == 0:
		return nil
	case len(items) > most/4:
		return slices.Clone(items)
	case len(items) > len(p.room):
		p.chunk = min(most, 2*p.chunk+len(items))
		p.room = make([]Value, p.chunk)
	}
	kept := p.room[:len(items):len(items)]
	p.room = p.room[len(items):]
	copy(kept, items)
	return kept
}

func (p *parser) members(v *Value) error {
	seen := memberNames{parser: p, first: len(p.names)}
	outermost := len(p.steps) == 0
	for p.space(); p.text[p.at] != '}'; p.space() {
		name := p.quoted()
		if seen.add(name) {
			p.duplicate(name)
			v.Twice = true
		}
		if outermost {
			p.enter(name)
		}
		if err := p.child(v, name, -1, !p.opaque || outermost); err != nil {
			return err
		}
		if outermost {
			p.opaque, p.group = false, 0
		}
	}
	p.names = p.names[:seen.first]
	return nil
}

// enter begins a member of the outermost object.
func (p *parser) enter(name string) {
	if p.limits.Opaque != nil {
		p.opaque = p.limits.Opaque(name)
	}
	if p.limits.Apart != nil && p.limits.Apart(name) {
		p.group = 1
		p.opaque = p.opaque || p.tooMany != nil
	}
}

func (p *parser) elements(v *Value) error {
	i := 0
	for p.space(); p.text[p.at] != ']'; p.space() {
		if err := p.child(v, "", i, !p.opaque); err != nil {
			return err
		}
		i++
	}
	return nil
}

// child reads the next value whole and, if it is to be kept, leaves it pending.
func (p *parser) child(v *Value, name string, index int, keep bool) error {
	p.steps = append(p.steps, step{name, index})
	child := &p.passing[len(p.steps)]
	*child = Value{Name: name}
	if err := p.value(child); err != nil {
		return err
	}
	v.Twice = v.Twice || child.Twice
	p.steps = p.steps[:len(p.steps)-1]
	if keep {
		if len(p.pending) == cap(p.pending) {
			p.pending = slices.Grow(p.pending, max(32, len(p.pending))) // append grows by a quarter only
		}
		p.pending = append(p.pending, *child)
	}
	return nil
}

// quoted reads the string that p stands at.
func (p *parser) quoted() string {
	start := p.at
	end, plain := quoteEnd(p.text, start)
	p.at = end
	if plain {
		return p.text[start+1 : end-1]
	}
	var text string
	_ = json.Unmarshal([]byte(p.text[start:end]), &text) // which is valid
	return text
}

// memberNames are the names of one object's members, of which few need no map.
type memberNames struct {
	*parser
	first int // in names
	many  map[string]struct{}
}

// add tells whether the name was there.
func (m *memberNames) add(name string) (twice bool) {
	const few = 16
	switch {
	case m.many != nil:
		_, twice = m.many[name]
		m.many[name] = struct{}{}
		return twice
	case slices.Contains(m.names[m.first:], name):
		return true
	}
	if m.names = append(m.names, name); len(m.names) > m.first+few {
		m.many = make(map[string]struct{}, 4*few)
		for _, name := range m.names[m.first:] {
			m.many[name] = struct{}{}
		}
	}
	return false
}

func (p *parser) duplicate(name string) {
	if len(p.problems) >= limit {
		return
	}
	p.problems = append(p.problems, Problem{Path: Join(pathTo("", p.steps), name), Line: p.line,
		Problem: "written twice", Hint: "keep one of them"})
}

// quoteEnd is where the string ends that begins at start, and whether it has no escapes.
func quoteEnd(text string, start int) (end int, plain bool) {
	plain = true
	for end = start + 1; text[end] != '"'; end++ {
		if text[end] == '\\' {
			plain = false
			end++
		}
	}
	return end + 1, plain
}

// wordEnd is where the number, or the word, ends that begins at start.
func wordEnd(text string, start int) int {
	end := start
	for end < len(text) && strings.IndexByte(",]} \t\r\n", text[end]) < 0 {
		end++
	}
	return end
}

// pathTo is the path at the end of steps from base.
func pathTo(base string, steps []step) string {
	for _, s := range steps {
		if s.index >= 0 {
			base = Index(base, s.index)
		} else {
			base = Join(base, s.name)
		}
	}
	return base
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
