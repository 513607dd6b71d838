package tether

import (
	"slices"
	"sort"
	"time"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/policy"
)

// staged is a configuration with its stages, ready to be put in force.
type staged struct {
	config   policy.Document
	snapshot *policy.Compiled
	notes    []policy.Note
}

// stage makes the published document, with the patches of some of its stages in order, ready. What comes out is
// clamped as a whole, so that a stage can't loosen anything beyond the bounds either.
func (e *Engine) stage(document policy.Document, kills []policy.KillInForce, on []policy.Rollout) (s staged) {
	s.config, s.notes = e.opts.Bounds.Clamp(policy.Patched(document, policy.PatchesOf(on)...), e.local)
	s.config.Kill = nil
	s.snapshot = policy.Compile(e.local, s.config, e.opts.Bounds)
	s.snapshot.Stop(kills)
	s.config.Kill = policy.KillsOf(kills)
	return s
}

// stagedFlags compiles the document's flags with as many of its stages as can be together, and returns the stages
// that can't be with those before them. What was compiled when the document was read is not compiled again.
func (e *Engine) stagedFlags(document *policy.Document, read policy.Flags, on []policy.Rollout,
) (set *flags.Set, kept, bad []policy.Rollout) {
	set = read.Plain
	switch change := flagStages(on); {
	case len(change) == 0:
		return set, on, nil
	case len(change) == 1 && read.Staged[change[0]] != nil:
		return read.Staged[change[0]], on, nil
	}
	if both, ok := e.flagsWith(document, on); ok {
		return both, on, nil
	}
	for _, s := range on {
		if kept = append(kept, s); !s.Patch.HasFlags() {
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

// flagStages are the names of the stages that change flags.
func flagStages(on []policy.Rollout) (names []string) {
	for i := range on {
		if on[i].Patch.HasFlags() {
			names = append(names, on[i].Name)
		}
	}
	return names
}

func (e *Engine) flagsWith(document *policy.Document, on []policy.Rollout) (set *flags.Set, ok bool) {
	defer func() { _ = recover() }() // the stage is left out, and told
	both := policy.PatchedFlags(*document, policy.PatchesOf(on)...)
	set, problems := both.FlagSet(&e.tally)
	return set, len(problems) == 0
}

// withStages builds with as many stages as can be built with, and returns those that panicked. Without any it lets
// a panic go: that is the document's.
func withStages(on []policy.Rollout, build func(on []policy.Rollout) staged) (s staged, kept, bad []policy.Rollout) {
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

func builds(on []policy.Rollout, build func([]policy.Rollout) staged) (s staged, ok bool) {
	defer func() {
		if len(on) > 0 && !ok {
			_ = recover() // the stage is left out, and told
		}
	}()
	return build(on), true
}

// stagesFor are the stages of a document that this client gets, and has not rolled back.
func (e *Engine) stagesFor(published policy.Document) (on []policy.Rollout) {
	for i := range published.Stages {
		if s := &published.Stages[i]; e.gets(s) {
			on = append(on, *s)
		}
	}
	return on
}

// gets tells whether this client gets a stage, and has not rolled it back. e.applying is held.
func (e *Engine) gets(s *policy.Rollout) bool {
	return !slices.Contains(e.latched, s.Name) && s.Gets(e.client.id, e.client.cohort)
}

// putStaged puts a document in force with the stages that this client gets. e.applying is held.
func (e *Engine) putStaged(published policy.Document, read policy.Flags, kills []policy.KillInForce, document []byte,
	since time.Time) []policy.Note {
	on := e.stagesFor(published)
	both, on, bad := e.stagedFlags(&published, read, on)
	build := func(on []policy.Rollout) staged { return e.stage(published, kills, on) }
	s, on, worse := withStages(on, build)
	if len(worse) > 0 {
		both, on, _ = e.stagedFlags(&published, read, on)
	}
	bad = append(bad, worse...)
	for i := range bad {
		e.latch(bad[i].Name, "it can't be applied")
	}
	old := e.config.Load()
	next := &current{Compiled: s.snapshot, flags: both, plain: read.Plain, pushed: s.config, published: published,
		document: document, serial: old.serial + 1, since: since, replaced: make(chan struct{}), on: on, inForce: kills}
	next.trials = e.trialsOf(next, old)
	e.targets.Resplit(old.Compiled, next.Compiled)
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
		e.putStaged(c.published, policy.Flags{Plain: c.plain}, c.inForce, c.document, c.since)
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
	e.latched = e.latched[max(0, len(e.latched)-policy.MaxRollouts):]
	e.note(Event{Kind: EventRolledBack, Version: e.config.Load().version(), Note: name + ": " + why})
}

// maxPanics is how many stages are looked for that can't be applied. None is known that can be published, and each
// takes several tries to find: beyond that none is applied.
const maxPanics = 4
