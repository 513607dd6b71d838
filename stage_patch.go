package tether

import (
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/tether-go/tether/flags"
)

// patched returns cfg with a stage's patch over it. It changes neither.
func patched(cfg Config, p *ConfigPatch) Config {
	rules := slices.Concat(cfg.Rules, p.Rules)
	base := ConfigPatch{PollInterval: cfg.PollInterval, Nudge: cfg.Nudge, Defaults: cfg.Defaults, Schedules: cfg.Schedules}
	lay(reflect.ValueOf(&base).Elem(), reflect.ValueOf(p).Elem())
	cfg.PollInterval, cfg.Nudge, cfg.Defaults, cfg.Schedules = base.PollInterval, base.Nudge, base.Defaults, base.Schedules
	cfg.Rules = rules
	const flagMember, whole = 3, maxDepth // "flags", the flag's key, its members
	cfg.Flags = mergedJSON(cfg.Flags, p.Flags, flagMember)
	cfg.FlagSettings = mergedJSON(cfg.FlagSettings, p.FlagSettings, flagMember)
	cfg.App = mergedJSON(cfg.App, p.App, whole)
	return cfg
}

func (p *ConfigPatch) hasFlags() bool { return len(p.Flags) > 0 || len(p.FlagSettings) > 0 }

// mergedJSON lays over on top of base, objects member by member down to a depth. Null is a value, as everywhere
// in the document.
func mergedJSON(base, over json.RawMessage, depth int) json.RawMessage {
	var under, members map[string]json.RawMessage
	switch {
	case len(over) == 0:
		return base
	case depth == 0 || json.Unmarshal(over, &members) != nil || members == nil:
		return over
	case json.Unmarshal(base, &under) != nil || under == nil:
		return over
	}
	for name, member := range members {
		deeper := depth - 1
		if name == "$evaluators" { // flagd's: its members are rules, and two rules in one are none
			deeper--
		}
		under[name] = mergedJSON(under[name], member, deeper)
	}
	both, _ := json.Marshal(under) // of what was just read
	return both
}

// lay puts what over sets on top of base, member by member; what over leaves out stays. Whatever base
// points to may be shared, and is copied before it is changed.
func lay(base, over reflect.Value) {
	switch over.Kind() {
	case reflect.Struct:
		for i := range over.NumField() {
			lay(base.Field(i), over.Field(i))
		}
	case reflect.Pointer:
		if over.IsNil() {
			return
		}
		if over.Type() == reflect.TypeFor[*RouteSettings]() { // half of one and half of another is none
			base.Set(over)
			return
		}
		own := reflect.New(over.Type().Elem())
		if !base.IsNil() {
			own.Elem().Set(base.Elem())
		}
		if own.Elem().Kind() == reflect.Struct {
			lay(own.Elem(), over.Elem())
		} else {
			own.Elem().Set(over.Elem()) // a zero is a value here
		}
		base.Set(own)
	case reflect.Map:
		if over.IsNil() {
			return
		}
		own := reflect.MakeMap(over.Type())
		for _, from := range [...]reflect.Value{base, over} {
			for entries := from.MapRange(); entries.Next(); {
				entry := reflect.New(over.Type().Elem()).Elem()
				if before := own.MapIndex(entries.Key()); before.IsValid() {
					entry.Set(before)
				}
				lay(entry, entries.Value())
				own.SetMapIndex(entries.Key(), entry)
			}
		}
		base.Set(own)
	default:
		if !over.IsZero() {
			base.Set(over)
		}
	}
}

// staged is a configuration with its stages, ready to be put in force.
type staged struct {
	config   Config
	snapshot *snapshot
	notes    []Note
	flags    *flags.Set
	err      error // the flags can't be put together
}

// stage makes the published document, with the patches of some of its stages in order, ready. What comes out is
// clamped as a whole, so that a stage can't loosen anything beyond the bounds either.
func (e *Engine) stage(document Config, set *flags.Set, kills []killInForce, on []ConfigStage) (s staged) {
	merged, own := document, false
	for i := range on {
		merged, own = patched(merged, &on[i].Patch), own || on[i].Patch.hasFlags()
	}
	if s.flags = set; own {
		var problems []Problem
		if s.flags, problems = merged.flagSet(&e.tally); len(problems) > 0 {
			s.err = &ConfigError{Problems: problems}
		}
	}
	s.config, s.notes = e.opts.Bounds.Clamp(merged, e.local)
	s.config.Kill = nil
	s.snapshot = compile(e.local, s.config, e.opts.Bounds)
	s.snapshot.stop(kills)
	s.config.Kill = published(kills)
	return s
}

// withStages builds with as many stages as can be built with, and returns those that panicked or failed. Without
// any it lets a panic go: that is the document's.
func withStages(on []ConfigStage, build func(on []ConfigStage) staged) (s staged, kept, bad []ConfigStage) {
	if s, ok := builds(on, build); ok || len(on) == 0 {
		return s, on, nil
	}
	s = build(nil)
	for i := range on {
		if next, ok := builds(append(slices.Clip(kept), on[i]), build); ok {
			s, kept = next, append(kept, on[i])
		} else {
			bad = append(bad, on[i])
		}
	}
	return s, kept, bad
}

func builds(on []ConfigStage, build func([]ConfigStage) staged) (s staged, ok bool) {
	defer func() {
		if len(on) > 0 && !ok {
			_ = recover() // the stage is left out, and told
		}
	}()
	s = build(on)
	return s, s.err == nil
}

// stagesFor are the stages of a document that this client gets, and has not rolled back.
func (e *Engine) stagesFor(published Config) (on []ConfigStage) {
	for i := range published.Stages {
		s := &published.Stages[i]
		if !slices.Contains(e.latched, s.Name) && e.client.gets(s) {
			on = append(on, *s)
		}
	}
	return on
}

// putStaged puts a document in force with the stages that this client gets. e.applying is held.
func (e *Engine) putStaged(published Config, set *flags.Set, kills []killInForce, document []byte, since time.Time) []Note {
	build := func(on []ConfigStage) staged { return e.stage(published, set, kills, on) }
	s, on, bad := withStages(e.stagesFor(published), build)
	for i := range bad {
		e.latch(bad[i].Name, "it can't be applied")
	}
	old := e.config.Load()
	next := &current{snapshot: s.snapshot, flags: s.flags, plain: set, pushed: s.config, published: published, document: document,
		serial: old.serial + 1, since: since, replaced: make(chan struct{}), on: on, inForce: kills}
	next.trials = e.trialsOf(next, old)
	e.regroup(old.snapshot, next.snapshot)
	e.config.Store(next)
	close(old.replaced)
	for i := range on {
		if !slices.Contains(old.stageNames(), on[i].Name) {
			e.note(Event{Kind: EventStaged, Version: published.Version, Note: on[i].Name})
		}
	}
	return s.notes
}

// restage puts the same document in force once more, after what decides about its stages has changed.
// e.applying is held; e.flagsChanged is to be called when it is free.
func (e *Engine) restage() {
	if c := e.config.Load(); len(c.published.Stages) > 0 {
		e.putStaged(c.published, c.plain, c.inForce, c.document, c.since)
	}
}

// restaged tells what restage has changed. No lock is held.
func (e *Engine) restaged() {
	e.flagsChanged()
	e.events.Deliver()
}

// stageNames are the stages that are on, in the document's order.
func (c *current) stageNames() (names []string) {
	for i := range c.on {
		names = append(names, c.on[i].Name)
	}
	return names
}

// rolledBack are those stages of the document in force that this client has rolled back. e.applying is not held.
func (e *Engine) rolledBack(c *current) (names []string) {
	e.applying.Lock()
	defer e.applying.Unlock()
	for i := range c.published.Stages {
		if name := c.published.Stages[i].Name; slices.Contains(e.latched, name) {
			names = append(names, name)
		}
	}
	return names
}

// latch has a stage stay off until its name changes. e.applying is held.
func (e *Engine) latch(name, why string) {
	if slices.Contains(e.latched, name) {
		return
	}
	e.latched = append(e.latched, name)
	e.latched = e.latched[max(0, len(e.latched)-maxStages):]
	e.note(Event{Kind: EventRolledBack, Version: e.config.Load().version(), Note: name + ": " + why})
}
