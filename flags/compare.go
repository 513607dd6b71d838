package flags

import (
	"math"
	"strings"
)

func (e *evaluation) equality(n *node) value {
	a, b := e.arg(n, 0), e.arg(n, 1)
	switch n.op {
	case opEqual:
		return boolOf(e.equal(a, b))
	case opNotEqual:
		return boolOf(!e.equal(a, b))
	case opSame:
		return boolOf(e.same(a, b))
	}
	return boolOf(!e.same(a, b))
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

// ordered is the four comparisons; with a third argument < and <= tell whether the second is between.
func (e *evaluation) ordered(n *node) value {
	if len(n.args) < 2 {
		return boolOf(false)
	}
	a, b := e.run(&n.args[0]), e.run(&n.args[1])
	switch n.op {
	case opMore:
		return boolOf(e.less(b, a, false))
	case opMoreOrEqual:
		return boolOf(e.less(b, a, true))
	}
	orEqual := n.op == opLessOrEqual
	if !e.less(a, b, orEqual) {
		return boolOf(false)
	}
	return boolOf(len(n.args) < 3 || e.less(b, e.run(&n.args[2]), orEqual))
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
		if !e.read(len(v.str())) {
			return math.NaN()
		}
		return parseNumber(v.str())
	}
	return v.num
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

// accumulate adds or multiplies what parseFloat makes of its arguments, as JSONLogic does: so {"+":
// "3.14"} is how a rule reads a number.
func (e *evaluation) accumulate(n *node) value {
	if n.op == opTimes && len(n.args) == 0 {
		return value{}
	}
	result := 0.0
	if n.op == opTimes {
		result = 1
	}
	for i := range n.args {
		f := e.parsed(e.run(&n.args[i]))
		if n.op == opTimes {
			result *= f
		} else {
			result += f
		}
	}
	return numberOf(result)
}

// parsed is JavaScript's parseFloat.
func (e *evaluation) parsed(v value) float64 {
	switch v.kind {
	case kindNumber:
		return v.num
	case kindNull, kindBool, kindObject:
		return math.NaN()
	}
	text := e.text(v)
	if !e.read(len(text)) {
		return math.NaN()
	}
	f, _ := decimalPrefix(strings.TrimSpace(text))
	return f
}

func (e *evaluation) arithmetic(n *node) value {
	if len(n.args) == 0 || len(n.args) == 1 && n.op != opMinus {
		return numberOf(math.NaN())
	}
	a := e.number(e.run(&n.args[0]))
	if len(n.args) == 1 {
		return numberOf(-a)
	}
	b := e.number(e.run(&n.args[1]))
	switch n.op {
	case opMinus:
		return numberOf(a - b)
	case opDivide:
		return numberOf(a / b)
	}
	return numberOf(math.Mod(a, b))
}

func (e *evaluation) extreme(n *node) value {
	if len(n.args) == 0 {
		return value{}
	}
	result := e.number(e.run(&n.args[0]))
	for i := range n.args[1:] {
		f := e.number(e.run(&n.args[i+1]))
		if n.op == opMax {
			result = math.Max(result, f)
		} else {
			result = math.Min(result, f)
		}
	}
	return numberOf(result)
}
