package deptest

import (
	"fmt"
	"strings"
	"testing"
)

// These tests show each rule something that breaks it, since a rule that can't fail keeps nothing.

func TestImportRules(t *testing.T) {
	const backoff, gobreaker = "github.com/cenkalti/backoff/v4", "github.com/sony/gobreaker/v2"
	leaf := func(name string) func(map[string][]string) problems {
		return func(g map[string][]string) problems { return leafProblems(g, name, leaves[name]) }
	}
	graphOf := func(folder string, imports ...string) map[string][]string {
		return map[string][]string{folder: imports}
	}
	tests := []struct {
		name  string
		rule  func(map[string][]string) problems
		graph map[string][]string
		want  string // part of the only problem; empty: none
	}{
		{"own library", leaf("retry"), graphOf("retry", "time", "math/rand/v2", backoff), ""},
		{"another leaf's library", leaf("retry"), graphOf("retry", gobreaker),
			"retry imports " + gobreaker},
		{"library with a longer name", leaf("retry"), graphOf("retry", backoff+"x"),
			"retry imports " + backoff + "x"},
		{"another leaf", leaf("retry"), graphOf("retry", module+"/breaker"), "retry imports breaker"},
		{"root", leaf("breaker"), graphOf("breaker", module), "breaker imports the root"},
		{"inner package", leaf("flags"), graphOf("flags/rollout", gobreaker), "(in flags/rollout)"},
		{"nothing allowed", leaf("remoteconfig"), graphOf("remoteconfig", backoff),
			"remoteconfig imports"},
		{"leaf by way of internal", leaf("ratelimit"), map[string][]string{
			"ratelimit":  {module + "/internal/a"},
			"internal/a": {module + "/internal/b", "sync"},
			"internal/b": {module + "/retry"},
		}, "ratelimit imports retry (in internal/b)"},
		{"library by way of internal", leaf("ratelimit"), map[string][]string{
			"ratelimit":  {module + "/internal/a"},
			"internal/a": {gobreaker},
		}, "(in internal/a)"},
		{"internal package nobody imports", leaf("retry"), map[string][]string{
			"retry": {"time"}, "internal/a": {gobreaker},
		}, ""},

		{"idea with its library", ideaProblems, graphOf("ratelimit/hint", "time", "github.com/dunglas/httpsfv"), ""},
		{"idea with a sibling's library", ideaProblems, graphOf("ratelimit/pacing", "github.com/dunglas/httpsfv"),
			"ratelimit/pacing imports github.com/dunglas/httpsfv"},
		{"idea with its reason", ideaProblems, graphOf("ratelimit/pacing", module+"/internal/decay",
			module+"/ratelimit/hint"), ""},
		{"idea the other way round", ideaProblems, graphOf("ratelimit/hint", module+"/ratelimit/pacing"),
			"ratelimit/hint imports " + module + "/ratelimit/pacing"},
		{"idea without a line", ideaProblems, graphOf("ratelimit/new", module+"/ratelimit"),
			"ratelimit/new imports " + module + "/ratelimit"},

		{"root with leaves", rootProblems, graphOf(".", module+"/retry", module+"/breaker"), ""},
		{"root with remoteconfig", rootProblems, graphOf(".", module+"/remoteconfig"),
			"the root imports remoteconfig"},
		{"root with its rehearsal", rootProblems, graphOf(".", module+"/tethertest"),
			"the root imports tethertest"},
		{"root by way of internal", rootProblems, map[string][]string{
			".": {module + "/internal/a"}, "internal/a": {module + "/remoteconfig"},
		}, "(in internal/a)"},
		{"command with remoteconfig", rootProblems, graphOf("cmd/tetherctl", module,
			module+"/remoteconfig"), ""},

		{"telemetry API", telemetryProblems, graphOf(".", telemetryAPI...), ""},
		{"telemetry SDK", telemetryProblems, graphOf(".", "go.opentelemetry.io/otel/sdk/metric"),
			"otel/sdk/metric"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblem(t, test.rule(test.graph), test.want) })
	}
}

func TestDependencyRules(t *testing.T) {
	many := func(n int) []string {
		list := []string{module, module + "/retry"}
		for i := range n {
			list = append(list, fmt.Sprintf("example.com/package%d", i))
		}
		return list
	}
	wantProblem(t, dependencyProblems(many(maxForeign)), "")
	wantProblem(t, dependencyProblems(many(maxForeign+1)), "compiles 35 packages")
	wantProblem(t, dependencyProblems([]string{"google.golang.org/grpc/codes"}),
		"what pulls google.golang.org/grpc")
}

func TestModuleRules(t *testing.T) {
	const inside, outside = "replace example.com/a => ../..\n",
		"replace example.com/a v1.0.0 => ../../..\n"
	wantProblem(t, replaceProblems(".", "module a // => nothing\n"), "")
	wantProblem(t, replaceProblems(".", inside), "users of the library don't see that")
	wantProblem(t, replaceProblems("flags/openfeature", inside), "")
	wantProblem(t, replaceProblems("flags/openfeature", outside), "flags/openfeature/go.mod replaces")
	wantProblem(t, replaceProblems("tethergrpc", "replace (\n\ta => example.com/fork v1.0.0\n)\n"),
		"replaces")

	wantProblem(t, requireProblems("go.mod", "require example.com/grpc v1.0.0\n"), "")
	wantProblem(t, requireProblems("go.mod", "require (\n\tgoogle.golang.org/grpc v1.0.0 // indirect\n)\n"),
		"google.golang.org/grpc")
	wantProblem(t, requireProblems("go.sum", "go.etcd.io/etcd/client/v3 v3.6.0/go.mod h1:x=\n"), "go.etcd.io/etcd")

	const work = "go 1.25.0\n\nuse .\nuse (\n\t./tethergrpc\n)\n"
	wantProblem(t, workspaceProblems([]string{".", "tethergrpc", "tools"}, work), "")
	wantProblem(t, workspaceProblems([]string{".", "tethergrpc", "benchmarks"}, work),
		"go work use ./benchmarks")
	wantProblem(t, workspaceProblems([]string{"."}, work+"use ./tools\n"), "joins tools")
}

func TestSourceRules(t *testing.T) {
	body := func(imports, statement string) string {
		return "package retry\nimport (" + imports + ")\nfunc f() {" + statement + "}\n"
	}
	long := "package retry\n" + strings.Repeat("\n", maxLines)
	tests := []struct {
		name, path, text string
		rule             func(source) problems
		want             string
	}{
		{"length", "retry/a.go", long, lengthProblems, "401 lines"},
		{"length of tests", "retry/a_test.go", long, lengthProblems, "401 lines"},
		{"length, generated", "retry/a.go", "// Code generated by x. DO NOT EDIT.\n\n" + long,
			lengthProblems, ""},
		{"just short enough", "retry/a.go", long[:len(long)-1], lengthProblems, ""},

		{"vague package", "internal/x/a.go", "package util\n", nameProblems, "a package named util"},
		{"vague test package", "internal/x/a_test.go", "package core_test\n", nameProblems,
			"a package named core"},
		{"vague folder", "internal/common/a.go", "package clock\n", nameProblems, "package named common"},
		{"telling name", "internal/random/a.go", "package random\n", nameProblems, ""},

		{"global rand", "retry/a.go", body(`"math/rand/v2"`, "rand.IntN(3)"), callProblems,
			"retry/a.go:3: rand.IntN"},
		{"global rand, renamed", "retry/a.go", body(`r "math/rand"`, "_ = r.Float64"), callProblems,
			"rand.Float64"},
		{"own rand", "retry/a.go", body(`"math/rand/v2"`, "rand.New(rand.NewPCG(1, 2))"), callProblems,
			""},
		{"crypto/rand", "retry/a.go", body(`"crypto/rand"`, "rand.Read(nil)"), callProblems, ""},
		{"local called rand", "retry/a.go", body(`"math/rand"`, "rand := s{}; rand.Int()"),
			callProblems, ""},
		{"tick", "retry/a.go", body(`"time"`, "<-time.Tick(1)"), callProblems, "time.Tick"},
		{"ticker", "retry/a.go", body(`"time"`, "time.NewTicker(1)"), callProblems, ""},
		{"print", "retry/a.go", body(`"fmt"`, `fmt.Printf("")`), callProblems, "fmt.Printf"},
		{"sprint", "retry/a.go", body(`"fmt"`, `fmt.Sprintf("")`), callProblems, ""},
		{"log", "retry/a.go", body(`"log"`, `log.Print("")`), callProblems, "log.Print"},
		{"own log", "retry/a.go", body(`"log"`, `log.New(nil, "", 0)`), callProblems, ""},
		{"global slog", "retry/a.go", body(`"log/slog"`, `slog.Info("")`), callProblems, "slog.Info"},
		{"panic", "retry/a.go", body("", `panic("impossible")`), callProblems, "a panic of our own"},
		{"panic passed on", "retry/a.go", body("", "v := recover(); panic(v)"), callProblems, ""},
		{"init", "retry/a.go", "package retry\nfunc init() {}\n", callProblems,
			"retry/a.go:2: init runs"},
		{"method called init", "retry/a.go", "package retry\nfunc (x) init() {}\n", callProblems, ""},
		{"print in a test", "retry/a_test.go", body(`"fmt"`, `fmt.Print("")`), callProblems, ""},
		{"print in an example", "examples/a/a.go", body(`"fmt"`, `fmt.Print("")`), callProblems, ""},
		{"print in a command", "tools/a.go", "package main\nfunc f() { panic(\"\") }\n", callProblems,
			""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wantProblem(t, test.rule(mustParse(t, test.path, test.text)), test.want)
		})
	}
}

func TestLeakRule(t *testing.T) {
	code := mustParse(t, "retry/a.go", "package retry\n")
	test := mustParse(t, "retry/a_test.go", "package retry\nfunc TestA(t *testing.T) {}\n")
	idle := mustParse(t, "retry/b_test.go", "package retry\nfunc TestMain(m *testing.M) { m.Run() }\n")
	leak := mustParse(t, "retry/b_test.go",
		"package retry\nfunc TestMain(m *testing.M) { goleak.VerifyTestMain(m) }\n")
	command := mustParse(t, "retry/a.go", "package main\n")
	wantProblem(t, leakProblems([]source{code}), "")
	wantProblem(t, leakProblems([]source{code, test}), "the tests of retry")
	wantProblem(t, leakProblems([]source{code, test, idle}), "the tests of retry")
	wantProblem(t, leakProblems([]source{code, test, leak}), "")
	wantProblem(t, leakProblems([]source{test}), "")
	wantProblem(t, leakProblems([]source{command, test}), "")
}

func TestModuleOfAFile(t *testing.T) {
	all := tree{modules: []string{".", "flags/openfeature", "tools"}}
	for name, want := range map[string]string{
		"doc.go": ".", "flags/set.go": ".", "flags/openfeature/a.go": "flags/openfeature",
		"flags/openfeaturex/a.go": ".", "tools/x/a.go": "tools",
	} {
		if got := all.moduleOf(name); got != want {
			t.Errorf("moduleOf(%q) = %q, want %q", name, got, want)
		}
	}
}

func mustParse(t *testing.T, path, text string) source {
	t.Helper()
	s, err := parse(path, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantProblem checks that there is exactly one problem, with want in its text, or none for "".
func wantProblem(t *testing.T, found problems, want string) {
	t.Helper()
	switch {
	case want == "" && len(found) > 0:
		t.Errorf("problems where there are none: %q", found)
	case want != "" && (len(found) != 1 || !strings.Contains(found[0], want)):
		t.Errorf("problems = %q, want one with %q", found, want)
	}
}
