package flags

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/tether-go/tether/internal/jsondoc"
)

// shared is an entry of $evaluators.
type shared struct {
	rule   node
	nodes  int
	broken string // why no flag can use it
	source *jsondoc.Value
	digest [sha256.Size]byte // of the source
}

// compiler compiles one rule.
type compiler struct {
	*loader
	nodes  int
	broken string // the first reason why the rule can't run
	inner  bool   // the rule is an evaluator
}

func (l *loader) compileEvaluators(v *jsondoc.Value, path string) {
	l.evaluators = make(map[string]*shared)
	if v == nil {
		return
	}
	if v.Kind != jsondoc.Object {
		l.refuse(v, path, "is "+v.Kind.String()+", not an object", "")
		return
	}
	l.once(v, path)
	for i := range v.Items {
		item := &v.Items[i]
		c := compiler{loader: l, inner: true}
		rule := c.rule(item, jsondoc.Join(path, item.Name))
		l.evaluators[item.Name] = &shared{rule, c.nodes, c.broken, item, l.digest(item)}
	}
}

func (l *loader) targeting(f *definition, v *jsondoc.Value, path string) {
	c := compiler{loader: l}
	f.targeted = true
	if v.Kind != jsondoc.Object {
		c.doubt(v, path, "is "+v.Kind.String()+", not an operation", `write such as {"if": [...]}`)
	}
	f.rule = c.rule(v, path)
	f.broken = c.broken
	if c.nodes <= maxNodes { // which bounds the work of this too
		c.results(f, v, path, false)
	}
}

// rule compiles a rule, unless it is too large.
func (c *compiler) rule(v *jsondoc.Value, path string) node {
	if v.Twice && c.lenient { // strict loading says so by itself
		c.breaks(v, path, "has a member twice", "keep one of them")
	}
	n := c.compile(v, path)
	if c.nodes > maxNodes {
		c.breaks(v, path, fmt.Sprintf("has %d nodes, more than %d", c.nodes, maxNodes), "")
	}
	return n
}

// breaks is for what makes the rule impossible to run.
func (c *compiler) breaks(v *jsondoc.Value, path, problem, hint string) {
	if c.broken == "" {
		c.broken = path + ": " + problem
	}
	c.doubt(v, path, problem, hint)
}

func (c *compiler) compile(v *jsondoc.Value, path string) node {
	if c.nodes++; c.nodes > maxNodes {
		return node{} // which is told of the whole
	}
	switch {
	case v.Kind == jsondoc.Array:
		n := node{op: opList, args: c.compileAll(v.Items, path)}
		n.priced()
		c.nodes -= c.fold(&n)
		return n
	case v.Kind != jsondoc.Object:
		return constantNode(literal(v))
	case len(v.Items) != 1:
		for i := range v.Items {
			if _, known := operator(v.Items[i].Name); known {
				c.doubt(v, path, fmt.Sprintf("has %d members", len(v.Items)),
					"an operation has exactly one; this object is only data")
				break
			}
		}
		return constantNode(literal(v))
	}
	member := &v.Items[0]
	at := jsondoc.Join(path, member.Name)
	if member.Name == "$ref" {
		return c.reference(member, at)
	}
	o, known := operator(member.Name)
	if !known {
		hint := "use one of flagd's"
		if near := jsondoc.Nearest(member.Name, operatorNames[opVar:]); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		c.breaks(v, at, "is not an operator", hint)
		return node{}
	}
	return c.operation(o, member, at)
}

func (c *compiler) compileAll(items []jsondoc.Value, path string) []node {
	nodes := make([]node, len(items))
	for i := range items {
		nodes[i] = c.element(&items[i], path, i)
	}
	return nodes
}

// element compiles the i-th element of the list at path. A constant needs no path: nothing is told of it.
func (c *compiler) element(v *jsondoc.Value, path string, i int) node {
	if v.Kind == jsondoc.Array || v.Kind == jsondoc.Object {
		path = jsondoc.Index(path, i)
	}
	return c.compile(v, path)
}

// arguments of {"op": x} are those of {"op": [x]}.
func arguments(v *jsondoc.Value) []jsondoc.Value {
	if v.Kind == jsondoc.Array {
		return v.Items
	}
	return []jsondoc.Value{*v}
}

func (c *compiler) operation(o op, v *jsondoc.Value, path string) node {
	if o == opFractional {
		n := node{op: o, fractional: c.fractional(arguments(v), v, path)}
		n.priced()
		return n
	}
	n := node{op: o, args: c.compileAll(arguments(v), path),
		spread: v.Kind == jsondoc.Object && o.spreads()}
	switch o {
	case opVar:
		n.compilePath()
	case opIn:
		n.compileSet()
	}
	n.priced()
	c.check(&n, v, path)
	c.fold(&n)
	return n
}

const foldSteps = 64

// fold replaces an operation whose arguments are constant by its result, and tells how many nodes
// it had below.
func (c *compiler) fold(n *node) int {
	if !n.op.constant() {
		return 0
	}
	for i := range n.args {
		if n.args[i].op != opConst {
			return 0
		}
	}
	// A few steps are enough for what people write, and keep a document small once it is compiled.
	e := evaluation{steps: foldSteps + len(n.args)/8}
	result := e.run(n)
	if e.exhausted() {
		return 0
	}
	below := len(n.args)
	*n = constantNode(result)
	return below
}

// compilePath splits a constant path once.
func (n *node) compilePath() {
	if len(n.args) == 0 {
		return
	}
	if n.args[0].op != opConst {
		n.dynamic = true
		return
	}
	e := evaluation{steps: maxSteps}
	if path := e.text(n.args[0].constant); path != "" {
		n.path = strings.Split(path, ".")
	}
}

// compileSet makes a set of a list that is long enough for it.
func (n *node) compileSet() {
	const long = 8 // below, going through the list is as fast
	if len(n.args) < 2 || n.args[1].op != opConst || n.args[1].constant.length() < long {
		return
	}
	list := n.args[1].constant
	set := make(map[string]struct{}, list.length())
	for i := range list.length() {
		element := list.element(i)
		if element.kind != kindText {
			return
		}
		set[element.str()] = struct{}{}
	}
	n.set = set
}

// reference compiles a $ref to the rule that it names.
func (c *compiler) reference(name *jsondoc.Value, path string) node {
	target := c.evaluators[name.Text]
	switch {
	case c.inner:
		c.breaks(name, path, "is within $evaluators", "write the rule out")
	case name.Kind != jsondoc.String:
		c.breaks(name, path, "is "+name.Kind.String()+", not the name of an evaluator", "")
	case target == nil:
		c.breaks(name, path, jsondoc.Quote(name.Text)+" is not in $evaluators", "")
	default:
		if c.broken == "" {
			c.broken = target.broken
		}
		c.nodes += target.nodes
		return target.rule
	}
	return node{}
}

func (c *compiler) fractional(args []jsondoc.Value, v *jsondoc.Value, path string) *fractional {
	f := &fractional{}
	first := 0
	if len(args) > 0 && args[0].Kind != jsondoc.Array {
		if args[0].Kind != jsondoc.Object {
			c.doubt(&args[0], jsondoc.Index(path, 0), "is the same seed for everybody",
				`write such as {"var": "email"}, or leave it out`)
		}
		seed := c.element(&args[0], path, 0)
		f.seed, first = &seed, 1
	}
	malformed := len(args) == first
	if malformed {
		c.doubt(v, path, "has no buckets", `write such as ["on", 10]`)
	}
	for i := first; i < len(args); i++ {
		arg, at := &args[i], jsondoc.Index(path, i)
		if arg.Kind != jsondoc.Array || len(arg.Items) == 0 {
			c.doubt(arg, at, "is not a bucket", `write such as ["on", 10]`)
			malformed = true
			continue
		}
		if len(arg.Items) > 2 { // flagd reads the first two
			c.doubt(arg, at, fmt.Sprintf("has %d values, not 2", len(arg.Items)), `write such as ["on", 10]`)
		}
		b := bucket{variant: c.element(&arg.Items[0], at, 0)}
		if len(arg.Items) >= 2 {
			b.weight = c.element(&arg.Items[1], at, 1)
			c.checkWeight(&b.weight, &arg.Items[1], at)
		}
		f.buckets = append(f.buckets, b)
	}
	f.sum()
	if !malformed && f.never {
		c.doubt(v, path, "has weights that sum to 0 or to more than 2147483647, or are no weights",
			"it is always null so")
	}
	f.never = f.never || malformed
	return f
}

// digest is what all of a value hashes to.
func (l *loader) digest(v *jsondoc.Value) (sum [sha256.Size]byte) {
	digest := sha256.New()
	l.fingerprint(digest, v, true)
	digest.Sum(sum[:0])
	return sum
}

// fingerprint feeds a definition, with the evaluators that it refers to, so that a change of
// either shows. Evaluators have no references of their own.
func (l *loader) fingerprint(digest hash.Hash, v *jsondoc.Value, inner bool) {
	l.scratch = strconv.AppendInt(append(l.scratch[:0], '0'+byte(v.Kind), ' '), int64(len(v.Name)), 10)
	l.scratch = append(append(l.scratch, ':'), v.Name...)
	l.scratch = strconv.AppendInt(append(l.scratch, ' '), int64(len(v.Text)), 10)
	l.scratch = strconv.AppendInt(append(append(append(l.scratch, ':'), v.Text...), ' '), int64(len(v.Items)), 10)
	digest.Write(append(l.scratch, ' '))
	if v.Name == "$ref" && !inner {
		if target := l.evaluators[v.Text]; target != nil {
			digest.Write(target.digest[:])
		}
	}
	for i := range v.Items {
		l.fingerprint(digest, &v.Items[i], inner)
	}
}
