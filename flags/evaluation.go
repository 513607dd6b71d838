package flags

import (
	"strings"
	"time"
)

// maxSteps bounds one evaluation. A step stands for 10 to 500 ns of work:
//   - an operator costs one each time it is run, and one more for every eight arguments or buckets,
//     or every two that it puts into a list;
//   - an element of a list, a member of an object and a name in a path after the first cost one each;
//   - a text costs one for every 64 bytes made, compared, searched, hashed or split, and one for every
//     8 bytes read as a number;
//   - a search for more than 64 bytes costs as much again for every 64 of them, as Go's search may compare
//     all of them at every place;
//   - a map that var makes costs mapSteps.
//
// TestEveryOperatorIsCharged holds every operator to it.
const maxSteps = 20_000

// mapSteps is the charge for a small map of the evaluation's own, which takes as long as so many operators.
const mapSteps = 8

// maxTextDepth bounds how deep lists within lists are written as text: one may contain itself.
const maxTextDepth = 16

// evaluation is one run of a rule. It lives on the stack of whoever asks.
type evaluation struct {
	flag       *definition
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

// read takes steps for so many bytes of a text.
func (e *evaluation) read(length int) bool {
	e.steps -= min(length/64, maxSteps+1)
	return e.steps >= 0
}

func (e *evaluation) exhausted() bool { return e.steps < 0 }

// run is a switch over all operators rather than a table of functions or closures: only so does the
// compiler see that the evaluation stays on the stack. Constants and attributes, which are most of a rule,
// are answered before the switch, and it holds nothing but calls: its frame is cleared for every node.
func (e *evaluation) run(n *node) value {
	if n.op == opConst {
		return n.constant
	}
	if e.steps -= n.cost; e.steps < 0 {
		return value{}
	}
	switch n.op {
	case opVar:
		return e.variable(n)
	case opList:
		return e.list(n)
	case opMissing, opMissingSome:
		return e.missing(n)
	case opIf:
		return e.branch(n)
	case opEqual, opNotEqual, opSame, opNotSame:
		return e.equality(n)
	case opMore, opMoreOrEqual, opLess, opLessOrEqual:
		return e.ordered(n)
	case opNot, opTruthy:
		return e.truth(n)
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
		return e.quantify(n)
	case opMerge:
		return e.merge(n)
	case opIn:
		return e.in(n)
	case opCat:
		return e.cat(n)
	case opSubstr:
		return e.substr(n)
	case opFractional:
		return e.fractional(n.fractional)
	case opSemVer:
		return e.semVer(n)
	}
	return e.affix(n) // the two that are left
}

// arg is null for an argument that isn't there.
func (e *evaluation) arg(n *node, i int) value {
	if i >= len(n.args) {
		return value{}
	}
	return e.run(&n.args[i])
}

// list runs every argument.
func (e *evaluation) list(n *node) value {
	values := make([]value, 0, len(n.args))
	for i := range n.args {
		values = append(values, e.run(&n.args[i]))
	}
	return listOf(values)
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
	if !e.read(len(path)) || !e.spend(strings.Count(path, ".")) {
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
			if !e.spend(mapSteps) {
				return value{}
			}
			return value{kind: kindObject, ref: e.flagd()}
		}
		switch path[1] {
		case "flagKey":
			v = e.flag.keyText
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
		if !e.spend(mapSteps) {
			return value{}
		}
		return value{kind: kindObject,
			ref: map[string]any{"current": e.scope.current, "accumulator": e.scope.accumulator}}
	}
	if !e.spend(len(e.attributes) + 2*mapSteps) {
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
	return map[string]any{"flagKey": e.flag.key, "timestamp": e.timestamp()}
}

// timestamp is read once, and only where a rule asks for it: the clock costs more than most rules.
func (e *evaluation) timestamp() int64 {
	if e.now == 0 {
		e.now = time.Now().Unix()
	}
	return e.now
}

// missing gives those of the keys that are null or empty. The keys are the arguments, or the list
// that is the first of them; of missing_some the list is the second, and enough of them make it empty.
func (e *evaluation) missing(n *node) value {
	var keys value
	if n.op == opMissingSome {
		keys = e.arg(n, 1)
	} else if keys = e.arg(n, 0); keys.kind != kindList {
		keys = e.list(n)
	}
	missing := []value{}
	for i := range keys.length() {
		if !e.spend(0) {
			break
		}
		key := keys.element(i)
		found := e.lookUp(e.text(key))
		if found.kind == kindNull || found.kind == kindText && found.str() == "" {
			missing = append(missing, key)
		}
	}
	if n.op == opMissingSome && float64(keys.length()-len(missing)) >= e.number(e.arg(n, 0)) {
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

// decide gives the operand that decided; false without any.
func (e *evaluation) decide(n *node) value {
	v := boolOf(false)
	for i := range n.args {
		if v = e.run(&n.args[i]); v.truthy() == (n.op == opOr) {
			break
		}
	}
	return v
}

func (e *evaluation) truth(n *node) value {
	return boolOf(e.arg(n, 0).truthy() == (n.op == opTruthy))
}
