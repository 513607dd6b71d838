package deptest

import (
	"go/ast"
	"strings"
	"testing"
)

// TestW35NoRealSleep: a test that sleeps does so in a bubble, where that takes no time and proves
// something. What a helper does is up to whoever calls it.
func TestW35NoRealSleep(t *testing.T) { report(t, sleepProblems(readTree(t).sources)) }

func TestSleepRule(t *testing.T) {
	helper := mustParse(t, "a/b_test.go", `package a
func bubble(t *testing.T, f func(*testing.T)) { synctest.Test(t, f) }
func far(t *testing.T, f func(*testing.T)) { bubble(t, f) }`)
	for text, want := range map[string]string{
		"time.Sleep(1)": "TestA sleeps",
		"synctest.Test(t, func(t *testing.T) { time.Sleep(1) })":          "",
		"bubble(t, func(t *testing.T) { go func() { time.Sleep(1) }() })": "",
		"t.Run(\"x\", func(t *testing.T) { time.Sleep(1) })":              "TestA sleeps",
		"far(t, func(t *testing.T) { time.Sleep(1) })":                    "",
	} {
		test := mustParse(t, "a/a_test.go", "package a\nfunc TestA(t *testing.T) { "+text+" }")
		wantProblem(t, sleepProblems([]source{test, helper}), want)
	}
}

// sleepProblems wants a bubble, its own or a helper's, in every test that sleeps. It doesn't tell
// whether the sleep is inside: closures are handed on in too many ways.
func sleepProblems(sources []source) (found problems) {
	bubbles := map[string]bool{} // folder and name of what runs something in a bubble
	for again := true; again; {
		again = false
		for _, s := range sources {
			eachTestFunction(s, func(f *ast.FuncDecl) {
				name := s.folder() + "." + f.Name.Name
				if !bubbles[name] && calls(f.Body, func(name string) bool {
					return name == "synctest.Test" || bubbles[s.folder()+"."+name]
				}) {
					bubbles[name], again = true, true
				}
			})
		}
	}
	for _, s := range sources {
		eachTestFunction(s, func(f *ast.FuncDecl) {
			if strings.HasPrefix(f.Name.Name, "Test") && !bubbles[s.folder()+"."+f.Name.Name] &&
				calls(f.Body, func(name string) bool { return name == "time.Sleep" }) {
				found.addf("%s: %s sleeps outside a bubble: it is slow, and right by luck", s.path, f.Name.Name)
			}
		})
	}
	return found
}

func eachTestFunction(s source, do func(*ast.FuncDecl)) {
	if !s.test() {
		return
	}
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
			do(f)
		}
	}
}

// calls tells whether body calls a function that want names.
func calls(body ast.Node, want func(name string) bool) (found bool) {
	ast.Inspect(body, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok && !found {
			found = want(calledName(call.Fun))
		}
		return !found
	})
	return found
}

func calledName(fun ast.Expr) string {
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}
