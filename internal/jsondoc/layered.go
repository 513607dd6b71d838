package jsondoc

import (
	"encoding/json"
	"maps"
	"slices"
)

// Layered is a JSON value over which others are laid. An object is read into its members when another
// is laid over it, once: what layers cost is their own size, not that of what they lie on. The zero
// value is no value.
type Layered struct {
	raw     []byte              // nil: members
	members map[string]*Layered // of an object that was read
}

// Over returns a value, which must be valid JSON without space around it, as [Binder] keeps it.
func Over(value []byte) Layered { return Layered{raw: value} }

// Lay lays valid JSON on top: objects member by member down to a depth, anything else as a whole. Null
// is a value. Members of a member named split, if it isn't empty, are one level deeper than others.
func (l *Layered) Lay(over []byte, depth int, split string) {
	if depth <= 0 || !isObject(over) || !l.expand() {
		*l = Layered{raw: over}
		return
	}
	eachMember(over, func(name string, value []byte) {
		under := l.members[name]
		if under == nil {
			l.members[name] = &Layered{raw: value}
			return
		}
		deeper := depth - 1
		if name == split {
			deeper--
		}
		under.Lay(value, deeper, split)
	})
}

// expand reads the members of an object, and tells whether it is one.
func (l *Layered) expand() bool {
	if l.members != nil {
		return true
	}
	if !isObject(l.raw) {
		return false
	}
	l.members = make(map[string]*Layered)
	eachMember(l.raw, func(name string, value []byte) { l.members[name] = &Layered{raw: value} })
	l.raw = nil
	return true
}

// Bytes writes the value, the members of objects that were read in the order of their names.
func (l *Layered) Bytes() []byte { return l.append(nil) }

func (l *Layered) append(out []byte) []byte {
	if l.members == nil {
		if out == nil {
			return l.raw
		}
		return append(out, l.raw...)
	}
	out = append(out, '{')
	for i, name := range slices.Sorted(maps.Keys(l.members)) {
		if i > 0 {
			out = append(out, ',')
		}
		quoted, _ := json.Marshal(name) // a string can be written
		out = l.members[name].append(append(append(out, quoted...), ':'))
	}
	return append(out, '}')
}

func isObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// eachMember calls do for the members of a valid object.
func eachMember(object []byte, do func(name string, value []byte)) {
	p := parser{text: string(object), at: 1}
	for p.space(); p.text[p.at] != '}'; p.space() {
		name := p.quoted()
		p.space()
		start := p.at
		p.at = valueEnd(p.text, start)
		do(name, object[start:p.at:p.at])
	}
}

// valueEnd is where the value ends that begins at start.
func valueEnd(text string, start int) int {
	switch text[start] {
	case '"':
		end, _ := quoteEnd(text, start)
		return end
	case '{', '[':
	default:
		return wordEnd(text, start)
	}
	open := 0
	for at := start; ; at++ {
		switch text[at] {
		case '"':
			end, _ := quoteEnd(text, at)
			at = end - 1
		case '{', '[':
			open++
		case '}', ']':
			if open--; open == 0 {
				return at + 1
			}
		}
	}
}
