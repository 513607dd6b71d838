package tether_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
