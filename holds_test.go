package tether_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/ratelimit/pacing"
)

// TestHoldOutlivesTheProcess: nothing leaves before the server's time (law 2), and clients that were
// restored together return apart (laws 3 and 4).
func TestHoldOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(503, "Retry-After", "600")}
		first := client(t, b, tether.Options{})
		get(first, api)
		held := first.Engine().Health().Targets[0].HeldUntil
		snapshot := first.Engine().Snapshot()
		time.Sleep(time.Minute)

		const fleet = 200
		b = &backend{serve: always(200)}
		for i := range fleet {
			c := client(t, b, tether.Options{Seed: uint64(i + 1)})
			if err := c.Engine().Restore(snapshot); err != nil {
				t.Fatal(err)
			}
			if again := c.Engine().Snapshot(); !bytes.Equal(again, snapshot) {
				t.Fatalf("became %s, was %s", again, snapshot)
			}
			if _, _, err := get(c, api); !errors.Is(err, pacing.ErrHeld) {
				t.Fatalf("restored: %v", err)
			}
			go func() {
				for range 5 { // each gives up after 10 s, until the hold is over
					time.Sleep(time.Until(held) - time.Second)
					if status, _, _ := get(c, api); status == 200 {
						return
					}
				}
			}()
		}
		time.Sleep(time.Until(held) - time.Nanosecond)
		if n := b.attempts(); n != 0 {
			t.Fatalf("%d attempts before %v", n, held)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		perSecond := map[time.Duration]int{}
		for _, at := range b.times {
			perSecond[at.Sub(held)/time.Second]++
		}
		most := 0
		for _, n := range perSecond {
			most = max(most, n)
		}
		t.Logf("%d of %d clients returned, at most %d in a second", len(b.times), fleet, most)
		if len(b.times) < fleet/2 || most > fleet/3 {
			t.Errorf("%d returned, %d of them in one second", len(b.times), most)
		}
	})
}

// TestRestoreBelievesLittle: a snapshot is a file that anybody may have changed.
func TestRestoreBelievesLittle(t *testing.T) {
	until := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339Nano) }
	hold := func(host string, d time.Duration) string {
		return fmt.Sprintf(`{"scheme":"http","host":%q,"until":%q}`, host, until(d))
	}
	holds := func(all ...string) []byte { return []byte(`{"tether":1,"holds":[` + strings.Join(all, ",") + `]}`) }
	synctest.Test(t, func(t *testing.T) {
		for name, bad := range map[string][]byte{
			"nothing": nil, "empty": []byte("{}"), "text": []byte("held"), "later": []byte(`{"tether":2}`),
			"torn": holds(hold("a", time.Hour))[:50], "list": []byte(`[]`), "null": []byte("null"),
			"bad time": []byte(`{"tether":1,"holds":[{"host":"a","until":"soon"}]}`),
			"large":    append(holds(hold("a", time.Hour)), bytes.Repeat([]byte(" "), 256<<10)...),
			"deep":     bytes.Repeat([]byte(`{"holds":[`), 20_000),
		} {
			e := engine(t, tether.Options{})
			if err := e.Restore(bad); !errors.Is(err, tether.ErrSnapshot) || len(e.Health().Targets) != 0 {
				t.Errorf("%s: %v, %d targets", name, err, len(e.Health().Targets))
			}
		}

		e := engine(t, tether.Options{MaxTargets: 10})
		if err := e.Restore(holds(hold("past", -time.Hour), hold("", time.Hour), hold("now", 0),
			hold(strings.Repeat("x", 1000), time.Hour))); err != nil || len(e.Health().Targets) != 0 {
			t.Errorf("error %v, %+v", err, e.Health())
		}
		if err := e.Restore(holds(`{"scheme":"http","host":"long","until":"9999-12-31T23:59:59Z"}`)); err != nil {
			t.Fatal(err)
		}
		if got := time.Until(e.Health().Targets[0].HeldUntil); got != time.Hour {
			t.Errorf("held for %v, want the policy's hour", got)
		}
		// What is held can't be forgotten: a snapshot must leave room for the others.
		var many []string
		for i := range 400 {
			many = append(many, hold(fmt.Sprint("h", i), time.Hour))
		}
		if err := e.Restore(holds(many...)); err != nil || len(e.Health().Targets) > 6 {
			t.Errorf("error %v, %d of 10 targets are held", err, len(e.Health().Targets))
		}
		if err := e.Restore(holds(hold("long", time.Minute))); err != nil {
			t.Fatal(err)
		}
		for _, target := range e.Health().Targets {
			if target.Target == "long" && time.Until(target.HeldUntil) != time.Hour {
				t.Errorf("a hold was shortened to %v", time.Until(target.HeldUntil))
			}
		}
	})
}

// TestRestoredHoldGoesByThePolicyInForce: a target that is there already has the settings of its last call, while a
// restored hold lasts as long as the policy of the next one lets it.
func TestRestoredHoldGoesByThePolicyInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := client(t, b, tether.Options{Bounds: policy.Bounds{MinHoldMax: time.Minute}})
		get(c, api) // with a hold.max of 1 h
		if _, err := c.Engine().Apply(document(1, `,"defaults":{"target":{"hold":{"max":"60s"}}}`)); err != nil {
			t.Fatal(err)
		}
		saved := fmt.Sprintf(`{"tether":1,"holds":[{"scheme":"http","host":"api.example","until":%q}]}`,
			time.Now().Add(30*time.Minute).Format(time.RFC3339Nano))
		if err := c.Engine().Restore([]byte(saved)); err != nil {
			t.Fatal(err)
		}
		targets := c.Engine().Health().Targets
		if len(targets) != 1 || time.Until(targets[0].HeldUntil) != time.Minute {
			t.Errorf("want one target, held for a minute: %+v", targets)
		}
	})
}

// TestSnapshotIsBounded: it has the longest holds of many, and none of a credential.
func TestSnapshotIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 503
		b := &backend{}
		b.serve = always(503, "Retry-After", "60")
		c := client(t, b, tether.Options{})
		if s := c.Engine().Snapshot(); s != nil {
			t.Errorf("of nothing: %s", s)
		}
		for i := range 600 {
			b.becomes(always(status, "Retry-After", fmt.Sprint(60+i)))
			get(c, fmt.Sprintf("http://%s%d.example", strings.Repeat("h", 180), i))
		}
		b.becomes(always(429, "Retry-After", "3600"))
		get(c, "http://credential.example")
		get(c, "http://"+strings.Repeat("long.", 200)+"example")
		snapshot := c.Engine().Snapshot()
		var got struct{ Holds []struct{ Host string } }
		if err := json.Unmarshal(snapshot, &got); err != nil {
			t.Fatal(err)
		}
		hosts := make([]string, 0, len(got.Holds))
		for _, h := range got.Holds {
			hosts = append(hosts, strings.TrimLeft(h.Host, "h"))
		}
		if len(hosts) != 500 || hosts[0] != "599.example" || !slices.Contains(hosts, "100.example") ||
			slices.Contains(hosts, "99.example") || len(snapshot) > 256<<10 {
			t.Errorf("%d holds in %d bytes, the first %v", len(hosts), len(snapshot), hosts[:1])
		}
		if bytes.Contains(snapshot, []byte("credential")) {
			t.Error("a credential's hold is in it")
		}
		time.Sleep(time.Hour)
		if s := c.Engine().Snapshot(); s != nil {
			t.Errorf("after all of them: %s", s)
		}
	})
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"tether":1,"holds":[{"scheme":"http","host":"a","until":"2100-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"tether":1,"holds":[{"host":"a","rule":"r","until":"9999-12-31T23:59:59.999Z"},null]}`))
	f.Add([]byte(`{"tether":1,"refused":{"sha256":"00","since":"1999-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"tether":1,"refused":{"sha256":"` + strings.Repeat("0", 64) + `","since":"0001-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"tether":1e0}`))
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		e, err := tether.New(tether.Options{Seed: 1, MaxTargets: 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Restore(snapshot); err != nil && !errors.Is(err, tether.ErrSnapshot) {
			t.Fatal(err)
		}
		targets := e.Health().Targets
		if len(targets) > 11 {
			t.Fatalf("%d targets of 20", len(targets))
		}
		for _, target := range targets {
			if wait := time.Until(target.HeldUntil); wait > time.Hour {
				t.Fatalf("%q is held for %v", target.Target, wait)
			}
		}
		if again := e.Snapshot(); again != nil && e.Restore(again) != nil {
			t.Fatalf("%s isn't read back", again)
		}
	})
}

// TestHoldOutlivesItsRule: what a server told calls to wait for holds for the same calls when a document, or a
// stage that is rolled back, gives them to other state than before.
func TestHoldOutlivesItsRule(t *testing.T) {
	const rule = `{"name":"a","key":"rule","match":{"host":"api.example","path":"/a"},"target":{"concurrency":{"max":1000}}}`
	divided, whole := `,"rules":[`+rule+`]`, ``
	for _, test := range []struct {
		name string
		docs []string // the answer to the call after the first is a 503 at that document
		held int      // under which document the hold comes
		path string   // whose call is held
	}{
		{"a rule that is taken away", []string{divided, whole}, 0, "/a"},
		{"a rule that comes back", []string{divided, whole, divided}, 1, "/b"},
		{"a rule that comes", []string{whole, divided}, 0, "/b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failing := ""
				b := &backend{serve: func(req *http.Request, _ int) (*http.Response, error) {
					if req.URL.Path == failing {
						resp := answer(req, 503)
						resp.Header.Set("Retry-After", "600")
						return resp, nil
					}
					return answer(req, 200), nil
				}}
				c := client(t, b, tether.Options{})
				noWait := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
				call := func(path string) error {
					req, err := http.NewRequestWithContext(noWait, http.MethodGet, "http://api.example"+path, strings.NewReader(""))
					if err != nil {
						t.Fatal(err)
					}
					resp, err := c.Do(req)
					if err == nil {
						resp.Body.Close()
					}
					return err
				}
				for i, doc := range test.docs {
					if _, err := c.Engine().Apply(document(i+1, doc)); err != nil {
						t.Fatal(err)
					}
					if i > test.held {
						continue
					}
					for _, path := range []string{"/a", "/b"} {
						if err := call(path); err != nil {
							t.Fatal(err)
						}
					}
					if i == test.held {
						failing = test.path
						_ = call(test.path)
						failing = ""
					}
				}
				if before := b.attempts(); call("/a") == nil || b.attempts() > before {
					t.Error("a call left within the hold")
				}
				time.Sleep(11 * time.Minute)
				if err := call("/a"); err != nil {
					t.Errorf("after the hold: %v", err)
				}
			})
		})
	}
}
