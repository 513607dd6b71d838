package deptest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// maxLines is the most that a file may have; past about 300 it is time to split it by idea.
const maxLines = 400

// vague names say nothing of what a package is for, so everything ends up in it.
var vague = []string{"util", "utils", "common", "base", "types", "core"}

// seeded are the members of math/rand and math/rand/v2 that don't touch the global source.
var seeded = []string{
	"ChaCha8", "New", "NewChaCha8", "NewPCG", "NewSource", "NewZipf", "PCG", "Rand", "Source",
	"Source64", "Zipf",
}

func TestFilesAreShort(t *testing.T)             { everySource(t, lengthProblems) }
func TestNamesSayWhatAPackageIs(t *testing.T)    { everySource(t, nameProblems) }
func TestLibraryCallsNothingGlobal(t *testing.T) { everySource(t, callProblems) }
func TestPackagesLookForLeaks(t *testing.T)      { report(t, leakProblems(readTree(t).sources)) }

func everySource(t *testing.T, rule func(source) problems) {
	t.Helper()
	for _, s := range readTree(t).sources {
		report(t, rule(s))
	}
}

func lengthProblems(s source) problems {
	if s.generated() || s.lines() <= maxLines {
		return nil
	}
	return problems{fmt.Sprintf("%s has %d lines, more than %d: nobody reads it whole; "+
		"split it by idea", s.path, s.lines(), maxLines)}
}

func nameProblems(s source) problems {
	declared := strings.TrimSuffix(s.file.Name.Name, "_test")
	for _, name := range []string{declared, path.Base(s.folder())} {
		if slices.Contains(vague, name) {
			return problems{fmt.Sprintf("%s: a package named %s says nothing of what it is for; "+
				"name the one idea in it", s.path, name)}
		}
	}
	return nil
}

// callProblems finds what a library must not do behind its caller's back.
func callProblems(s source) problems {
	if !s.library() || s.folder() == "internal/memnet" { // which only tests import
		return nil
	}
	names := importNames(s)
	var found problems
	complain := func(at token.Pos, what string) {
		found.addf("%s:%d: %s", s.path, s.line(at), what)
	}
	ast.Inspect(s.file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.SelectorExpr:
			// The parser resolves local names, so an identifier without an object may be an import.
			if x, ok := node.X.(*ast.Ident); ok && x.Obj == nil {
				if why := globalUse(names[x.Name], node.Sel.Name); why != "" {
					complain(node.Pos(), why)
				}
			}
		case *ast.CallExpr:
			if f, ok := node.Fun.(*ast.Ident); ok && f.Name == "panic" && !passesOn(node) {
				complain(node.Pos(), "a panic of our own ends an application that we were to protect: "+
					"return an error (passing on a recovered value is fine)")
			}
		case *ast.FuncDecl:
			if node.Recv == nil && node.Name.Name == "init" {
				complain(node.Pos(), "init runs in every program that imports the package: "+
					"let a constructor do it")
			}
		}
		return true
	})
	return found
}

// importNames maps the names that a file calls its imports by to their paths.
func importNames(s source) map[string]string {
	names := make(map[string]string)
	for _, spec := range s.file.Imports {
		imported := importPath(spec)
		name := path.Base(imported)
		if imported == "math/rand/v2" {
			name = "rand"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = imported
	}
	return names
}

// globalUse says what is wrong with a member of a package, or nothing.
func globalUse(imported, member string) string {
	prefixed := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(member, p) })
	}
	switch {
	case (imported == "math/rand" || imported == "math/rand/v2") && !slices.Contains(seeded, member):
		return "rand." + member + " draws from a global source, so that nobody can repeat the run: " +
			"use the engine's source"
	case imported == "time" && member == "Tick":
		return "time.Tick has nobody who stops it: use a timer that belongs to a call"
	case imported == "fmt" && prefixed("Print"),
		imported == "log" && prefixed("Print", "Fatal", "Panic"):
		return imported + "." + member + " writes where the application didn't ask for it: " +
			"return an error or send an event"
	case imported == "log/slog" && prefixed("Debug", "Info", "Warn", "Error", "Log"):
		return "slog." + member + " writes to the global logger: return an error or send an event"
	}
	return ""
}

// passesOn tells whether a panic only hands on a value that was recovered before.
func passesOn(call *ast.CallExpr) bool {
	if len(call.Args) != 1 {
		return false
	}
	switch call.Args[0].(type) {
	case *ast.Ident, *ast.SelectorExpr:
		return true
	}
	return false
}

// leakProblems finds packages of the library whose tests don't look for goroutines left over.
func leakProblems(sources []source) problems {
	library, tested, checked := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range sources {
		folder := s.folder()
		library[folder] = library[folder] || s.library()
		tested[folder] = tested[folder] || s.test()
		checked[folder] = checked[folder] || s.test() && verifiesLeaks(s.file)
	}
	var found problems
	for _, folder := range sortedKeys(tested) {
		if tested[folder] && library[folder] && !checked[folder] {
			found.addf("the tests of %s have no TestMain that calls goleak.VerifyTestMain: no goroutine "+
				"may outlive a call, and this is how we know", folder)
		}
	}
	return found
}

func verifiesLeaks(file *ast.File) bool {
	found := false
	for _, decl := range file.Decls {
		main, ok := decl.(*ast.FuncDecl)
		if !ok || main.Name.Name != "TestMain" || main.Body == nil {
			continue
		}
		ast.Inspect(main.Body, func(node ast.Node) bool {
			if sel, ok := node.(*ast.SelectorExpr); ok && sel.Sel.Name == "VerifyTestMain" {
				found = true
			}
			return true
		})
	}
	return found
}
