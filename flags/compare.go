package flags

import (
	"math"
	"strings"
)

// equality compares each argument with the next; all pairs must hold. An argument that isn't there is null.
func (e *evaluation) equality(n *node) value {
	a := e.arg(n, 0)
	for i := 1; i < max(len(n.args), 2); i++ {
		b := e.arg(n, i)
		equal := false
		switch n.op {
		case opEqual, opNotEqual:
			equal = e.equal(a, b)
		default:
			equal = e.same(a, b)
		}
		if equal != (n.op == opEqual || n.op == opSame) {
			return boolOf(false)
		}
		a = b
	}
	return boolOf(true)
}

// equal is JavaScript's ==. Two lists or two objects are never equal: there, only the very same are.
func (e *evaluation) equal(a, b value) bool {
	if a.kind == b.kind {
		return e.same(a, b)
	}
	if a.kind >= kindList && b.kind >= kindList {
		return false
	}
	if a, b = e.primitive(a), e.primitive(b); a.kind == b.kind {
		return e.same(a, b)
	}
	if a.kind == kindNull || b.kind == kindNull {
		return false
	}
	return e.number(a) == e.number(b)
}

// same is JavaScript's ===.
func (e *evaluation) same(a, b value) bool {
	if a.kind != b.kind || a.kind >= kindList {
		return false
	}
	if a.kind != kindText {
		return a.num == b.num
	}
	x, y := a.str(), b.str()
	return len(x) == len(y) && e.read(len(x)) && x == y
}

// ordered is the four comparisons, each argument with the next: with three it tells whether the second is
// between the others. JSONLogic has that for < and <= alone, flagd for all four.
func (e *evaluation) ordered(n *node) value {
	if len(n.args) < 2 {
		return boolOf(false)
	}
	a := e.run(&n.args[0])
	for i := range n.args[1:] {
		b := e.run(&n.args[i+1])
		low, high := a, b
		if n.op == opMore || n.op == opMoreOrEqual {
			low, high = b, a
		}
		if !e.less(low, high, n.op == opLessOrEqual || n.op == opMoreOrEqual) {
			return boolOf(false)
		}
		a = b
	}
	return boolOf(true)
}

// less compares two texts by their letters, anything else as numbers; NaN is beside every number.
func (e *evaluation) less(a, b value, orEqual bool) bool {
	a, b = e.primitive(a), e.primitive(b)
	if a.kind == kindText && b.kind == kindText {
		if !e.read(min(len(a.str()), len(b.str()))) {
			return false
		}
		order := strings.Compare(a.str(), b.str())
		return order < 0 || orEqual && order == 0
	}
	x, y := e.number(a), e.number(b)
	return x < y || orEqual && x == y
}

// primitive makes text of lists and objects.
func (e *evaluation) primitive(v value) value {
	if v.kind >= kindList {
		return textOf(e.text(v))
	}
	return v
}

// number is JavaScript's Number().
func (e *evaluation) number(v value) float64 {
	switch v = e.primitive(v); v.kind {
	case kindText:
		if !e.readNumber(len(v.str())) {
			return math.NaN()
		}
		return parseNumber(v.str())
	}
	return v.num
}

// readNumber takes steps for a text that is read as a number: each digit of up to 800 may be shifted twenty
// times.
func (e *evaluation) readNumber(length int) bool {
	e.steps -= min(length/8, maxSteps+1)
	return e.steps >= 0
}

// text is JavaScript's String(), except that null is empty.
func (e *evaluation) text(v value) string {
	if v.kind == kindText {
		return v.str()
	}
	return string(e.appendText(nil, v, 0))
}

// appendText writes lists as Array.prototype.join does, which both cat and comparisons use.
func (e *evaluation) appendText(out []byte, v value, depth int) []byte {
	switch v.kind {
	case kindBool:
		if v.num == 1 {
			return append(out, "true"...)
		}
		return append(out, "false"...)
	case kindNumber:
		if !e.spend(0) {
			return out
		}
		return appendNumber(out, v.num)
	case kindText:
		if !e.spend(len(v.str()) / 64) {
			return out
		}
		return append(out, v.str()...)
	case kindObject:
		return append(out, "[object Object]"...)
	case kindList:
		if depth == maxTextDepth {
			e.steps = -1
			return out
		}
		for i := range v.length() {
			if !e.spend(0) {
				break
			}
			if i > 0 {
				out = append(out, ',')
			}
			out = e.appendText(out, v.element(i), depth+1)
		}
	}
	return out
}
