package tether

import (
	"context"
	"maps"

	"github.com/tether-go/tether/flags"
)

type attributesKey struct{}

// WithAttributes returns a context whose HTTP calls are routed as the flags say of these attributes: a user,
// a session, an object, a place; see [policy.RouteSettings]. What they leave out is the client's: [Options].Cohort,
// and its ClientID as the targeting key. The map is copied, what is in it is not to be changed.
func WithAttributes(ctx context.Context, a flags.Attributes) context.Context {
	return context.WithValue(ctx, attributesKey{}, maps.Clone(a))
}

// attributes are what flags know of a call that is to be routed.
func (e *Engine) attributes(ctx context.Context) flags.Attributes {
	own, _ := ctx.Value(attributesKey{}).(flags.Attributes)
	all := make(flags.Attributes, len(own)+len(e.client.cohort)+1)
	for name, value := range e.client.cohort {
		all[name] = value
	}
	all[flags.TargetingKey] = *e.clientID.Load()
	maps.Copy(all, own)
	return all
}
