package flags

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestHostileSettings: what is written twice is refused, whatever each of the two is, and many guards are read
// once each.
func TestHostileSettings(t *testing.T) {
	for _, settings := range []string{
		`{"guards": {}, "guards": {"a": {"minCalls": 5}}}`,
		`{"guards": {"b": {}}, "guards": {"a": {"minCalls": 5}}}`,
		`{"guards": {"a": {"minCalls": 5}}, "guards": null}`,
		`{"guards": {"a": {"minCalls": 5}}, "guards": 1}`,
		`{"guards": {"a": {}, "a": null}}`,
		`{"guards": {"a": {"minCalls": 5, "minCalls": -5}}}`,
		`{"bucketing": 2, "bucketing": 9}`,
		`{"guards": null}`, `{"guards": {"a": null}}`, `{"guards": []}`, `{"bucketing": null}`, `null`, `1`, `[]`,
		`{"guards": {"a": {"window": "1ns"}}}`, `{"guards": {"a": {"minCalls": -5}}}`, `{"guards": {"a": 1}}`,
	} {
		for _, lenient := range []bool{false, true} {
			document := `{"flags": {"flags": {"a": {"state": "ENABLED", "variants": {"x": 1}}}}, "flagSettings": ` + settings + `}`
			if _, err := Load([]byte(document), LoadOptions{Format: Tether, Lenient: lenient}); err == nil {
				t.Errorf("lenient %v took %s", lenient, settings)
			}
		}
	}
	document := `{"app": {` + strings.Repeat(`"a": 1,`, 200) + `"a": 1}, "flags": {"flags": {"f": {"state": "ENABLED", "variants": {"x": 1, "x": 2}}}}}`
	if _, err := Load([]byte(document), LoadOptions{Format: Tether}); err == nil {
		t.Error("took a variant that is there twice, after as many members elsewhere as are listed")
	}
	guards := make([]string, 49_000)
	for i := range guards {
		guards[i] = fmt.Sprintf(`"%05d": {}`, i)
	}
	document = `{"flags": {"flags": {}}, "flagSettings": {"guards": {` + strings.Join(guards, ",") + `}}}`
	began := time.Now()
	_, err := Load([]byte(document), LoadOptions{Format: Tether})
	took := time.Since(began)
	if took > 20*time.Second || err != nil {
		t.Errorf("%v after %v", err, took)
	}
}
