package tether

import (
	"maps"
	"reflect"
	"slices"
	"sort"
	"time"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/jsondoc"
)

// How deep patches merge: of flags down to "flags", the flag's key and its members, of the application's
// settings as deep as a document goes.
const (
	flagMember = 3
	whole      = maxDepth
)

// evaluators are flagd's: its members are rules, and two rules in one are none. So they merge one level less.
const evaluators = "$evaluators"

// patched returns cfg with patches over it, in order. It changes none of them, and does each patch once.
func patched(cfg Config, patches ...*ConfigPatch) Config {
	cfg = patchedFlags(cfg, patches...)
	base := ConfigPatch{PollInterval: cfg.PollInterval, Nudge: cfg.Nudge, Defaults: cfg.Defaults,
		Schedules: maps.Clone(cfg.Schedules)}
	app, rules := jsondoc.Over(cfg.App), slices.Clip(cfg.Rules)
	for _, p := range patches {
		lay(reflect.ValueOf(&base).Elem(), reflect.ValueOf(p).Elem())
		rules = append(rules, p.Rules...)
		if len(p.App) > 0 {
			app.Lay(p.App, whole, evaluators)
		}
	}
	cfg.PollInterval, cfg.Nudge, cfg.Defaults, cfg.Schedules = base.PollInterval, base.Nudge, base.Defaults, base.Schedules
	cfg.Rules, cfg.App = rules, app.Bytes()
	return cfg
}

// patchedFlags is patched of the flags and their settings alone.
func patchedFlags(cfg Config, patches ...*ConfigPatch) Config {
	flags, settings := jsondoc.Over(cfg.Flags), jsondoc.Over(cfg.FlagSettings)
	for _, p := range patches {
		if len(p.Flags) > 0 {
			flags.Lay(p.Flags, flagMember, evaluators)
		}
		if len(p.FlagSettings) > 0 {
			settings.Lay(p.FlagSettings, flagMember, evaluators)
		}
	}
	cfg.Flags, cfg.FlagSettings = flags.Bytes(), settings.Bytes()
	return cfg
}

// patchesOf are the patches of stages, in order.
func patchesOf(on []ConfigStage) []*ConfigPatch {
	patches := make([]*ConfigPatch, len(on))
	for i := range on {
		patches[i] = &on[i].Patch
	}
	return patches
}

func (p *ConfigPatch) hasFlags() bool { return len(p.Flags) > 0 || len(p.FlagSettings) > 0 }

// lay puts what over sets on top of base, member by member; what over leaves out stays. Whatever base
// points to may be shared, and is copied before it is changed. Its maps are its own.
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
		if base.IsNil() {
			base.Set(reflect.MakeMapWithSize(over.Type(), over.Len()))
		}
		for entries := over.MapRange(); entries.Next(); {
			entry := reflect.New(over.Type().Elem()).Elem()
			if before := base.MapIndex(entries.Key()); before.IsValid() {
				entry.Set(before)
			}
			lay(entry, entries.Value())
			base.SetMapIndex(entries.Key(), entry)
		}
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
}

// stage makes the published document, with the patches of some of its stages in order, ready. What comes out is
// clamped as a whole, so that a stage can't loosen anything beyond the bounds either.
func (e *Engine) stage(document Config, kills []killInForce, on []ConfigStage) (s staged) {
	s.config, s.notes = e.opts.Bounds.Clamp(patched(document, patchesOf(on)...), e.local)
	s.config.Kill = nil
	s.snapshot = compile(e.local, s.config, e.opts.Bounds)
	s.snapshot.stop(kills)
	s.config.Kill = published(kills)
	return s
}

// stagedFlags compiles the document's flags with as many of its stages as can be together, and returns the stages
// that can't be with those before them. Without a stage that changes flags they are set, which are compiled.
func (e *Engine) stagedFlags(document *Config, set *flags.Set, on []ConfigStage) (_ *flags.Set, kept, bad []ConfigStage) {
	if !slices.ContainsFunc(on, func(s ConfigStage) bool { return s.Patch.hasFlags() }) {
		return set, on, nil
	}
	if both, ok := e.flagsWith(document, on); ok {
		return both, on, nil
	}
	for _, s := range on {
		if kept = append(kept, s); !s.Patch.hasFlags() {
			continue
		}
		if both, ok := e.flagsWith(document, kept); ok {
			set = both
		} else {
			kept, bad = kept[:len(kept)-1], append(bad, s)
		}
	}
	return set, kept, bad
}

func (e *Engine) flagsWith(document *Config, on []ConfigStage) (set *flags.Set, ok bool) {
	defer func() { _ = recover() }() // the stage is left out, and told
	both := patchedFlags(*document, patchesOf(on)...)
	set, problems := both.flagSet(&e.tally)
	return set, len(problems) == 0
}

// maxPanics is how many stages are looked for that can't be applied. None is known that can be published, and each
// takes several tries to find: beyond that none is applied.
const maxPanics = 4

// withStages builds with as many stages as can be built with, and returns those that panicked. Without any it lets
// a panic go: that is the document's.
func withStages(on []ConfigStage, build func(on []ConfigStage) staged) (s staged, kept, bad []ConfigStage) {
	s, ok := builds(on, build)
	for kept = on; !ok; {
		if len(bad) == maxPanics {
			return build(nil), nil, append(bad, kept...)
		}
		first := sort.Search(len(kept)-1, func(n int) bool { // with which it panics
			_, ok := builds(kept[:n+1], build)
			return !ok
		})
		bad = append(bad, kept[first])
		kept = slices.Concat(kept[:first], kept[first+1:])
		s, ok = builds(kept, build)
	}
	return s, kept, bad
}

func builds(on []ConfigStage, build func([]ConfigStage) staged) (s staged, ok bool) {
	defer func() {
		if len(on) > 0 && !ok {
			_ = recover() // the stage is left out, and told
		}
	}()
	return build(on), true
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
	on := e.stagesFor(published)
	both, on, bad := e.stagedFlags(&published, set, on)
	build := func(on []ConfigStage) staged { return e.stage(published, kills, on) }
	s, on, worse := withStages(on, build)
	if len(worse) > 0 {
		both, on, _ = e.stagedFlags(&published, set, on)
	}
	bad = append(bad, worse...)
	for i := range bad {
		e.latch(bad[i].Name, "it can't be applied")
	}
	old := e.config.Load()
	next := &current{snapshot: s.snapshot, flags: both, plain: set, pushed: s.config, published: published, document: document,
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
