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
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

func staged(version int, stages ...string) []byte {
	return document(version, `,"stages":[`+strings.Join(stages, ",")+`]`)
}

func newEngine(t testing.TB, opts tether.Options) *tether.Engine {
	t.Helper()
	e, err := tether.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// on applies a document in a new client and returns the stages that it gets.
func on(t testing.TB, opts tether.Options, document []byte) []string {
	t.Helper()
	e := newEngine(t, opts)
	if _, err := e.Apply(document); err != nil {
		t.Fatal(err)
	}
	return e.Health().Stages
}

// TestStageSelects: deny before allow before cohort and percentage; what isn't known leaves a stage out.
func TestStageSelects(t *testing.T) {
	android := map[string]string{"platform": "android", "ring": "2"}
	for _, test := range []struct {
		name, members string
		cohort        map[string]string
		want          bool
	}{
		{"everybody", `"percent":100`, nil, true},
		{"nobody", ``, nil, false},
		{"allowed", `"allow":["me"]`, nil, true},
		{"denied", `"percent":100,"deny":["me"]`, nil, false},
		{"allowed and denied", `"percent":100,"allow":["me"],"deny":["me"]`, nil, false},
		{"of the cohort", `"percent":100,"if":{"cohort":{"platform":["ios","android"]}}`, android, true},
		{"of both", `"percent":100,"if":{"cohort":{"platform":["android"],"ring":["2"]}}`, android, true},
		{"of one of two", `"percent":100,"if":{"cohort":{"platform":["android"],"ring":["3"]}}`, android, false},
		{"another cohort", `"percent":100,"if":{"cohort":{"platform":["ios"]}}`, android, false},
		{"no cohort", `"percent":100,"if":{"cohort":{"platform":["ios"]}}`, nil, false},
		{"allowed from another cohort", `"allow":["me"],"if":{"cohort":{"platform":["ios"]}}`, android, true},
		{"empty if", `"percent":100,"if":{}`, nil, true},
		{"unknown selector", `"percent":100,"if":{"region":["eu"]}`, android, false},
		{"unknown selector beside a known", `"percent":100,"if":{"cohort":{"platform":["android"]},"region":["eu"]}`, android, false},
		{"unknown selector, allowed", `"allow":["me"],"if":{"region":["eu"]}`, android, false},
		{"empty list of values", `"percent":100,"if":{"cohort":{"platform":[]}}`, android, false},
		{"another form of if", `"percent":100,"if":["android"]`, android, false},
		{"another form of cohort", `"percent":100,"if":{"cohort":"android"}`, android, false},
		{"unknown match in its rules", `"percent":100,"patch":{"rules":[{"match":{"region":"eu"}}]}`, nil, false},
		{"unknown member", `"percent":100,"owner":"me"`, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			members := `"name":"s",` + test.members
			if !strings.Contains(members, "patch") {
				members = strings.TrimSuffix(members, ",") + `,"patch":{}`
			}
			opts := tether.Options{ClientID: "me", Cohort: test.cohort}
			if got := on(t, opts, staged(1, "{"+members+"}")); slices.Contains(got, "s") != test.want {
				t.Errorf("stages %q are on", got)
			}
		})
	}
}

// TestStageGroupsNest: a share is as large as it says, contains every smaller one of its name, and has nothing
// to do with that of another name.
func TestStageGroupsNest(t *testing.T) {
	shares := []float64{0, 0.1, 1, 10, 50, 99.9, 100}
	clients := max(500, times(2000))
	counts := make([]int, len(shares))
	both := 0
	for i := range clients {
		var stages []string
		for _, share := range shares {
			stages = append(stages, fmt.Sprintf(`{"name":"s","percent":%v,"patch":{}}`, share))
		}
		before := false
		id := fmt.Sprint("client-", i)
		for n, stage := range stages {
			got := len(on(t, tether.Options{ClientID: id}, staged(1, stage))) > 0
			if before && !got {
				t.Fatalf("%s is in a smaller share than %v, and not in that", id, shares[n])
			}
			if before = got; got {
				counts[n]++
			}
		}
		if len(on(t, tether.Options{ClientID: id}, staged(1, stages[4], `{"name":"other","percent":50,"patch":{}}`))) == 2 {
			both++
		}
	}
	for n, share := range shares {
		want := share / 100 * float64(clients)
		if diff := float64(counts[n]) - want; diff*diff > 16*want+1 || share == 0 && counts[n] > 0 || share == 100 && counts[n] < clients {
			t.Errorf("%v %%: %d of %d", share, counts[n], clients)
		}
	}
	if both < clients/5 || both > clients*3/10 {
		t.Errorf("%d of %d are in both halves", both, clients)
	}
}

// TestStageRefused: what is impossible in a stage refuses the document in every client, whoever it is for.
func TestStageRefused(t *testing.T) {
	for _, test := range []struct{ name, stage, path string }{
		{"no name", `{"patch":{}}`, "stages[0].name"},
		{"no patch", `{"name":"s"}`, "stages[0].patch"},
		{"twice", `{"name":"s","patch":{}},{"name":"s","patch":{}}`, "stages[1].name"},
		{"long name", `{"name":"` + strings.Repeat("s", 101) + `","patch":{}}`, "stages[0].name"},
		{"above 100", `{"name":"s","percent":100.1,"patch":{}}`, "stages[0].percent"},
		{"below 0", `{"name":"s","percent":-1,"patch":{}}`, "stages[0].percent"},
		{"finer than a tenth", `{"name":"s","percent":0.05,"patch":{}}`, "stages[0].percent"},
		{"negative bake", `{"name":"s","bake":"-1s","patch":{}}`, "stages[0].bake"},
		{"kill", `{"name":"s","patch":{"kill":[]}}`, "stages[0].patch.kill"},
		{"version", `{"name":"s","patch":{"version":9}}`, "stages[0].patch.version"},
		{"expires", `{"name":"s","patch":{"expires":"2100-01-01T00:00:00Z"}}`, "stages[0].patch.expires"},
		{"stages", `{"name":"s","patch":{"stages":[]}}`, "stages[0].patch.stages"},
		{"impossible value", `{"name":"s","patch":{"defaults":{"call":{"timeout":"-1s"}}}}`, "stages[0].patch.defaults.call.timeout"},
		{"impossible order", `{"name":"s","patch":{"defaults":{"call":{"retryPolicy":{"initialBackoff":"5s","maxBackoff":"1s"}}}}}`,
			"stages[0].patch.defaults.call.retryPolicy.maxBackoff"},
		{"rule named as the document's", `{"name":"s","patch":{"rules":[{"name":"r","match":{}}]}}`, "stages[0].patch.rules[0].name"},
		{"schedule", `{"name":"s","patch":{"schedules":{"sync":{"every":"0s"}}}}`, "stages[0].patch.schedules.sync.every"},
		{"flags", `{"name":"s","patch":{"flags":{"flags":{"f":{"state":"MAYBE"}}}}}`, "stages[0].patch.flags.flags.f.state"},
		{"flags that are none", `{"name":"s","patch":{"flags":null}}`, "stages[0].patch.flags"},
		{"guards", `{"name":"s","patch":{"flagSettings":{"guards":{"f":{"minCalls":1}}}}}`, "stages[0].patch.flagSettings.guards.f"},
		{"too many", strings.Repeat(`{"name":"s","patch":{}},`, 100) + `{"name":"s","patch":{}}`, "stages"},
		{"no list", ``, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEngine(t, tether.Options{})
			_, err := e.Apply(document(1, `,"rules":[{"name":"r","match":{}}],"stages":[`+test.stage+`]`))
			var refused *policy.Error
			if test.path == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.As(err, &refused) || refused.Problems[0].Path != test.path {
				t.Errorf("error is %v, want one at %s", err, test.path)
			}
		})
	}
}

// TestStagePatches looks at what a stage changes, by what calls then do, within the bounds.
func TestStagePatches(t *testing.T) {
	attempts := func(stages ...string) int {
		b := &backend{serve: always(500)}
		c := client(t, b, tether.Options{InitialRetries: policy.Ptr(2)})
		doc := document(1, `,"defaults":{"call":{"retryPolicy":{"maxAttempts":2,"initialBackoff":"0.25s"}}},`+
			`"rules":[{"match":{"host":"other"},"call":{"timeout":"9s"}}],"stages":[`+strings.Join(stages, ",")+`]`)
		if _, err := c.Engine().Apply(doc); err != nil {
			t.Fatal(err)
		}
		_, _, _ = get(c, api)
		return b.attempts()
	}
	stage := func(name, patch string) string {
		return `{"name":"` + name + `","percent":100,"patch":` + patch + `}`
	}
	one := `{"defaults":{"call":{"retryPolicy":{"maxAttempts":1}}}}`
	three := `{"defaults":{"call":{"retryPolicy":{"maxAttempts":3}}}}`
	for _, test := range []struct {
		name string
		got  int
		want int
	}{
		{"no stage", attempts(), 2},
		{"a member", attempts(stage("a", one)), 1},
		{"later stages win", attempts(stage("a", one), stage("b", three)), 3},
		{"another member stays", attempts(stage("a", `{"defaults":{"call":{"timeout":"10s"}}}`)), 2},
		{"a rule is appended", attempts(stage("a", `{"rules":[{"match":{},"call":{"retryPolicy":{"maxAttempts":1}}}]}`)), 1},
		{"the bounds hold", attempts(stage("a", `{"defaults":{"call":{"retryPolicy":{"maxAttempts":9}}}}`)), 3},
	} {
		if test.got != test.want {
			t.Errorf("%s: %d attempts, want %d", test.name, test.got, test.want)
		}
	}
}

// TestStageOfNewerServer: an old client with a document that it knows half of takes its kills and its known
// rules, and nothing more widely than meant.
func TestStageOfNewerServer(t *testing.T) {
	e := newEngine(t, tether.Options{ClientID: "me"})
	kill := `,"kill":[{"match":{"path":"/export"},"until":"2100-01-01T00:00:00Z"}]`
	none := `,"defaults":{"call":{"retryPolicy":{"maxAttempts":1}}}`
	later := `,"novelty":{"a":1},"stages":[
		{"name":"known","percent":100,"patch":{"novelty":{}}},
		{"name":"selector","percent":100,"if":{"moon":["full"]},"patch":{}},
		{"name":"match","percent":100,"patch":{"rules":[{"match":{"moon":"full"}}]}}]`
	if _, err := e.Apply(document(1, kill+none+later)); err != nil {
		t.Fatal(err)
	}
	if got := e.Health().Stages; !slices.Equal(got, []string{"known"}) {
		t.Errorf("stages %q are on", got)
	}
	c := e.Client(&http.Client{Transport: &backend{serve: always(200)}})
	if _, err := c.Get("http://api.example/export"); !errors.Is(err, tether.ErrKilled) {
		t.Errorf("killed: %v", err)
	}
	// An enum that isn't known refuses the document, and its kills hold.
	kill2 := `,"kill":[{"match":{"path":"/import"},"until":"2100-01-01T00:00:00Z"}]`
	enum := `,"stages":[{"name":"s","percent":100,"patch":{"defaults":{"target":{"pacing":{"mode":"lunar"}}}}}]`
	if _, err := e.Apply(document(2, kill2+enum)); err == nil {
		t.Error("an unknown mode was taken")
	}
	for _, path := range []string{"/export", "/import"} {
		if _, err := c.Get("http://api.example" + path); !errors.Is(err, tether.ErrKilled) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if h := e.Health(); h.Version != 1 {
		t.Errorf("version %d is in force", h.Version)
	}
}

// TestStageIsSticky: who a client is outlives the process by its snapshot, and only where a document has stages.
func TestStageIsSticky(t *testing.T) {
	half := staged(1, `{"name":"s","percent":50,"patch":{}}`)
	for seed := range uint64(20) {
		first := newEngine(t, tether.Options{Seed: seed + 1})
		if kept := first.Snapshot(); kept != nil {
			t.Fatalf("without stages kept %s", kept)
		}
		if _, err := first.Apply(half); err != nil {
			t.Fatal(err)
		}
		kept := first.Snapshot()
		second := newEngine(t, tether.Options{Seed: seed + 100})
		if _, err := second.Readopt(half, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := second.Restore(kept); err != nil {
			t.Fatal(err)
		}
		if a, b := first.Health().Stages, second.Health().Stages; !slices.Equal(a, b) {
			t.Errorf("seed %d: %q, then %q", seed, a, b)
		}
		if again := second.Snapshot(); !bytes.Equal(again, kept) {
			t.Errorf("kept %s, then %s", kept, again)
		}
	}
}

// TestStageMarshals: a Config with stages is written as it is read.
func TestStageMarshals(t *testing.T) {
	text := staged(3, `{"name":"s","percent":0.1,"if":{"cohort":{"platform":["android"]}},"allow":["a"],"deny":["b"],`+
		`"bake":"900s","patch":{"pollInterval":"60s","nudge":["h"],"defaults":{"call":{"timeout":"2s"}},`+
		`"rules":[{"name":"r","match":{"host":"h"},"call":{"timeout":"1s"}}],"schedules":{"sync":{"every":"1200s"}}}}`)
	cfg, notes, err := policy.Parse(text)
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if written, err := json.Marshal(cfg); err != nil || !bytes.Equal(written, text) {
		t.Errorf("%v: wrote\n%s, want\n%s", err, written, text)
	}
}
