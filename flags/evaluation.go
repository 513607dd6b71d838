package flags

import (
	"strings"
	"time"
)

// maxSteps bounds one evaluation to about a millisecond. Each node costs a step each time it is run,
// each 64 bytes of text made or searched and each element copied another.
const maxSteps = 20_000

// maxTextDepth bounds how deep lists within lists are written as text: one may contain itself.
const maxTextDepth = 16

// longText is a text whose comparison costs more than the step it is part of.
const longText = 1024

// evaluation is one run of a rule. It lives on the stack of whoever asks.
type evaluation struct {
	flagKey    string
	attributes Attributes
	scope      scope
	steps      int   // left
	now        int64 // Unix seconds; 0: not asked for yet
	bucketing  int
}

// scope is what var looks into.
type scope struct {
	kind        scopeKind
	current     value
	accumulator value // of inReduce
}

type scopeKind uint8

const (
	inContext scopeKind = iota // the attributes and $flagd
	inElement                  // current, within map, filter, all, none and some
	inReduce                   // current and accumulator
)

// spend takes steps for work on so many bytes or elements.
func (e *evaluation) spend(steps int) bool {
	e.steps -= min(steps, maxSteps) + 1
	return e.steps >= 0
}

func (e *evaluation) exhausted() bool { return e.steps < 0 }

// run is a switch over all operators rather than a table of functions or closures: only so does the
// compiler see that the evaluation stays on the stack.
func (e *evaluation) run(n *node) value {
	if n.op == opConst {
		return n.constant
	}
	if e.steps--; e.steps < 0 {
		return value{}
	}
	switch n.op {
	case opList:
		return listOf(e.all(n))
	case opVar:
		return e.variable(n)
	case opMissing:
		return listOf(e.missing(e.keys(n)))
	case opMissingSome:
		return e.missingSome(n)
	case opIf:
		return e.branch(n)
	case opEqual:
		return boolOf(e.equal(e.arg(n, 0), e.arg(n, 1)))
	case opSame:
		return boolOf(e.same(e.arg(n, 0), e.arg(n, 1)))
	case opNotEqual:
		return boolOf(!e.equal(e.arg(n, 0), e.arg(n, 1)))
	case opNotSame:
		return boolOf(!e.same(e.arg(n, 0), e.arg(n, 1)))
	case opMore, opMoreOrEqual, opLess, opLessOrEqual:
		return boolOf(e.ordered(n))
	case opNot:
		return boolOf(!e.arg(n, 0).truthy())
	case opTruthy:
		return boolOf(e.arg(n, 0).truthy())
	case opOr, opAnd:
		return e.decide(n)
	case opPlus, opTimes:
		return e.accumulate(n)
	case opMinus, opDivide, opModulo:
		return e.arithmetic(n)
	case opMax, opMin:
		return e.extreme(n)
	case opMap, opFilter:
		return e.each(n)
	case opReduce:
		return e.reduce(n)
	case opAll, opNone, opSome:
		return boolOf(e.quantify(n))
	case opMerge:
		return e.merge(n)
	case opIn:
		return boolOf(e.in(n))
	case opCat:
		return e.cat(n)
	case opSubstr:
		return e.substr(n)
	case opFractional:
		return e.fractional(n.fractional)
	case opSemVer:
		return e.semVer(n)
	case opStartsWith, opEndsWith:
		return e.affix(n)
	}
	return value{}
}

// arg is null for an argument that isn't there.
func (e *evaluation) arg(n *node, i int) value {
	if i >= len(n.args) {
		return value{}
	}
	return e.run(&n.args[i])
}

// all runs every argument.
func (e *evaluation) all(n *node) []value {
	values := make([]value, 0, len(n.args))
	for i := range n.args {
		values = append(values, e.run(&n.args[i]))
	}
	return values
}

func (e *evaluation) variable(n *node) value {
	var found value
	if n.dynamic {
		found = e.lookUp(e.text(e.run(&n.args[0])))
	} else {
		found = e.scoped(n.path)
	}
	if found.kind == kindNull && len(n.args) > 1 {
		return e.run(&n.args[1])
	}
	return found
}

func (e *evaluation) lookUp(path string) value {
	if path == "" {
		return e.scoped(nil)
	}
	if !e.spend(len(path) / 8) {
		return value{}
	}
	return e.scoped(strings.Split(path, "."))
}

// scoped follows a path from what var looks into.
func (e *evaluation) scoped(path []string) value {
	if len(path) == 0 {
		return e.everything()
	}
	var v value
	switch e.scope.kind {
	case inContext:
		if path[0] != "$flagd" {
			v = toValue(e.attributes[path[0]])
			break
		}
		if len(path) == 1 {
			return value{kind: kindObject, ref: e.flagd()}
		}
		switch path[1] {
		case "flagKey":
			v = textOf(e.flagKey)
		case "timestamp":
			v = numberOf(float64(e.timestamp()))
		}
		path = path[1:]
	case inElement:
		v = e.scope.current.member(path[0])
	case inReduce:
		switch path[0] {
		case "current":
			v = e.scope.current
		case "accumulator":
			v = e.scope.accumulator
		}
	}
	for _, name := range path[1:] {
		v = v.member(name)
	}
	return v
}

// everything is what {"var": ""} gives.
func (e *evaluation) everything() value {
	switch e.scope.kind {
	case inElement:
		return e.scope.current
	case inReduce:
		return value{kind: kindObject,
			ref: map[string]any{"current": e.scope.current, "accumulator": e.scope.accumulator}}
	}
	if !e.spend(len(e.attributes)) {
		return value{}
	}
	whole := make(map[string]any, len(e.attributes)+1)
	for name, v := range e.attributes {
		whole[name] = v
	}
	whole["$flagd"] = e.flagd()
	return value{kind: kindObject, ref: whole}
}

func (e *evaluation) flagd() map[string]any {
	return map[string]any{"flagKey": e.flagKey, "timestamp": e.timestamp()}
}

// timestamp is read once, and only where a rule asks for it: the clock costs more than most rules.
func (e *evaluation) timestamp() int64 {
	if e.now == 0 {
		e.now = time.Now().Unix()
	}
	return e.now
}

// keys are the names that missing looks for: its arguments, or the list that is the first of them.
func (e *evaluation) keys(n *node) value {
	if first := e.arg(n, 0); first.kind == kindList {
		return first
	}
	return listOf(e.all(n))
}

func (e *evaluation) missing(keys value) []value {
	missing := []value{}
	for i := range keys.length() {
		if !e.spend(0) {
			break
		}
		key := keys.element(i)
		found := e.lookUp(e.text(key))
		if found.kind == kindNull || found.kind == kindText && found.str == "" {
			missing = append(missing, key)
		}
	}
	return missing
}

func (e *evaluation) missingSome(n *node) value {
	need, keys := e.number(e.arg(n, 0)), e.arg(n, 1)
	missing := e.missing(keys)
	if float64(keys.length()-len(missing)) >= need {
		missing = missing[:0]
	}
	return listOf(missing)
}

// branch takes any number of conditions and values, and perhaps a last value for none of them.
func (e *evaluation) branch(n *node) value {
	i := 0
	for ; i+1 < len(n.args); i += 2 {
		if e.run(&n.args[i]).truthy() {
			return e.run(&n.args[i+1])
		}
	}
	return e.arg(n, i)
}

// decide gives the operand that decided.
func (e *evaluation) decide(n *node) (v value) {
	for i := range n.args {
		if v = e.run(&n.args[i]); v.truthy() == (n.op == opOr) {
			break
		}
	}
	return v
}
