package flags

import (
	"fmt"

	"github.com/tether-go/tether/internal/jsondoc"
)

// check looks at the constants of an operation for what can't be meant: flagd's schema refuses it, too.
func (c *compiler) check(n *node, v *jsondoc.Value, path string) {
	if want := n.op.exactly(); want > 0 && len(n.args) != want {
		c.doubt(v, path, fmt.Sprintf("has %d arguments, not %d", len(n.args), want), "it is always null so")
		return
	}
	switch n.op {
	case opVar:
		if len(n.path) > 1 && n.path[0] == "$flagd" &&
			(len(n.path) > 2 || n.path[1] != "flagKey" && n.path[1] != "timestamp") {
			c.doubt(v, path, "names nothing", "$flagd has flagKey and timestamp")
		}
	case opSemVer:
		c.checkSemVer(n, v, path)
	case opStartsWith, opEndsWith:
		for i := range n.args {
			if n.args[i].op == opConst && n.args[i].constant.kind != kindText {
				c.doubt(v, jsondoc.Index(path, i), "is not a text", "it is always null so")
			}
		}
	}
}

func (c *compiler) checkSemVer(n *node, v *jsondoc.Value, path string) {
	e := evaluation{steps: maxSteps}
	if target := &n.args[2]; target.op == opConst {
		if _, ok := e.version(target.constant); !ok {
			c.doubt(v, jsondoc.Index(path, 2), "is not a version", `write such as "1.2.3"`)
		}
	}
	if compare := &n.args[1]; compare.op == opConst {
		if _, ok := (version{}).matches(compare.constant.str(), version{}); !ok {
			c.doubt(v, jsondoc.Index(path, 1), "compares nothing", "use one of = != < <= > >= ^ ~")
		}
	}
}

// checkWeight looks at the weight of the bucket at path.
func (c *compiler) checkWeight(n *node, v *jsondoc.Value, path string) {
	if n.op != opConst {
		return
	}
	if _, ok := weightOf(n.constant); !ok || n.constant.num < 0 {
		c.doubt(v, jsondoc.Index(path, 1), "is not a whole number from 0 to 2147483647", "scale the weights")
	}
}

// results looks for constants among what the rule may give that name no variant: the users whom they
// are for would get an error instead of a variant.
func (c *compiler) results(f *definition, v *jsondoc.Value, path string, inner bool) {
	switch v.Kind {
	case jsondoc.String, jsondoc.Bool, jsondoc.Number:
		e := evaluation{steps: maxSteps}
		if f.variants[e.text(literal(v))] == nil {
			c.doubt(v, path, jsondoc.Quote(v.Text)+" is not a variant of the flag", "")
		}
		return
	case jsondoc.Object:
	default:
		return
	}
	if len(v.Items) != 1 {
		return
	}
	member := &v.Items[0]
	at := jsondoc.Join(path, member.Name)
	args := arguments(member)
	switch member.Name {
	case "$ref":
		if target := c.evaluators[member.Text]; target != nil && member.Kind == jsondoc.String &&
			!inner {
			c.results(f, target.source, at, true)
		}
	case "if", "?:":
		for i := range args {
			if i%2 == 1 || i == len(args)-1 {
				c.results(f, &args[i], jsondoc.Index(at, i), inner)
			}
		}
	case "fractional":
		for i := range args {
			if args[i].Kind == jsondoc.Array && len(args[i].Items) > 0 {
				c.results(f, &args[i].Items[0], jsondoc.Index(jsondoc.Index(at, i), 0), inner)
			}
		}
	}
}
