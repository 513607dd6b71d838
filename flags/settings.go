package flags

import (
	"slices"

	"github.com/tether-go/tether/internal/jsondoc"
)

// flagSettings is what is tether's own, beside flagd's document.
type flagSettings struct {
	Bucketing *int                   `json:"bucketing"`
	Guards    map[string]GuardPolicy `json:"guards"`
}

// settings reads the member flagSettings, which may be absent.
func (l *loader) settings(v *jsondoc.Value) {
	if v == nil {
		return
	}
	var read flagSettings
	var binder jsondoc.Binder
	binder.Bind(v, "flagSettings", &read)
	for _, p := range binder.Problems {
		l.refused = append(l.refused, Problem(p))
	}
	for _, p := range binder.Unknown {
		l.notes = append(l.notes, Problem(p))
	}
	if read.Bucketing != nil {
		l.bucketing = *read.Bucketing
		if l.bucketing != bucketing2 && l.bucketing != bucketing3 {
			l.refuse(v.Member("bucketing"), "flagSettings.bucketing", "is no bucketing that this version knows",
				"write 2 or 3")
		}
	}
	l.once(v, "flagSettings")
	if guards := v.Member("guards"); guards != nil {
		l.once(guards, "flagSettings.guards")
		for i := range guards.Items {
			l.guard(&guards.Items[i], read.Guards)
		}
	}
	l.set.guards = read.Guards
}

// guard looks at what was read of one guard.
func (l *loader) guard(guard *jsondoc.Value, read map[string]GuardPolicy) {
	at := jsondoc.Join("flagSettings.guards", guard.Name)
	l.once(guard, at)
	if err := read[guard.Name].Validate(); err != nil {
		l.refuse(guard, at, err.Error(), "")
	}
	l.zeros(guard, at)
}

// zeros refuses a 0 that would silently mean the default.
func (l *loader) zeros(guard *jsondoc.Value, path string) {
	for i := range guard.Items {
		member := &guard.Items[i]
		zero := member.Kind == jsondoc.Number && plain(member) == 0.0
		if member.Kind == jsondoc.String {
			d, err := jsondoc.ParseDuration(member.Text)
			zero = err == nil && d == 0
		}
		if zero && slices.Contains(jsondoc.Names[GuardPolicy](), member.Name) {
			l.refuse(member, jsondoc.Join(path, member.Name), "is 0, which is no setting",
				"leave the member out for its default")
		}
	}
}

// strayGuards notes guards of flags that aren't there.
func (l *loader) strayGuards(settings *jsondoc.Value) {
	if len(l.set.guards) == 0 {
		return
	}
	guards := settings.Member("guards")
	for i := range guards.Items {
		if guard := &guards.Items[i]; l.set.flags[guard.Name] == nil {
			l.note(guard, jsondoc.Join("flagSettings.guards", guard.Name),
				"guards a flag that isn't in the document", "")
		}
	}
}
