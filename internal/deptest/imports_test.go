package deptest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// leaves are the packages that are useful alone, each with the libraries that it is built over.
var leaves = map[string][]string{
	"retry":        {"github.com/cenkalti/backoff/v4"},
	"breaker":      {"github.com/sony/gobreaker/v2"},
	"ratelimit":    {"github.com/dunglas/httpsfv"},
	"flags":        nil,
	"remoteconfig": nil,
}

// ideas are the packages of the leaf ratelimit, each with what it may import besides the standard library and
// internal packages.
var ideas = map[string][]string{
	"ratelimit":        nil,                            // a client's own limits need no server's word
	"ratelimit/hint":   {"github.com/dunglas/httpsfv"}, // RateLimit is a structured field
	"ratelimit/pacing": {module + "/ratelimit/hint"},   // an Allowance is told a server's quota
}

// telemetryAPI is the part of OpenTelemetry that a library may know; the application picks the
// rest.
var telemetryAPI = []string{
	"go.opentelemetry.io/otel",
	"go.opentelemetry.io/otel/attribute",
	"go.opentelemetry.io/otel/codes",
	"go.opentelemetry.io/otel/metric",
	"go.opentelemetry.io/otel/trace",
}

// notForEverybody are prefixes of packages that an application gets only by asking for the module
// that needs them.
var notForEverybody = []string{
	"google.golang.org/grpc",
	"go.opentelemetry.io/otel/sdk",
	"go.opentelemetry.io/otel/exporters",
	"github.com/nats-io",
	"go.etcd.io",
}

// maxForeign is how many packages that are neither standard nor tether's own an application that
// wraps an http.Client may have to compile. Nearly all of them are OpenTelemetry's.
const maxForeign = 34

func TestLeavesAreUsableAlone(t *testing.T) {
	graph := readTree(t).graph()
	for _, leaf := range sortedKeys(leaves) {
		report(t, leafProblems(graph, leaf, leaves[leaf]))
	}
}

func TestIdeasOfALeafStandApart(t *testing.T) { report(t, ideaProblems(readTree(t).graph())) }

func TestRootDoesNotKnowItsUsers(t *testing.T) {
	report(t, rootProblems(readTree(t).graph()))
}

func TestOnlyTheTelemetryAPI(t *testing.T) {
	report(t, telemetryProblems(readTree(t).graph()))
}

func TestDependenciesOfAnHTTPClient(t *testing.T) {
	if _, ok := readTree(t).graph()["."]; !ok {
		t.Fatal("the root package isn't found, so its dependencies can't be counted")
	}
	const format = "{{if not .Standard}}{{.ImportPath}}{{end}}"
	list := exec.Command("go", "list", "-deps", "-f", format, ".")
	list.Dir = root
	list.Env = append(os.Environ(), "GOWORK=off") // as for users: no other module raises a version
	var stderr strings.Builder
	list.Stderr = &stderr
	output, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	report(t, dependencyProblems(strings.Fields(string(output))))
}

// leafProblems follows a leaf's imports through its own and the internal packages.
func leafProblems(graph map[string][]string, leaf string, libraries []string) problems {
	var found problems
	start := func(folder string) bool { return within(folder, leaf) }
	follow(graph, start, func(from, imported string) bool {
		own, ours := ownFolder(imported)
		switch {
		case standard(imported) || allowed(imported, libraries):
		case ours && (within(own, leaf) || within(own, "internal")):
			return true
		case ours && own == ".":
			found.addf("%s imports the root (in %s): the root is built from the leaves, and a leaf "+
				"must be usable without it", leaf, from)
		case ours:
			found.addf("%s imports %s (in %s): leaves don't know each other; the root translates one "+
				"outcome into the words of each", leaf, own, from)
		default:
			found.addf("%s imports %s (in %s): besides the standard library and internal packages a "+
				"leaf may need %q only, so that it stays cheap to use alone",
				leaf, imported, from, libraries)
		}
		return false
	})
	return found
}

// ideaProblems finds imports that tie the packages of ratelimit together.
func ideaProblems(graph map[string][]string) problems {
	var found problems
	for _, folder := range sortedKeys(graph) {
		if !within(folder, "ratelimit") {
			continue
		}
		for _, imported := range graph[folder] {
			own, ours := ownFolder(imported)
			if !standard(imported) && !(ours && within(own, "internal")) && !slices.Contains(ideas[folder], imported) {
				found.addf("%s imports %s: the packages of ratelimit are one idea each, and a stranger reads one "+
					"without the others; a new edge needs its reason beside ideas", folder, imported)
			}
		}
	}
	return found
}

// rootProblems finds what the root package must not reach, by whatever way.
func rootProblems(graph map[string][]string) problems {
	var found problems
	start := func(folder string) bool { return folder == "." }
	follow(graph, start, func(from, imported string) bool {
		own, ours := ownFolder(imported)
		switch {
		case !ours:
			return false
		case within(own, "remoteconfig"):
			found.addf("the root imports %s (in %s): it implements with standard types what "+
				"remoteconfig asks for, so that a client without remote configuration carries none",
				own, from)
			return false
		case within(own, "tethertest"), within(own, "cmd"), within(own, "examples"):
			found.addf("the root imports %s (in %s): that is built on the root, not the other way round",
				own, from)
			return false
		}
		return true
	})
	return found
}

// follow walks the graph from the packages that start picks, and asks visit about every import:
// whether to go on into it. Each package is looked at once, in a fixed order.
func follow(
	graph map[string][]string,
	start func(folder string) bool,
	visit func(from, imported string) bool,
) {
	seen := make(map[string]bool)
	var walk func(folder string)
	walk = func(folder string) {
		if seen[folder] {
			return
		}
		seen[folder] = true
		imports := slices.Clone(graph[folder])
		slices.Sort(imports)
		for _, imported := range slices.Compact(imports) {
			if visit(folder, imported) {
				own, _ := ownFolder(imported)
				walk(own)
			}
		}
	}
	for _, folder := range sortedKeys(graph) {
		if start(folder) {
			walk(folder)
		}
	}
}

func telemetryProblems(graph map[string][]string) problems {
	var found problems
	for _, folder := range sortedKeys(graph) {
		for _, imported := range graph[folder] {
			if within(imported, "go.opentelemetry.io") && !slices.Contains(telemetryAPI, imported) {
				found.addf("%s imports %s: a library uses OpenTelemetry's API only (%s); the SDK and its "+
					"exporters are the application's choice",
					folder, imported, strings.Join(telemetryAPI, ", "))
			}
		}
	}
	return found
}

func dependencyProblems(dependencies []string) problems {
	var found problems
	var foreign []string
	for _, dependency := range dependencies {
		if _, ours := ownFolder(dependency); ours {
			continue
		}
		foreign = append(foreign, dependency)
		for _, prefix := range notForEverybody {
			if within(dependency, prefix) {
				found.addf("a wrapped http.Client compiles %s: what pulls %s has a module of its own, so "+
					"that only its users pay for it", dependency, prefix)
			}
		}
	}
	if len(foreign) > maxForeign {
		found.addf("a wrapped http.Client compiles %d packages that are neither standard nor tether's "+
			"own, more than %d; each is one more that an application must trust:\n%s",
			len(foreign), maxForeign, strings.Join(foreign, "\n"))
	}
	return found
}

// ownFolder returns the folder of a package of this repository.
func ownFolder(imported string) (folder string, ours bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

// standard tells a package of the standard library by its first element, which has no dot.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func allowed(imported string, libraries []string) bool {
	return slices.ContainsFunc(libraries, func(library string) bool {
		return within(imported, library)
	})
}
