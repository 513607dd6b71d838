package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRollout plays it once, on real servers.
func TestRollout(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if told := strings.Count(out.String(), "- yes: "); told != 12 {
		t.Errorf("%d answers of 12:\n%s", told, out.String())
	}
}

// TestUntrue: what isn't true is told so, and is an error.
func TestUntrue(t *testing.T) {
	var out bytes.Buffer
	teller := &teller{out: &out}
	teller.check(true, "one")
	teller.check(false, "two of %d", 3)
	if teller.untrue != 1 || !strings.Contains(out.String(), "NO:  two of 3") {
		t.Errorf("%d untrue:\n%s", teller.untrue, out.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, &out); err == nil || errors.Is(err, errUntrue) {
		t.Errorf("without time for a poll: %v", err)
	}
}
