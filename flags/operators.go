package flags

type op uint8

const (
	opConst op = iota // not an operator: a value
	opList            // not an operator: the values of its arguments
	opVar
	opMissing
	opMissingSome
	opIf
	opEqual
	opSame
	opNotEqual
	opNotSame
	opMore
	opMoreOrEqual
	opLess
	opLessOrEqual
	opNot
	opTruthy
	opOr
	opAnd
	opPlus
	opMinus
	opTimes
	opDivide
	opModulo
	opMax
	opMin
	opMap
	opFilter
	opReduce
	opAll
	opNone
	opSome
	opMerge
	opIn
	opCat
	opSubstr
	opFractional
	opSemVer
	opStartsWith
	opEndsWith
	opCount
)

// operatorNames are flagd's, from opVar on. There are no others, and none can be added: what a
// document means must not depend on the program that reads it.
var operatorNames = [opCount]string{
	opVar: "var", opMissing: "missing", opMissingSome: "missing_some", opIf: "if",
	opEqual: "==", opSame: "===", opNotEqual: "!=", opNotSame: "!==",
	opMore: ">", opMoreOrEqual: ">=", opLess: "<", opLessOrEqual: "<=",
	opNot: "!", opTruthy: "!!", opOr: "or", opAnd: "and",
	opPlus: "+", opMinus: "-", opTimes: "*", opDivide: "/", opModulo: "%", opMax: "max", opMin: "min",
	opMap: "map", opFilter: "filter", opReduce: "reduce", opAll: "all", opNone: "none", opSome: "some",
	opMerge: "merge", opIn: "in", opCat: "cat", opSubstr: "substr",
	opFractional: "fractional", opSemVer: "sem_ver",
	opStartsWith: "starts_with", opEndsWith: "ends_with",
}

func operator(name string) (op, bool) {
	if name == "?:" {
		return opIf, true
	}
	for o := opVar; o < opCount; o++ {
		if operatorNames[o] == name {
			return o, true
		}
	}
	return 0, false
}

// exactly returns how many arguments the operators take that give null for any other number; 0 for
// the rest.
func (o op) exactly() int {
	switch o {
	case opStartsWith, opEndsWith:
		return 2
	case opSemVer:
		return 3
	}
	return 0
}

// spreads tells whether a list that the operator's one argument gives is its arguments.
func (o op) spreads() bool {
	switch o {
	case opPlus, opMinus, opTimes, opDivide, opModulo, opMax, opMin, opCat:
		return true
	}
	return false
}

// constant tells whether the operator gives the same for the same arguments, wherever it stands.
// Those that go through lists do, too, but are left for the evaluation, which bounds their work.
func (o op) constant() bool {
	switch o {
	case opConst, opVar, opMissing, opMissingSome, opFractional,
		opMap, opFilter, opReduce, opAll, opNone, opSome:
		return false
	}
	return true
}

// node is one operator with its arguments, compiled.
type node struct {
	op         op
	cost       int // in steps, of running it without its arguments; 0 for opConst
	args       []node
	spread     bool                // what args[0] gives is the arguments; see operands
	constant   value               // of opConst
	path       []string            // of opVar whose path is constant; empty is everything
	dynamic    bool                // the path of opVar is args[0], not constant
	set        map[string]struct{} // of opIn, where the list is long and constant
	fractional *fractional
}

// priced sets the cost, once all else is compiled.
func (n *node) priced() {
	n.cost = 1 + len(n.args)/8
	if n.op == opList || n.op == opMerge { // which keep what their arguments give
		n.cost = 1 + len(n.args)/2
	}
	if n.fractional != nil {
		n.cost += len(n.fractional.buckets) / 8
	}
	if n.op == opVar && len(n.path) > 0 {
		bytes := 0
		for _, name := range n.path {
			bytes += len(name)
		}
		n.cost += len(n.path) - 1 + bytes/64
	}
}

func constantNode(v value) node { return node{constant: v} }
