package tether_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tether-go/tether"
)

// keptSpan keeps what its events say.
type keptSpan struct {
	noop.Span
	told map[attribute.Key]string
}

func (s *keptSpan) IsRecording() bool { return true }

func (s *keptSpan) AddEvent(name string, opts ...trace.EventOption) {
	config := trace.NewEventConfig(opts...)
	for _, a := range config.Attributes() {
		s.told[a.Key] = a.Value.Emit()
	}
}

// TestKillIsTold: law 12: whose kill refused a call, and why, is in the error, the event, the span and Health. The error
// is whole before Observe has it, which may keep it (the race detector judges).
func TestKillIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := make(chan tether.Event, 1)
		c := client(t, &backend{serve: always(200)}, tether.Options{Observe: func(e tether.Event) {
			if e.Kind == tether.EventRefused {
				refused <- e
			}
		}})
		until := time.Now().Add(time.Hour)
		apply(t, c, 1, fmt.Sprintf(`,"kill":[{"name":"inc-1","match":{},"until":%q,"reason":"export is down"}]`,
			until.UTC().Format(time.RFC3339)))
		said := make(chan string, 1)
		go func() {
			e := <-refused
			said <- e.Note + "; " + e.Err.Error()
		}()
		span := &keptSpan{told: make(map[attribute.Key]string)}
		err := c.Engine().Do(trace.ContextWithSpan(t.Context(), span), tether.Call{Host: "api.example"},
			func(context.Context, *tether.Permit) tether.Outcome { return fine() })
		if r := rejected(t, err); r.Note != "export is down" {
			t.Errorf("the error says %q", r.Note)
		}
		if got, want := <-said, "inc-1: export is down; "+err.Error(); got != want {
			t.Errorf("the event says %q, want %q", got, want)
		}
		if span.told["tether.kill"] != "inc-1" || span.told["tether.kill.reason"] != "export is down" {
			t.Errorf("the span says %v", span.told)
		}
		if on := c.Engine().Health().Kills; len(on) != 1 || on[0].Name != "inc-1" || on[0].Reason != "export is down" {
			t.Errorf("Health says %v", on)
		}
		time.Sleep(2 * time.Hour)
		if on := c.Engine().Health().Kills; len(on) != 0 {
			t.Errorf("an hour after its end Health says %v", on)
		}
	})
}
