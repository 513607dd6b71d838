package flags

import (
	"math"
	"strings"
)

// operands are what arithmetic and cat work on. Of {"max": {"var": "prices"}}, whose argument isn't written
// as a list but gives one, they are the elements of that list, as in flagd and in JSONLogic's compatibility
// tables.
type operands struct {
	n     *node // nil: made has them
	made  value // a list of them, or the only one
	count int
}

func (e *evaluation) operands(n *node) operands {
	if !n.spread {
		return operands{n: n, count: len(n.args)}
	}
	made := e.run(&n.args[0])
	switch {
	case made.kind != kindList:
		return operands{made: made, count: 1}
	case !e.spend(made.length()):
		return operands{}
	}
	return operands{made: made, count: made.length()}
}

func (e *evaluation) operand(o *operands, i int) value {
	switch {
	case o.n != nil:
		return e.run(&o.n.args[i])
	case o.made.kind == kindList:
		return o.made.element(i)
	}
	return o.made
}

// accumulate adds or multiplies.
func (e *evaluation) accumulate(n *node) value {
	o := e.operands(n)
	result := 0.0
	if n.op == opTimes {
		result = 1
	}
	for i := range o.count {
		f := e.parsed(e.operand(&o, i))
		if n.op == opTimes {
			result *= f
		} else {
			result += f
		}
	}
	return numberOf(result)
}

// parsed is JavaScript's parseFloat for texts, as JSONLogic has it for + and *: so {"+": "3.14"} is how a
// rule reads a number. Of the empty text, null and booleans parseFloat makes NaN: they are the numbers here that
// they are for - and /.
func (e *evaluation) parsed(v value) float64 {
	switch v.kind {
	case kindNull, kindBool, kindNumber:
		return v.num
	case kindObject:
		return math.NaN()
	}
	text := e.text(v)
	if !e.readNumber(len(text)) {
		return math.NaN()
	}
	if text = strings.TrimSpace(text); text == "" && v.kind == kindText {
		return 0
	}
	f, _ := decimalPrefix(text)
	return f
}

// arithmetic goes from left to right; of a single number - gives the negative and / the inverse.
func (e *evaluation) arithmetic(n *node) value {
	o := e.operands(n)
	if o.count == 0 || o.count == 1 && n.op == opModulo {
		return numberOf(math.NaN())
	}
	result := e.number(e.operand(&o, 0))
	if o.count == 1 && n.op == opMinus {
		return numberOf(-result)
	}
	if o.count == 1 {
		return numberOf(1 / result)
	}
	for i := 1; i < o.count; i++ {
		f := e.number(e.operand(&o, i))
		switch n.op {
		case opMinus:
			result -= f
		case opDivide:
			result /= f
		default:
			result = math.Mod(result, f)
		}
	}
	return numberOf(result)
}

func (e *evaluation) extreme(n *node) value {
	o := e.operands(n)
	if o.count == 0 {
		return value{}
	}
	result := e.number(e.operand(&o, 0))
	for i := 1; i < o.count; i++ {
		f := e.number(e.operand(&o, i))
		if n.op == opMax {
			result = math.Max(result, f)
		} else {
			result = math.Min(result, f)
		}
	}
	return numberOf(result)
}
