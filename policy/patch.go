package policy

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

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

// Patched returns cfg with patches over it, in order. It changes none of them, and does each patch once.
func Patched(cfg Document, patches ...*Patch) Document {
	cfg = PatchedFlags(cfg, patches...)
	base := Patch{PollInterval: cfg.PollInterval, Nudge: cfg.Nudge, Defaults: cfg.Defaults,
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

// PatchedFlags is patched of the flags and their settings alone.
func PatchedFlags(cfg Document, patches ...*Patch) Document {
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

// PatchesOf are the patches of stages, in order.
func PatchesOf(on []Rollout) []*Patch {
	patches := make([]*Patch, len(on))
	for i := range on {
		patches[i] = &on[i].Patch
	}
	return patches
}

func (p *Patch) HasFlags() bool { return len(p.Flags) > 0 || len(p.FlagSettings) > 0 }

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

func (p *Patch) SetsTimeouts() bool {
	sets := func(s *CallSettings) bool { return s.Timeout != nil || s.AttemptTimeout != nil }
	for i := range p.Rules {
		if sets(&p.Rules[i].Call) {
			return true
		}
	}
	return sets(&p.Defaults.Call)
}

// ChangesFlag tells whether a patch has something to say about a flag, beside how its guard works.
func (p *Patch) ChangesFlag(key string) bool {
	var document struct{ Flags map[string]json.RawMessage }
	return json.Unmarshal(p.Flags, &document) == nil && document.Flags[key] != nil
}

// RoutesBy tells whether a patch routes by a flag; by "": by any.
func (p *Patch) RoutesBy(flag string) bool {
	is := func(r *RouteSettings) bool { return r != nil && len(r.To) > 0 && (flag == "" || r.Flag == flag) }
	for i := range p.Rules {
		if is(p.Rules[i].Call.Route) {
			return true
		}
	}
	return is(p.Defaults.Call.Route)
}
