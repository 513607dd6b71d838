package remoteconfig_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/remoteconfig"
)

// TestPollMin asks for polls a second apart, in the document and in max-age. Only the program can
// allow the document's; max-age never shortens the interval (law 9).
func TestPollMin(t *testing.T) {
	const hasty, says = `{"pollInterval": "0.01s"}`, `{}`
	tests := []struct {
		name, document string
		opts           remoteconfig.Options
		most, least    int // polls in the 300 s after the first one
	}{
		{"document", hasty, remoteconfig.Options{}, 11, 9},
		{"max-age", says, remoteconfig.Options{}, 2, 1},
		{"document, compiled in", hasty, remoteconfig.Options{PollMin: time.Second}, 333, 272},
		{"max-age, a lower floor", says, remoteconfig.Options{PollMin: time.Second}, 2, 1},
		{"document, a higher floor", hasty, remoteconfig.Options{PollMin: time.Minute}, 6, 4},
		{"max-age, compiled in", says,
			remoteconfig.Options{PollInterval: time.Second, PollMin: time.Second}, 333, 272},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				polls, first := 0, time.Time{}
				source := fetchFunc(func(context.Context, string) (remoteconfig.Fetched, error) {
					switch {
					case first.IsZero():
						first = time.Now()
					case time.Since(first) <= 300*time.Second:
						polls++
					}
					return remoteconfig.Fetched{Document: []byte(test.document), MaxAge: 1}, nil
				})
				w, err := remoteconfig.New(source, refuseGarbage{}, test.opts)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 370*time.Second)
				defer cancel()
				_ = w.Run(ctx) // it ends with ctx
				if polls < test.least || polls > test.most {
					t.Errorf("%d polls, want %d to %d", polls, test.least, test.most)
				}
			})
		})
	}
}
