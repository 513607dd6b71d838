package flags

import (
	"math"
	"strings"
	"unicode/utf8"
)

// each is map and filter.
func (e *evaluation) each(n *node) value {
	list := e.arg(n, 0)
	outer := e.scope
	made := []value{}
	for i := range list.length() {
		if !e.spend(0) {
			break
		}
		element := list.element(i)
		e.scope = scope{kind: inElement, current: element}
		result := e.arg(n, 1)
		switch {
		case n.op == opMap:
			made = append(made, result)
		case result.truthy():
			made = append(made, element)
		}
	}
	e.scope = outer
	return listOf(made)
}

func (e *evaluation) reduce(n *node) value {
	list, result := e.arg(n, 0), e.arg(n, 2)
	outer := e.scope
	for i := range list.length() {
		if !e.spend(0) {
			break
		}
		e.scope = scope{kind: inReduce, current: list.element(i), accumulator: result}
		result = e.arg(n, 1)
	}
	e.scope = outer
	return result
}

// quantify is all, none and some. All of nothing is false, in JSONLogic.
func (e *evaluation) quantify(n *node) value {
	list := e.arg(n, 0)
	outer := e.scope
	found := false // an element that decides
	for i := range list.length() {
		if !e.spend(0) {
			break
		}
		e.scope = scope{kind: inElement, current: list.element(i)}
		if found = e.arg(n, 1).truthy() == (n.op != opAll); found {
			break
		}
	}
	e.scope = outer
	switch n.op {
	case opSome:
		return boolOf(found)
	case opNone:
		return boolOf(!found)
	}
	return boolOf(!found && list.length() > 0)
}

func (e *evaluation) merge(n *node) value {
	merged := []value{}
	for i := range n.args {
		v := e.run(&n.args[i])
		if v.kind != kindList {
			merged = append(merged, v)
			continue
		}
		for j := range v.length() {
			if !e.spend(0) {
				break
			}
			merged = append(merged, v.element(j))
		}
	}
	return listOf(merged)
}

// in looks for an element of a list, or a text within a text. Null is in no text: an attribute that
// is missing must not be found in "annulled".
func (e *evaluation) in(n *node) value {
	needle := e.arg(n, 0)
	if n.set != nil {
		if needle.kind != kindText || !e.read(len(needle.str())) {
			return boolOf(false)
		}
		_, found := n.set[needle.str()]
		return boolOf(found)
	}
	switch hay := e.arg(n, 1); hay.kind {
	case kindText:
		return boolOf(needle.kind != kindNull && e.search(hay.str(), e.text(needle)))
	case kindList:
		return boolOf(e.contains(hay, needle))
	}
	return boolOf(false)
}

// search looks for a text within another. Go's search takes the product of both lengths where every place of
// the hay has the needle's hash, which a document may bring about.
func (e *evaluation) search(hay, needle string) bool {
	cost := min(len(hay)/64, maxSteps) * (1 + min(len(needle)/64, maxSteps))
	e.steps -= min(cost, maxSteps+1)
	return e.steps >= 0 && strings.Contains(hay, needle)
}

func (e *evaluation) contains(list, needle value) bool {
	for i := range list.length() {
		if !e.spend(0) {
			break
		}
		if e.same(needle, list.element(i)) {
			return true
		}
	}
	return false
}

func (e *evaluation) cat(n *node) value {
	var buf [64]byte
	out := buf[:0]
	o := e.operands(n)
	for i := range o.count {
		out = e.appendText(out, e.operand(&o, i), 0)
	}
	return textOf(string(out))
}

// substr counts characters, not bytes. A negative length leaves off so many at the end. Of null it
// is null.
func (e *evaluation) substr(n *node) value {
	source := e.arg(n, 0)
	if source.kind == kindNull {
		return source
	}
	text := e.text(source)
	if !e.read(len(text)) {
		return value{}
	}
	length := utf8.RuneCountInString(text)
	from := whole(e.number(e.arg(n, 1)), length)
	if from < 0 {
		from = max(length+from, 0)
	}
	to := length
	if len(n.args) > 2 {
		count := whole(e.number(e.run(&n.args[2])), length)
		if count < 0 {
			to = length + count
		} else {
			to = min(from+count, length)
		}
	}
	if from >= to {
		return textOf("")
	}
	return textOf(text[runeOffset(text, from):runeOffset(text, to)])
}

// whole cuts a number off to what matters for a text of that length.
func whole(f float64, length int) int {
	if f != f {
		return 0
	}
	return int(math.Trunc(min(max(f, float64(-length)), float64(length))))
}

func runeOffset(text string, n int) int {
	at := 0
	for range n {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

func (e *evaluation) affix(n *node) value {
	if len(n.args) != n.op.exactly() {
		return value{}
	}
	text, affix := e.run(&n.args[0]), e.run(&n.args[1])
	if text.kind != kindText || affix.kind != kindText || !e.read(len(affix.str())) {
		return value{}
	}
	if n.op == opStartsWith {
		return boolOf(strings.HasPrefix(text.str(), affix.str()))
	}
	return boolOf(strings.HasSuffix(text.str(), affix.str()))
}
