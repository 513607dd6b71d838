package tether_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
)

// A server whose headers are absurd is heard no worse for it: its answers arrive, and no call is kept back
// for longer than a hold may last.
func TestHostileHeaders(t *testing.T) {
	large := strings.Repeat("9", 1<<20)
	for name, set := range map[string]func(http.Header){
		"Retry-After of 1 MiB": func(h http.Header) { h.Set("Retry-After", large) },
		"RateLimit of 1 MiB":   func(h http.Header) { h.Set("RateLimit", `"a";r=0;t=`+large) },
		"10,000 fields": func(h http.Header) {
			for i := range 10_000 {
				h.Set("X-Ratelimit-Reset-"+strconv.Itoa(i), strconv.Itoa(i))
			}
		},
		"10,000 times the same": func(h http.Header) { h["Ratelimit"] = strings.Split(strings.Repeat(`"a";r=0,`, 10_000), ",") },
		"control bytes":         func(h http.Header) { h["Retry-After"] = []string{"\x01\x7f\u0085" + "5"} },
	} {
		for _, status := range []int{200, 429, 503} {
			t.Run(name+" "+strconv.Itoa(status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					transport, url := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						set(w.Header())
						w.WriteHeader(status)
					}))
					c := client(t, transport, tether.Options{})
					req, err := http.NewRequestWithContext(tether.WithCall(t.Context(), tether.CallOptions{NoWait: true}),
						http.MethodGet, url, nil)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := c.Do(req)
					if err != nil && name != "control bytes" { // which net/http refuses to read, or to write
						t.Fatal(err)
					}
					if err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						if resp.StatusCode != status {
							t.Errorf("status %d", resp.StatusCode)
						}
					}
					for _, h := range c.Engine().Health().Targets {
						if until := time.Until(h.HeldUntil); until > time.Hour {
							t.Errorf("held for %v", until)
						}
					}
				})
			})
		}
	}
}

// TestHostileTexts: what a document says is told in one short line, whatever it says: nobody forges lines of a log,
// or fills one, by publishing.
func TestHostileTexts(t *testing.T) {
	nasty := `\n2026-11-24 ERROR forged \u001b[31m\u202e` + strings.Repeat("long ", 20_000)
	short := `\n\u001b[31m` // where a name has a limit
	kill := `,"kill":[{"name":"k` + nasty + `","match":{},"until":"2100-01-01T00:00:00Z","reason":"` + nasty + `"}]`
	for name, members := range map[string]string{
		"label":          `,"label":"` + nasty + `"`,
		"unknown member": `,"` + nasty + `":1`,
		"skipped kill":   `,"kill":[{"match":{"` + nasty + `":1},"until":"2100-01-01T00:00:00Z"}]`,
		"kill":           kill,
		"stage":          `,"stages":[{"name":"` + short + `","percent":100,"patch":{"` + nasty + `":1}}]`,
		"rule":           `,"rules":[{"name":"` + nasty + `","key":"rule","match":{}}]`,
		"refused rule":   `,"rules":[{"name":"` + nasty + `","match":{},"call":{"timeout":"` + nasty + `"}},{"name":"` + nasty + `","match":{}}]`,
		"schedule":       `,"schedules":{"` + nasty + `":{"every":"-1s"}}`,
		"flag":           `,"flags":{"flags":{"` + nasty + `":{"state":"` + nasty + `","variants":{"` + nasty + `":1},"defaultVariant":"x"}}}`,
		"audience":       `,"audience":{"` + nasty + `":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plain := func(text string) {
					t.Helper()
					if len(text) > 2000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
						t.Errorf("%d bytes: %.200q", len(text), text)
					}
				}
				c := client(t, &backend{serve: dead}, tether.Options{Observe: func(e tether.Event) {
					plain(e.Target + e.Note)
					if e.Err != nil {
						plain(e.Err.Error())
					}
				}})
				notes, err := c.Engine().Apply(document(1, members))
				for _, note := range notes {
					plain(note)
				}
				if err != nil {
					plain(err.Error())
				}
				for range 7 {
					if _, _, err := get(c, api); err != nil {
						plain(err.Error())
					}
				}
			})
		})
	}
}
