package tether

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync/atomic"
)

// App is the application's own settings, the member "app" of the document in force, as a value of the
// application's own type. It is safe for concurrent use.
type App[T any] struct {
	engine *Engine
	preset []byte
	check  func(T) error
	now    atomic.Pointer[appValue[T]]
	reads  atomic.Bool // new settings are being read, by one call
}

type appValue[T any] struct {
	value  T
	app    json.RawMessage // what value was made of
	serial uint64          // of the newest configuration that was looked at
}

// NewApp returns the application's settings in the documents that the engine gets. Preset is what holds
// where a document says nothing: members that it leaves out keep preset's value, while a list, and an entry of a
// map, is the document's whole. Check refuses values that
// make no sense; nil refuses none. T is what encoding/json reads and writes: unexported fields are lost. An
// error says that preset can't be written, or that check refuses it.
func NewApp[T any](e *Engine, preset T, check func(T) error) (*App[T], error) {
	a := &App[T]{engine: e, check: check}
	var err error
	if a.preset, err = json.Marshal(preset); err != nil {
		return nil, fmt.Errorf("tether: app: %w", err)
	}
	value, err := a.read(nil)
	if err != nil {
		return nil, fmt.Errorf("tether: app: %w", err)
	}
	a.now.Store(&appValue[T]{value: value})
	a.follow() // or the first calls, at once, would get the preset where a document says more
	return a, nil
}

// Get returns the settings that are in force. Settings that can't be read as a T, or that the check
// refuses, change nothing: the last good ones stay, and the engine's observer is told once, as EventNote.
// One call reads new settings; others have those before until it has. What Get returns is shared: do not change what it points to. After the first call for a configuration
// it is two loads.
func (a *App[T]) Get() T {
	now, config := a.now.Load(), a.engine.config.Load()
	if now.serial != config.serial {
		now = a.follow()
	}
	return now.value
}

// follow looks at the configuration in force.
func (a *App[T]) follow() *appValue[T] {
	next, err := a.replace()
	if err != nil {
		a.engine.emit(Event{Kind: EventNote, Version: a.engine.config.Load().version(),
			Note: "app: " + err.Error() + ": the settings before stay"})
	}
	return next
}

func (a *App[T]) replace() (*appValue[T], error) {
	if !a.reads.CompareAndSwap(false, true) {
		return a.now.Load(), nil
	}
	defer a.reads.Store(false)
	now, config := a.now.Load(), a.engine.config.Load()
	if now.serial >= config.serial {
		return now, nil
	}
	next := &appValue[T]{value: now.value, app: now.app, serial: config.serial}
	app := config.pushed.App
	if app == nil {
		app = a.engine.local.App
	}
	var err error
	if !bytes.Equal(app, now.app) {
		var value T
		if value, err = a.read(app); err == nil {
			next.value, next.app = value, app
		}
	}
	a.now.Store(next)
	return next, err
}

// read makes a value of the preset and what the document says beside it. The application's own code
// may panic in it; that costs the settings, not the caller.
func (a *App[T]) read(app json.RawMessage) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panicked: %v", p)
		}
	}()
	if err := json.Unmarshal(lessLists(a.preset, app), &value); err != nil {
		return value, err
	}
	if len(app) > 0 {
		if err := json.Unmarshal(app, &value); err != nil {
			return value, err
		}
	}
	if a.check != nil {
		err = a.check(value)
	}
	return value, err
}

// lessLists is the JSON text base without the lists that top has others for. Decoding a list over one that is
// there would leave parts of the old one's elements in the new one's.
func lessLists(base, top json.RawMessage) json.RawMessage {
	isList := func(text json.RawMessage) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) }
	if isList(base) && isList(top) {
		return json.RawMessage("null")
	}
	var under, upper map[string]json.RawMessage
	if json.Unmarshal(base, &under) != nil || json.Unmarshal(top, &upper) != nil {
		return base
	}
	for name, value := range upper {
		if before := under[name]; before != nil {
			under[name] = lessLists(before, value)
		}
	}
	if less, err := json.Marshal(under); err == nil && under != nil {
		return less
	}
	return base
}
