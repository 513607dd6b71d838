package tether

import (
	"runtime"
	"strings"
	"testing"

	"github.com/tether-go/tether/policy"
)

// TestApplyAllocatesLittle: a document of usual size costs a start, and each version, next to nothing.
func TestApplyAllocatesLittle(t *testing.T) {
	document := plainDocument()
	if err := applied(t, document); err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(3, func() { _ = applied(t, document) }); allocs > 18_000 {
		t.Errorf("%d bytes: %v allocations", len(document), allocs)
	}
}

// TestHostileDocumentsCostLittle: the work that a document of 1 MiB asks for has a bound, whatever it says. The
// bound is told in what is allocated, which every kind of needless work does.
func TestHostileDocumentsCostLittle(t *testing.T) {
	const mostObjects, mostBytes = 700_000, 112 << 20
	for name, document := range hostileDocuments() {
		if len(document) > policy.MaxDocument {
			t.Errorf("%s: %d bytes", name, len(document))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = applied(t, document)
		runtime.ReadMemStats(&after)
		objects, bytes := after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
		if objects > mostObjects || bytes > mostBytes {
			t.Errorf("%s: %d objects, %d MiB", name, objects, bytes>>20)
		}
	}
}

// TestClampNotesAreFew: a document of 1,000 rules that are all too bold is no flood of notes, nor of events.
func TestClampNotesAreFew(t *testing.T) {
	e, err := New(Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	notes, err := e.Apply(hostileDocuments()["rules"])
	if err != nil || len(notes) != policy.MaxListed+1 || !strings.HasSuffix(notes[policy.MaxListed], "more values are outside the bounds") {
		t.Errorf("error %v, %d notes, the last %q", err, len(notes), notes[max(0, len(notes)-1):])
	}
}
