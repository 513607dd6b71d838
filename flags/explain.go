package flags

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Step is one part of a rule that was evaluated.
type Step struct {
	// Depth is how deep the part stands in the rule; the rule itself is at 0, what a step was made of
	// follows it one deeper.
	Depth int
	// What is the operator and what there is to tell of it, such as "var country"; "constant" for what the
	// document gives, or what loading could compute already.
	What string
	// Result is what it gave, much as JSON, cut short at about 200 bytes; empty for the buckets of a rollout.
	Result string
}

// Explanation is an evaluation, part by part. Unlike errors it has values of the attributes in it.
type Explanation struct {
	// Details has the variant's value, of whatever type; nil for the caller's default.
	Details Details[any]
	// Steps are those parts of the rule that decided, at most 1,000: the branch that was taken, not the
	// others; for operators that go through lists the list, not each element.
	Steps []Step
}

const maxExplained = 1000

// maxExplainedSteps bounds the work of an explanation to so many evaluations.
const maxExplainedSteps = 100 * maxSteps

// Explain evaluates a flag and tells how the value came about. It is for people: it takes some hundred
// times as long as an evaluation.
func (s *Set) Explain(attributes Attributes, key string) Explanation {
	r := s.decide(attributes, key)
	x := Explanation{Details: details(r, nil, func(v value) (any, bool) { return v.plain(), true })}
	if r.flag != nil && r.flag.targeted && r.flag.enabled && r.flag.broken == "" {
		w := explainer{flag: r.flag, attributes: attributes, bucketing: s.bucketing, now: time.Now().Unix(),
			left: maxExplainedSteps}
		w.node(&r.flag.rule, 0)
		x.Steps = w.steps
	}
	return x
}

// plain is a variant's value as a caller gets it.
func (v value) plain() any {
	switch v.kind {
	case kindBool:
		return v.num == 1
	case kindNumber:
		return v.num
	}
	return copied(v.ref)
}

// explainer evaluates each part again by itself, so that evaluation has nothing to do with explaining.
type explainer struct {
	flag       *definition
	attributes Attributes
	bucketing  int
	now        int64
	steps      []Step
	left       int         // steps of evaluation, for the parts that follow
	last       *evaluation // which has not been taken off yet; nil at first
	given      int         // the steps that it had
}

// evaluation is a new one for a part, with a share of the steps that are left.
func (x *explainer) evaluation() *evaluation {
	if x.last != nil {
		x.left -= x.given - x.last.steps
	}
	x.given = max(min(maxSteps, x.left), 0)
	x.last = &evaluation{flag: x.flag, attributes: x.attributes, steps: x.given, now: x.now, bucketing: x.bucketing}
	return x.last
}

func (x *explainer) add(depth int, what, result string) {
	if len(x.steps) < maxExplained {
		x.steps = append(x.steps, Step{depth, what, result})
	}
}

// node tells of a part, and of those of its own parts that were run.
func (x *explainer) node(n *node, depth int) value {
	e := x.evaluation()
	result := e.run(n)
	text := string(result.appendShown(nil, 0))
	if e.exhausted() {
		result, text = value{}, "null: it needs too many steps"
	}
	x.add(depth, n.what(), text)
	if len(x.steps) >= maxExplained {
		return result
	}
	switch n.op {
	case opConst:
	case opIf:
		x.branch(n, depth+1)
	case opAnd, opOr:
		for i := range n.args {
			if x.node(&n.args[i], depth+1).truthy() == (n.op == opOr) {
				break
			}
		}
	case opFractional:
		x.fractional(n.fractional, depth+1)
	case opMap, opFilter, opReduce, opAll, opNone, opSome:
		x.all(n.args[:min(1, len(n.args))], depth+1)
	case opVar:
		if n.dynamic {
			x.all(n.args[:1], depth+1)
		}
	default:
		x.all(n.args, depth+1)
	}
	return result
}

func (x *explainer) all(nodes []node, depth int) {
	for i := range nodes {
		x.node(&nodes[i], depth)
	}
}

func (x *explainer) branch(n *node, depth int) {
	i := 0
	for ; i+1 < len(n.args); i += 2 {
		if x.node(&n.args[i], depth).truthy() {
			x.node(&n.args[i+1], depth)
			return
		}
	}
	if i < len(n.args) {
		x.node(&n.args[i], depth)
	}
}

// fractional tells of the hash, its place on the line, and which places each variant has.
func (x *explainer) fractional(f *fractional, depth int) {
	of := "the flag's key and targetingKey"
	if f.seed != nil && x.node(f.seed, depth).kind != kindNull {
		of = "the seed"
	}
	hash, ok := x.evaluation().hash(f)
	if !ok || f.never {
		x.add(depth, "nothing to hash, or no weights: null", "")
		return
	}
	var upTo []uint64
	total := uint64(0)
	for i := range f.buckets {
		weight, ok := weightOf(x.evaluation().run(&f.buckets[i].weight))
		if total += weight; !ok || total > maxWeight {
			x.add(depth, fmt.Sprintf("weight %d is none: null", i), "")
			return
		}
		upTo = append(upTo, total)
	}
	place := uint64(hash) * total >> 32
	x.add(depth, fmt.Sprintf("bucketing %d hashes %s to %d of 4294967296, place %d of %d",
		x.bucketing, of, hash, place, total), "")
	from, chosen := uint64(0), false
	for i := range f.buckets {
		what := fmt.Sprintf("places %d to below %d", from, upTo[i])
		result := string(x.evaluation().run(&f.buckets[i].variant).appendShown(nil, 0))
		if !chosen && place < upTo[i] {
			chosen = true
			what += ", chosen"
		}
		x.add(depth, what, result)
		from = upTo[i]
	}
}

// what names a part.
func (n *node) what() string {
	switch {
	case n.op == opConst:
		return "constant"
	case n.op == opList:
		return "list"
	case n.op == opVar && !n.dynamic:
		name := "var"
		for i, part := range n.path {
			name += map[bool]string{true: " ", false: "."}[i == 0] + part
		}
		return name
	}
	return operatorNames[n.op]
}

const (
	maxShown      = 200 // bytes of a result
	maxShownDepth = 4
	// maxShownMembers is how large an object may be whose members are sorted: more wouldn't be shown.
	maxShownMembers = 100
)

// appendShown writes a value much as JSON, for people, cut short where it is long or deep. None of the caller's methods is
// called.
func (v value) appendShown(out []byte, depth int) []byte {
	if depth > maxShownDepth || len(out) > maxShown {
		return append(out, "…"...)
	}
	switch v.kind {
	case kindBool:
		return strconv.AppendBool(out, v.num == 1)
	case kindNumber:
		return appendNumber(out, v.num)
	case kindText:
		text := v.str()
		if len(text) > maxShown {
			text = text[:maxShown] + "…"
		}
		return strconv.AppendQuote(out, text)
	case kindList:
		out = append(out, '[')
		for i := range v.length() {
			if i > 0 {
				out = append(out, ", "...)
			}
			if out = v.element(i).appendShown(out, depth+1); len(out) > maxShown {
				break
			}
		}
		return append(out, ']')
	case kindObject:
		if n := reflect.ValueOf(v.ref).Len(); n > maxShownMembers {
			return fmt.Appendf(out, "{… %d members …}", n)
		}
		var names []string
		for _, name := range reflect.ValueOf(v.ref).MapKeys() {
			names = append(names, name.String())
		}
		slices.Sort(names)
		out = append(out, '{')
		for i, name := range names {
			if i > 0 {
				out = append(out, ", "...)
			}
			out = append(strconv.AppendQuote(out, name), ": "...)
			if out = v.member(name).appendShown(out, depth+1); len(out) > maxShown {
				break
			}
		}
		return append(out, '}')
	}
	return append(out, "null"...)
}
