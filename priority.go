package tether

import (
	"github.com/tether-go/tether/criticality"
)

// CriticalityHeader returns [Options].CriticalityHeader, for edges that write it themselves.
func (e *Engine) CriticalityHeader() string { return e.opts.CriticalityHeader }

// setCriticality settles the call's own criticality and the configuration's. One that says nothing of
// itself takes the configuration's.
func (v *visit) setCriticality() {
	own, said := v.Context.Value(criticality.ContextKey{}).(criticality.Level)
	v.criticality = own
	if at := v.policy.Criticality; at.Set && (!said || at.At < own || v.engine.opts.Bounds.RaiseCriticality) {
		v.criticality = at.At
	}
}
