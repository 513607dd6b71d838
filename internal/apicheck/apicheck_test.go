// Package apicheck compares the exported API of every package with a committed listing in docs/api,
// so that a change of it is seen in review. After a change that is meant:
//
//	go test ./internal/apicheck -update
package apicheck

import (
	"flag"
	"go/importer"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root     = "../.."
	project  = "github.com/tether-go/tether"
	listings = root + "/docs/api"
)

var (
	update = flag.Bool("update", false, "write the listings instead of comparing them")
	module = flag.String("module", root, "folder of the module to list, from this package's folder")
)

func TestAPI(t *testing.T) {
	visitFolders(t)
	modulePath := strings.TrimSpace(goList(t, "-m"))
	header := "module " + modulePath + "\n"
	current := make(map[string]bool)
	texts := describeModule(t)
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		name := listingName(path)
		current[name] = true
		compare(t, name, header+texts[path])
	}
	for _, name := range committed(t, header) {
		if !current[name] {
			stale(t, name)
		}
	}
}

// visitFolders makes "go test" run this test again when a file of the module changes: it remembers
// a result for as long as what the test itself opened, folders included, stays the same, and it
// doesn't see what the go command reads for us.
func visitFolders(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(*module, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && name != *module && entry.Name()[0] == '.' {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// describeModule returns the listing of each package that others may import, by import path. It
// reads what the compiler exports, so that names are resolved and constants have their values.
func describeModule(t *testing.T) map[string]string {
	t.Helper()
	exports := make(map[string]string) // import path to file
	const format = "{{.ImportPath}}\t{{.Export}}"
	for line := range strings.Lines(goList(t, "-export", "-deps", "-f", format, "./...")) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	compiled := importer.ForCompiler(token.NewFileSet(), "gc", open)
	texts := make(map[string]string)
	for _, path := range importable(strings.Fields(goList(t, "-f", packageFormat, "./..."))) {
		pkg, err := compiled.Import(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		texts[path] = describe(pkg)
	}
	return texts
}

// packageFormat leaves out commands and folders that hold tests only.
const packageFormat = `{{if and .GoFiles (ne .Name "main")}}{{.ImportPath}}{{end}}`

// importable leaves out what the go command keeps strangers from importing.
func importable(paths []string) []string {
	return slices.DeleteFunc(paths, func(path string) bool {
		return slices.Contains(strings.Split(path, "/"), "internal")
	})
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	list := exec.Command("go", append([]string{"list"}, args...)...)
	list.Dir = *module
	list.Env = append(os.Environ(), "GOWORK=off") // the API as users of this module see it
	var stderr strings.Builder
	list.Stderr = &stderr
	output, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	return string(output)
}

// listingName returns the file of a package's listing: tether.txt for the root, and dots for
// slashes.
func listingName(path string) string {
	rel := strings.TrimPrefix(strings.TrimPrefix(path, project), "/")
	if rel == "" {
		rel = "tether"
	}
	return strings.ReplaceAll(rel, "/", ".") + ".txt"
}

func compare(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(listings, name)
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if string(old) != text {
		t.Errorf("the exported API is not what docs/api/%s says (- there, + in the code):\n%s%s",
			name, diff(string(old), text), remedy)
	}
}

// remedy says what to do about a difference, and what a difference costs.
const remedy = "If it is meant, run \"go test ./internal/apicheck -update\" and commit the " +
	"listing. Each line that goes away or changes breaks users."

// committed returns the listings that belong to the module with this header.
func committed(t *testing.T, header string) []string {
	t.Helper()
	files, err := filepath.Glob(listings + "/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), header) {
			names = append(names, filepath.Base(file))
		}
	}
	return names
}

// stale handles the listing of a package that is gone.
func stale(t *testing.T, name string) {
	t.Helper()
	if !*update {
		t.Errorf("docs/api/%s lists a package that is no longer there. %s", name, remedy)
		return
	}
	if err := os.Remove(filepath.Join(listings, name)); err != nil {
		t.Error(err)
	}
}
