// Package deptest keeps the rules that the compiler doesn't: what may import what, and what a
// source file may hold. Each rule gives its reason when it fails.
package deptest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/tether-go/tether"
)

// source is one Go file of the repository.
type source struct {
	path string // from the root of the repository, with slashes
	text []byte
	file *ast.File
	fset *token.FileSet
}

// tree is the repository as it lies on disk.
type tree struct {
	sources []source
	modules []string // folders with a go.mod, "." for the root's
}

// readTree reads the files in this process rather than through the go command, because "go test"
// remembers a result for as long as the files that the test itself opened stay the same.
func readTree(t *testing.T) tree {
	t.Helper()
	var found tree
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case entry.IsDir() && ignoredFolder(rel):
			return filepath.SkipDir
		case entry.Name() == "go.mod":
			found.modules = append(found.modules, path.Dir(rel))
		case !entry.IsDir() && strings.HasSuffix(rel, ".go"):
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			src, err := parse(rel, text)
			if err != nil {
				return err
			}
			found.sources = append(found.sources, src)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.sources) == 0 || len(found.modules) == 0 {
		t.Fatalf("%s holds no Go files or no go.mod: not the root of the repository", root)
	}
	return found
}

// ignoredFolder tells which folders the go command doesn't look into either.
func ignoredFolder(rel string) bool {
	name := path.Base(rel)
	return rel != "." && (name[0] == '.' || name[0] == '_' || name == "testdata" || name == "vendor")
}

func parse(name string, text []byte) (source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	return source{path: name, text: text, file: file, fset: fset}, err
}

// library is the code that users import: everything but tests, commands and examples.
func (s source) library() bool {
	return !s.test() && s.file.Name.Name != "main" &&
		!within(s.path, "examples") && !within(s.path, "cmd")
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) generated() bool { return ast.IsGenerated(s.file) }

func (s source) folder() string { return path.Dir(s.path) }

func (s source) lines() int { return bytes.Count(s.text, []byte("\n")) }

func (s source) line(at token.Pos) int { return s.fset.Position(at).Line }

func (s source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		paths = append(paths, importPath(spec))
	}
	return paths
}

func importPath(spec *ast.ImportSpec) string {
	unquoted, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser accepts none such
	}
	return unquoted
}

// moduleOf returns the folder of the module that a file belongs to: the deepest one around it.
func (t tree) moduleOf(name string) string {
	deepest := "."
	for _, folder := range t.modules {
		if within(name, folder) && len(folder) >= len(deepest) {
			deepest = folder
		}
	}
	return deepest
}

// graph returns what each package of the root's module imports outside its tests, by folder.
func (t tree) graph() map[string][]string {
	imports := make(map[string][]string)
	for _, s := range t.sources {
		if !s.test() && t.moduleOf(s.path) == "." {
			imports[s.folder()] = append(imports[s.folder()], s.imports()...)
		}
	}
	return imports
}

// within tells whether name is folder or lies in it.
func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}

// problems are sentences: what is wrong, where, and why it matters.
type problems []string

func (p *problems) addf(format string, args ...any) {
	*p = append(*p, fmt.Sprintf(format, args...))
}

// report fails the test with one line for each problem.
func report(t *testing.T, found problems) {
	t.Helper()
	for _, problem := range found {
		t.Error(problem)
	}
}
