package deptest

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var useLine = regexp.MustCompile(`(?m)^\s*(?:use\s+)?(\.\S*)\s*$`)

func TestReplaceStaysInside(t *testing.T) {
	for _, folder := range readTree(t).modules {
		report(t, replaceProblems(folder, readFile(t, folder, "go.mod")))
	}
}

func TestWorkspaceJoinsEveryModule(t *testing.T) {
	report(t, workspaceProblems(readTree(t).modules, readFile(t, ".", "go.work")))
}

// TestRootRequiresNothingHeavy: a module graph reaches users even where the build doesn't.
func TestRootRequiresNothingHeavy(t *testing.T) {
	for _, name := range []string{"go.mod", "go.sum"} {
		report(t, requireProblems(name, readFile(t, ".", name)))
	}
}

func requireProblems(name, text string) problems {
	var found problems
	for line := range strings.Lines(text) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		for _, prefix := range notForEverybody {
			if len(fields) > 0 && within(fields[0], prefix) {
				found.addf("the root's %s names %s: what needs it has a module of its own, so that only its "+
					"users pay for it", name, fields[0])
			}
		}
	}
	return found
}

func replaceProblems(folder, text string) problems {
	var found problems
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "//")
		_, target, replaces := strings.Cut(code, "=>")
		target = strings.TrimSpace(target)
		switch {
		case !replaces:
		case folder == ".":
			found.addf("go.mod replaces a module by %s: users of the library don't see that, so they "+
				"would build something else than we test", target)
		case !strings.HasPrefix(target, ".") || within(path.Join(folder, target), ".."):
			found.addf("%s/go.mod replaces a module by %s: only a folder of this repository is there "+
				"in every clone", folder, target)
		}
	}
	return found
}

func workspaceProblems(modules []string, text string) problems {
	used := make(map[string]bool)
	for _, match := range useLine.FindAllStringSubmatch(text, -1) {
		used[path.Clean(match[1])] = true
	}
	var found problems
	for _, folder := range modules {
		if !used[folder] && folder != "tools" {
			found.addf("go.work lacks %s: a change to the library would not be tested with it; run: "+
				"go work use ./%s", folder, folder)
		}
	}
	if used["tools"] {
		found.addf("go.work joins tools: its dependencies would raise the versions that the library " +
			"is tested with")
	}
	return found
}

func readFile(t *testing.T, folder, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(folder), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
