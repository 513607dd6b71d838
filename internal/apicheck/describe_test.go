package apicheck

import (
	"fmt"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// describe lists what a package exports: one line for each thing that a user can name, members
// indented below their type. Comments and bodies are left out, because they break nobody's build.
func describe(pkg *types.Package) string {
	d := describer{pkg: pkg}
	d.linef(0, "package %s // import %q", pkg.Name(), pkg.Path())
	scope := pkg.Scope()
	for _, section := range []func(types.Object){d.constant, d.variable, d.function, d.typeName} {
		for _, name := range scope.Names() {
			if token.IsExported(name) {
				section(scope.Lookup(name))
			}
		}
	}
	return d.out.String()
}

type describer struct {
	pkg *types.Package
	out strings.Builder
}

func (d *describer) linef(depth int, format string, args ...any) {
	fmt.Fprintf(&d.out, strings.Repeat("\t", depth)+format+"\n", args...)
}

// name writes types of this package bare and others with their package.
func (d *describer) name(t types.Type) string {
	return types.TypeString(t, types.RelativeTo(d.pkg))
}

func (d *describer) constant(obj types.Object) {
	if c, ok := obj.(*types.Const); ok {
		// Exact, because the String method shortens long text.
		d.linef(0, "const %s %s = %s", c.Name(), d.name(c.Type()), c.Val().ExactString())
	}
}

func (d *describer) variable(obj types.Object) {
	if v, ok := obj.(*types.Var); ok {
		d.linef(0, "var %s %s", v.Name(), d.name(v.Type()))
	}
}

func (d *describer) function(obj types.Object) {
	if f, ok := obj.(*types.Func); ok {
		d.linef(0, "func %s%s", f.Name(), d.signature(f))
	}
}

func (d *describer) signature(f *types.Func) string {
	return strings.TrimPrefix(d.name(f.Signature()), "func")
}

func (d *describer) typeName(obj types.Object) {
	tn, ok := obj.(*types.TypeName)
	if !ok {
		return
	}
	if tn.IsAlias() {
		d.linef(0, "type %s = %s", tn.Name(), d.name(types.Unalias(tn.Type())))
		return
	}
	// The type's own string has its parameters with their constraints.
	head := strings.TrimPrefix(types.ObjectString(tn, types.RelativeTo(d.pkg)), "type ")
	head = strings.TrimSuffix(head, " "+d.name(tn.Type().Underlying()))
	switch under := tn.Type().Underlying().(type) {
	case *types.Struct:
		d.linef(0, "type %s struct", head)
		d.fields(under)
	case *types.Interface:
		d.linef(0, "type %s interface", head)
		d.requirements(under)
	default:
		d.linef(0, "type %s %s", head, d.name(under))
	}
	d.methods(tn)
}

// fields keeps the order of the declaration, which literals without keys depend on.
func (d *describer) fields(s *types.Struct) {
	hidden := false
	for i := range s.NumFields() {
		field := s.Field(i)
		if !field.Exported() {
			hidden = true
			continue
		}
		text := field.Name() + " " + d.name(field.Type())
		if field.Embedded() {
			text = "embedded " + d.name(field.Type())
		}
		if tag := s.Tag(i); tag != "" {
			text += " `" + tag + "`"
		}
		d.linef(1, "%s", text)
	}
	if hidden {
		d.linef(1, "(unexported fields)")
	}
}

// requirements lists what a type must have to implement the interface, embedded ones resolved.
func (d *describer) requirements(iface *types.Interface) {
	hidden := false
	for i := range iface.NumMethods() {
		if method := iface.Method(i); method.Exported() {
			d.linef(1, "%s%s", method.Name(), d.signature(method))
		} else {
			hidden = true
		}
	}
	if hidden {
		d.linef(1, "(unexported methods)")
	}
	for i := range iface.NumEmbeddeds() {
		if union, ok := iface.EmbeddedType(i).(*types.Union); ok {
			d.linef(1, "%s", d.name(union))
		}
	}
}

// methods lists those that this package declares, also where they come from an embedded type of its
// own. What a foreign embedded type promotes changes with that package, not with ours.
func (d *describer) methods(tn *types.TypeName) {
	if types.IsInterface(tn.Type()) {
		return
	}
	var lines []string
	byValue := types.NewMethodSet(tn.Type())
	byPointer := types.NewMethodSet(types.NewPointer(tn.Type()))
	for i := range byPointer.Len() {
		method := byPointer.At(i).Obj().(*types.Func)
		if !method.Exported() || method.Pkg().Path() != d.pkg.Path() {
			continue
		}
		receiver := tn.Name()
		if byValue.Lookup(d.pkg, method.Name()) == nil {
			receiver = "*" + receiver
		}
		line := fmt.Sprintf("func (%s) %s%s", receiver, method.Name(), d.signature(method))
		lines = append(lines, line)
	}
	slices.Sort(lines)
	for _, line := range lines {
		d.linef(1, "%s", line)
	}
}

// diff returns the lines that differ, with the last line of the listing before them that starts at
// the margin, so that a member is seen with its type.
func diff(old, text string) string {
	a, b := strings.Split(old, "\n"), strings.Split(text, "\n")
	common := commonLengths(a, b)
	var out strings.Builder
	margin, shown := "", ""
	write := func(sign, line string) {
		if strings.HasPrefix(line, "\t") && margin != shown {
			fmt.Fprintf(&out, "  %s\n", margin)
			shown = margin
		}
		fmt.Fprintf(&out, "%s %s\n", sign, line)
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			if a[i] != "" && a[i][0] != '\t' {
				margin = a[i]
			}
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			write("-", a[i])
			i++
		default:
			write("+", b[j])
			j++
		}
	}
	return out.String()
}

// commonLengths returns the length of the longest common subsequence of a[i:] and b[j:] at [i][j].
func commonLengths(a, b []string) [][]int {
	lengths := make([][]int, len(a)+1)
	for i := range lengths {
		lengths[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				lengths[i][j] = lengths[i+1][j+1] + 1
			} else {
				lengths[i][j] = max(lengths[i+1][j], lengths[i][j+1])
			}
		}
	}
	return lengths
}
