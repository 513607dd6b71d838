package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, step := range []string{"usual:", "pushback:", "outage:", "kill:", "kill lifted:", "push:"} {
		if !strings.Contains(out.String(), step) {
			t.Errorf("%q is missing in\n%s", step, &out)
		}
	}
}
