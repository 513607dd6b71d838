package criticality

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLevelInHeaderAndContext(t *testing.T) {
	for word, want := range map[string]Level{"critical": Critical, "SHEDDABLE": Sheddable, "default": Default,
		"": Default, "utmost": Default, " critical": Default} {
		var got Level
		h := Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = From(r.Context()) }), "X-Level")
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Level", word)
		if h.ServeHTTP(httptest.NewRecorder(), r); got != want {
			t.Errorf("a request with %q is %v, want %v", word, got, want)
		}
	}
	for _, l := range []Level{Sheddable, Default, Critical} {
		header := http.Header{"X-Level": {"stale"}}
		l.Write(header, "X-Level")
		if got, ok := parse(header.Get("X-Level")); got != l || ok == (l == Default) {
			t.Errorf("%v is written as %q", l, header)
		}
	}
	if got := From(With(t.Context(), 99)); got != Critical {
		t.Errorf("a level out of range is %d in a context", got)
	}
}

func TestLevelInJSON(t *testing.T) {
	for _, l := range []Level{Sheddable, Default, Critical} {
		text, err := json.Marshal(l)
		var back Level
		if err != nil || json.Unmarshal(text, &back) != nil || back != l {
			t.Errorf("%v is written as %s (%v) and read as %v", l, text, err, back)
		}
	}
	for _, text := range []string{`"Critical"`, `1`, `null`, `"utmost"`, `""`} {
		var l Level
		if err := json.Unmarshal([]byte(text), &l); err == nil {
			t.Errorf("%s is read as %v", text, l)
		}
	}
	if _, err := json.Marshal(Level(7)); err == nil {
		t.Error("a level out of range is written")
	}
}
