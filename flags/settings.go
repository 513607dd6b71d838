package flags

import (
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
	for key, policy := range read.Guards {
		if err := policy.Validate(); err != nil {
			l.refuse(v.Member("guards").Member(key), "flagSettings.guards."+key, err.Error(), "")
		}
	}
	l.set.guards = read.Guards
}
