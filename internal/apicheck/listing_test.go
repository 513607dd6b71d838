package apicheck

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"testing"
)

const sample = `package sample

import "time"

const Limit = 1 << 20
const (
	Closed State = iota
	Open
	hidden
)
const Notice = "a text that is too long to be written whole by the String method of a constant"

var ErrOpen error

type State uint8

func (s State) String() string { return "" }

type Policy struct {
	MaxAttempts int
	Backoff     time.Duration ` + "`json:\"backoff\"`" + `
	secret      int
}

type Breaker struct {
	*Policy
	inner
}

func (b *Breaker) Do(fn func() error) error { return nil }
func (b *Breaker) hide()                     {}

type inner struct{}

func (*inner) Promoted() {}

type Source interface {
	Fetch(tag string) ([]byte, error)
	own()
}

type Number interface{ ~int | ~float64 }

type Box[T Number] struct{ Value T }

func (b Box[T]) Get() T { return b.Value }

type Table map[string]Policy
type Old = Policy

func Set[T any](value T) *T { return &value }
func quiet()                {}
`

const sampleListing = `package sample // import "example.com/sample"
const Closed State = 0
const Limit untyped int = 1048576
const Notice untyped string = ` +
	`"a text that is too long to be written whole by the String method of a constant"
const Open State = 1
var ErrOpen error
func Set[T any](value T) *T
type Box[T Number] struct
	Value T
	func (Box) Get() T
type Breaker struct
	embedded *Policy
	(unexported fields)
	func (*Breaker) Do(fn func() error) error
	func (*Breaker) Promoted()
type Number interface
	~int | ~float64
type Old = Policy
type Policy struct
	MaxAttempts int
	Backoff time.Duration ` + "`json:\"backoff\"`" + `
	(unexported fields)
type Source interface
	Fetch(tag string) ([]byte, error)
	(unexported methods)
type State uint8
	func (State) String() string
type Table map[string]Policy
`

func TestDescribe(t *testing.T) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "sample.go", sample, 0)
	if err != nil {
		t.Fatal(err)
	}
	config := types.Config{Importer: importer.Default()}
	pkg, err := config.Check("example.com/sample", fset, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := describe(pkg); got != sampleListing {
		t.Errorf("the listing differs (- wanted, + got):\n%s", diff(sampleListing, got))
	}
}

func TestDiff(t *testing.T) {
	const old = "a\ntype T struct\n\tOne int\n\tTwo int\ntype U struct\n\tOne int\n"
	tests := []struct{ name, text, want string }{
		{"same", old, ""},
		{"gone", strings.Replace(old, "a\n", "", 1), "- a\n"},
		{"added at the end", old + "type V int\n", "+ type V int\n"},
		{"member changed", strings.Replace(old, "\tTwo int", "\tTwo bool", 1),
			"  type T struct\n- \tTwo int\n+ \tTwo bool\n"},
		{"member of the second type", strings.TrimSuffix(old, "\tOne int\n"),
			"  type U struct\n- \tOne int\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := diff(old, test.text); got != test.want {
				t.Errorf("diff:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestListingNames(t *testing.T) {
	for path, want := range map[string]string{
		project: "tether.txt", project + "/retry": "retry.txt",
		project + "/flags/openfeature": "flags.openfeature.txt",
	} {
		if got := listingName(path); got != want {
			t.Errorf("listingName(%q) = %q, want %q", path, got, want)
		}
	}
	kept := importable([]string{project, project + "/internal/random", project + "/internalx"})
	if len(kept) != 2 {
		t.Errorf("importable kept %q, want the root and internalx", kept)
	}
}
