package hint_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tether-go/tether/ratelimit/hint"
)

var update = flag.Bool("update", false, "write docs/hints.md instead of comparing it")

// vector is one answer and what is to be read from it; testdata/hints.json explains the members.
type vector struct {
	Name    string
	Status  int
	Headers map[string][]string
	Now     time.Time
	Profile string
	Source  string
	Note    string
	Expect  expected
}

type expected struct {
	RetryAfter   *int64 `json:"retry_after_ms"`
	Limit        *int64
	Remaining    *int64
	Reset        *int64 `json:"reset_ms"`
	Window       int64  `json:"window_ms"`
	Partition    string
	PartitionKey string `json:"partition_key"`
	Unit         string
	ShouldRetry  *bool  `json:"should_retry"`
	Wait         *int64 `json:"wait_ms"`
}

// grpcVector is the same of a gRPC answer.
type grpcVector struct {
	Name     string
	Trailers map[string][]string
	Details  []struct {
		RetryDelay string `json:"retryDelay"`
	} `json:"status_details"`
	Expect struct {
		RetryAfter *int64 `json:"retry_after_ms"`
		Exact      bool
		DoNotRetry bool `json:"do_not_retry"`
	}
}

func readVectors(t *testing.T) (vectors []vector, grpc []grpcVector) {
	t.Helper()
	data, err := os.ReadFile("testdata/hints.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []vector
		GRPC    []grpcVector
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 90 || len(file.GRPC) < 9 {
		t.Fatalf("%d and %d vectors: some are lost", len(file.Vectors), len(file.GRPC))
	}
	return file.Vectors, file.GRPC
}

// profiles are those that vectors name.
var profiles = map[string]hint.Profile{
	"delta-ms":     {Reset: hint.ResetDeltaMillis},
	"bare-429-60s": {Bare429: time.Minute},
}

func (v vector) header() http.Header {
	h := http.Header{}
	for name, lines := range v.Headers {
		for _, line := range lines {
			h.Add(name, line)
		}
	}
	return h
}

func (v vector) read() expected {
	said := profiles[v.Profile].ParseHeader(v.header(), v.Now)
	q := said.Quota
	got := expected{Window: milliseconds(q.Window), Partition: said.Partition, Unit: q.Unit,
		PartitionKey: base64.StdEncoding.EncodeToString([]byte(said.PartitionKey))}
	known := func(known bool, n int64) *int64 {
		if known {
			return &n
		}
		return nil
	}
	got.RetryAfter = known(said.Explicit, milliseconds(said.Wait))
	got.Limit, got.Remaining = known(q.LimitKnown, q.Limit), known(q.RemainingKnown, q.Remaining)
	got.Reset = known(q.ResetKnown, milliseconds(q.Reset))
	got.Wait = known(said.Verdict != hint.DontRepeat, milliseconds(said.MinWait(v.Status)))
	if said.Verdict != hint.Unsaid {
		may := said.Verdict == hint.Repeat
		got.ShouldRetry = &may
	}
	return got
}

func TestHintVectors(t *testing.T) {
	vectors, _ := readVectors(t)
	for _, v := range vectors {
		if got := v.read(); got.String() != v.Expect.String() {
			t.Errorf("%s:\n got %v\nwant %v", v.Name, got, v.Expect)
		}
	}
}

func (e expected) String() string {
	text, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestGRPCVectors(t *testing.T) {
	_, vectors := readVectors(t)
	for _, v := range vectors {
		g := hint.GRPC{Pushback: v.Trailers["grpc-retry-pushback-ms"]}
		for _, detail := range v.Details {
			delay, err := time.ParseDuration(detail.RetryDelay)
			if err != nil {
				t.Fatal(err)
			}
			g.RetryDelay, g.HasRetryDelay = delay, true
		}
		got, want := g.Hint(), v.Expect
		if got.Explicit != (want.RetryAfter != nil) || got.Explicit && milliseconds(got.Wait) != *want.RetryAfter ||
			got.Exact != want.Exact || (got.Verdict == hint.DontRepeat) != want.DoNotRetry {
			t.Errorf("%s: got %+v, want %s ms, %+v", v.Name, got, show(want.RetryAfter), want)
		}
	}
}

func TestPushback(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"0": 0, "007": 7 * time.Millisecond, "2147483647": (1<<31 - 1) * time.Millisecond,
		"2147483648": -1, "-1": -1, "-2147483649": -1, "+5": -1, " 5": -1, "5 ": -1, "0x5": -1, "1e3": -1, "5, 7": -1, "²": -1,
		strings.Repeat("9", 1000): -1,
	} {
		got := hint.GRPC{Pushback: []string{value}}.Hint()
		if forbidden := got.Verdict == hint.DontRepeat; forbidden != (want < 0) || !forbidden && got.Wait != want {
			t.Errorf("%.20q: got %+v, want %v", value, got, want)
		}
	}
	for _, delay := range []time.Duration{-time.Nanosecond, -time.Hour} {
		if got := (hint.GRPC{RetryDelay: delay, HasRetryDelay: true}).Hint(); got.Explicit {
			t.Errorf("%v: got %+v, want nothing", delay, got)
		}
	}
}

func ExampleGRPC_Hint() {
	said := hint.GRPC{
		Pushback:   []string{"100"},
		RetryDelay: 9 * time.Second, HasRetryDelay: true,
		Violations: []hint.Violation{{Subject: "project:shop", ID: "reads-per-minute"}},
	}.Hint()
	fmt.Println(said.Wait, said.Exact, said.Partition)
	// Output: 9s false reads-per-minute
}

// TestHintsDocument keeps the table of docs/hints.md: it says what this code reads, and nobody else.
func TestHintsDocument(t *testing.T) {
	const path, from, to = "../../docs/hints.md", "<!-- table -->\n", "<!-- end of table -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	want := before + from + table(t) + to + after
	switch {
	case want == string(text):
	case *update:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the code reads: run \"go test ./ratelimit/hint -update\"", path)
	}
}

func table(t *testing.T) string {
	vectors, _ := readVectors(t)
	var b strings.Builder
	b.WriteString("| Case | Answer | Read as | Least wait | Source |\n|---|---|---|---|---|\n")
	for _, v := range vectors {
		lines := []string{strconv.Itoa(v.Status)}
		for name, values := range v.Headers {
			if name == "Date" && !strings.HasPrefix(v.Name, "ra-") || name == "Location" {
				continue
			}
			for _, value := range values {
				lines = append(lines, fmt.Sprintf("`%s: %s`", name, strings.ReplaceAll(value, "|", "\\|")))
			}
		}
		slices.Sort(lines)
		name := v.Name
		if v.Profile != "" {
			name += " (profile " + v.Profile + ")"
		}
		source := v.Source
		if v.Note != "" {
			source += ". " + v.Note
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, strings.Join(lines, "<br>"), v.Expect.words(),
			v.Expect.waitWords(), source)
	}
	return b.String()
}

func (e expected) words() string {
	var words []string
	add := func(format string, n *int64, unit bool) {
		if n == nil {
			return
		}
		value := strconv.FormatInt(*n, 10)
		if unit {
			value = (time.Duration(min(*n, longest.Milliseconds())) * time.Millisecond).String()
		}
		words = append(words, fmt.Sprintf(format, value))
	}
	add("wait %s", e.RetryAfter, true)
	add("%s left", e.Remaining, false)
	add("of %s", e.Limit, false)
	add("more in %s", e.Reset, true)
	if e.Window > 0 {
		add("window %s", &e.Window, true)
	}
	if e.Unit != "" {
		words = append(words, "of "+e.Unit)
	}
	if e.Partition != "" {
		words = append(words, "for `"+e.Partition+"`")
	}
	if e.ShouldRetry != nil {
		words = append(words, map[bool]string{true: "repeat", false: "don't repeat"}[*e.ShouldRetry])
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

func (e expected) waitWords() string {
	switch {
	case e.Wait == nil:
		return "no repeat"
	case *e.Wait == 0:
		return "none"
	}
	return (time.Duration(min(*e.Wait, longest.Milliseconds())) * time.Millisecond).String()
}
