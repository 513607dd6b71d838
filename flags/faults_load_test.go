package flags

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHostileDocuments: what is said once and used thousands of times is read once: reading takes time and
// memory in proportion to the document.
func TestHostileDocuments(t *testing.T) {
	const flag = `"f%d": {"state": "ENABLED", "variants": {"a": 1}%s}`
	join := func(n int, format string, args ...any) string {
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(fmt.Sprintf(format, args...), "#", fmt.Sprint(i))
		}
		return strings.Join(items, ",")
	}
	wide := `"metadata": {` + join(50_000, `"#": 1`) + `}, `
	evaluator := `"$evaluators": {"e": {"if": [` + join(40_000, `"nobody"`) + `]}}, `
	small := `"$evaluators": {"e": {"if": [` + join(1900, `"nobody"`) + `]}}, `
	for name, document := range map[string]string{
		"wide metadata":             `{` + wide + `"flags": {` + join(3000, strings.Replace(flag, "%d", "#", 1), "") + `}}`,
		"wide metadata, and narrow": `{` + wide + `"flags": {` + join(3000, strings.Replace(flag, "%d", "#", 1), `, "metadata": {"x": 1}`) + `}}`,
		"one flag's references": `{` + evaluator + `"flags": {"f": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"if": [` +
			join(20_000, `{"$ref": "e"}`) + `]}}}}`,
		"many flags' small references": `{` + small + `"flags": {` + join(500, strings.Replace(flag, "%d", "#", 1),
			`, "targeting": {"$ref": "e"}`) + `}}`,
		"many flags' references": `{` + evaluator + `"flags": {` + join(3000, strings.Replace(flag, "%d", "#", 1),
			`, "targeting": {"$ref": "e"}`) + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if len(document) > maxDocument {
				t.Fatalf("%d bytes", len(document))
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			set, err := Load([]byte(document), LoadOptions{Lenient: true})
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			if took > 20*time.Second { // it takes a tenth of one; the machine may be busy
				t.Errorf("took %v", took)
			}
			if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 500 {
				t.Errorf("allocated %d MB", mb)
			}
			runtime.KeepAlive(set)
		})
	}
}
