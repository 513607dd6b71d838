package tether_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

type shopSettings struct {
	Theme  string         `json:"theme"`
	Rows   int            `json:"rows"`
	Limits map[string]int `json:"limits"`
}

func appDocument(version int, app string) []byte {
	if app != "" {
		app = `, "app": ` + app
	}
	return fmt.Appendf(nil, `{"schema": 1, "document": "shop", "version": %d%s}`, version, app)
}

func TestApp(t *testing.T) {
	var notes []string
	engine, err := tether.New(tether.Options{Observe: func(e tether.Event) {
		if e.Kind == tether.EventNote && strings.HasPrefix(e.Note, "app: ") {
			notes = append(notes, e.Note)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	preset := shopSettings{Theme: "plain", Rows: 20, Limits: map[string]int{"a": 1}}
	app, err := tether.NewApp(engine, preset, func(s shopSettings) error {
		switch {
		case s.Rows < 0:
			return errors.New("rows are negative")
		case s.Rows == 13:
			panic("thirteen")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		app   string
		want  shopSettings
		notes int
	}{
		{"", preset, 0},
		{`{"theme": "winter"}`, shopSettings{"winter", 20, preset.Limits}, 0},
		{`{"rows": 30, "limits": {"b": 2}}`, shopSettings{"plain", 30, map[string]int{"a": 1, "b": 2}}, 0},
		{`{"rows": -1}`, shopSettings{"plain", 30, map[string]int{"a": 1, "b": 2}}, 1}, // the last good one
		{`{"rows": "many"}`, shopSettings{"plain", 30, map[string]int{"a": 1, "b": 2}}, 2},
		{`{"rows": 13}`, shopSettings{"plain", 30, map[string]int{"a": 1, "b": 2}}, 3},
		{`{"theme": "summer", "new": 1}`, shopSettings{"summer", 20, preset.Limits}, 3},
		{"", preset, 3},
	} {
		if _, err := engine.Apply(appDocument(i+1, step.app)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			got := app.Get()
			if got.Theme != step.want.Theme || got.Rows != step.want.Rows || !maps.Equal(got.Limits, step.want.Limits) {
				t.Errorf("step %d: %+v, want %+v", i, got, step.want)
			}
		}
		if len(notes) != step.notes {
			t.Errorf("step %d: %d notes, want %d: %q", i, len(notes), step.notes, notes)
		}
	}
	if !maps.Equal(preset.Limits, map[string]int{"a": 1}) {
		t.Error("a document has changed the preset")
	}
	if n := testing.AllocsPerRun(100, func() { app.Get() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The application's own document may have settings too, below a document's.
func TestAppOfTheConfig(t *testing.T) {
	engine, err := tether.New(tether.Options{Policy: policy.Document{App: []byte(`{"rows": 5}`)}})
	if err != nil {
		t.Fatal(err)
	}
	app, err := tether.NewApp(engine, shopSettings{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := app.Get().Rows; got != 5 {
		t.Errorf("%d rows", got)
	}
}

func TestAppRefusesItsPreset(t *testing.T) {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	if _, err := tether.NewApp(engine, 1, func(int) error { return no }); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if _, err := tether.NewApp(engine, make(chan int), nil); err == nil {
		t.Error("a channel was taken")
	}
}

// Readers never see half of two versions, and never an older one after a newer.
func TestAppWhileDocumentsCome(t *testing.T) {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		t.Fatal(err)
	}
	app, err := tether.NewApp(engine, [2]int{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for last := 0; last < 200; {
				got := app.Get()
				if got[0] != got[1] || got[0] < last {
					t.Errorf("%v after %d", got, last)
					return
				}
				last = got[0]
			}
		})
	}
	for i := 1; i <= 200; i++ {
		if _, err := engine.Apply(appDocument(i, fmt.Sprintf("[%d, %d]", i, i))); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}

func ExampleNewApp() {
	engine, err := tether.New(tether.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	type settings struct {
		Theme string `json:"theme"`
		Rows  int    `json:"rows"`
	}
	app, err := tether.NewApp(engine, settings{Theme: "plain", Rows: 20}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(app.Get())
	document := `{"schema": 1, "document": "shop", "version": 1, "app": {"theme": "winter"}}`
	if _, err := engine.Apply([]byte(document)); err != nil { // as a watcher does
		fmt.Println(err)
	}
	fmt.Println(app.Get())
	// Output:
	// {plain 20}
	// {winter 20}
}

// TestAppListsAreReplaced: of a list that a document has, and of an entry of a map, nothing comes from the preset's.
func TestAppListsAreReplaced(t *testing.T) {
	type server struct {
		Name   string            `json:"name"`
		Weight int               `json:"weight"`
		Tags   map[string]string `json:"tags"`
	}
	type settings struct {
		Servers []server                     `json:"servers"`
		Deep    map[string]map[string]server `json:"deep"`
		Theme   string                       `json:"theme"`
	}
	preset := settings{
		Theme:   "plain",
		Servers: []server{{"a", 5, map[string]string{"x": "y"}}, {"b", 6, nil}},
		Deep:    map[string]map[string]server{"in": {"a": {"a", 1, nil}}},
	}
	engine := newEngine(t, tether.Options{})
	app, err := tether.NewApp(engine, preset, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Apply(appDocument(1, `{"servers": [{"name": "c"}], "deep": {"in": {"a": {"weight": 2}, "b": {"weight": 3}}}, "theme": null}`)); err != nil {
		t.Fatal(err)
	}
	want := settings{Servers: []server{{Name: "c"}},
		Deep: map[string]map[string]server{"in": {"a": {"", 2, nil}, "b": {"", 3, nil}}}, Theme: "plain"}
	if got := app.Get(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
