package openfeature

import (
	"maps"
	"slices"

	sdk "github.com/open-feature/go-sdk/openfeature"

	"github.com/tether-go/tether/remoteconfig"
)

// maxEvents bounds what the SDK has yet to hear of. What is more is put together.
const maxEvents = 16

// EventChannel returns the channel of the provider's events, which is never closed.
func (p *Provider) EventChannel() <-chan sdk.Event { return p.events }

// Observe tells the SDK how the source of the flags fares: STALE while it is away or what it has is
// refused, for then the last good flags are in force, or ERROR where there were none; READY again when it
// recovers. It is meant for remoteconfig.Options.Observe, and never waits.
func (p *Provider) Observe(e remoteconfig.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	message := ""
	if e.Err != nil {
		message = e.Err.Error()
	}
	switch e.Kind {
	case remoteconfig.EventFailed, remoteconfig.EventRefused:
		if p.known {
			p.become(sdk.StaleState, message)
		} else {
			p.become(sdk.ErrorState, message)
		}
	case remoteconfig.EventApplied, remoteconfig.EventRecovered:
		if e.Kind == remoteconfig.EventApplied {
			p.arrive()
		}
		if p.known {
			p.become(sdk.ReadyState, "")
		}
	}
}

// changed hears of the store's flags.
func (p *Provider) changed(keys []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrive()
	if p.stop == nil { // shut down while the store told of it
		return
	}
	if p.state == sdk.ErrorState {
		p.become(sdk.ReadyState, "")
	}
	p.send(sdk.Event{EventType: sdk.ProviderConfigChange,
		ProviderEventDetails: sdk.ProviderEventDetails{FlagChanges: keys}})
}

// arrive lets whoever waits for the first flags go. It is called with the lock held.
func (p *Provider) arrive() {
	if !p.known {
		p.known = true
		close(p.arrived)
	}
}

// become tells of another state than before, once initialised: until then it is the SDK that tells. It is
// called with the lock held.
func (p *Provider) become(state sdk.State, message string) {
	if p.state == state || p.state == sdk.NotReadyState {
		return
	}
	p.state = state
	kind := sdk.ProviderReady
	switch state {
	case sdk.StaleState:
		kind = sdk.ProviderStale
	case sdk.ErrorState:
		kind = sdk.ProviderError
	}
	p.send(sdk.Event{EventType: kind, ProviderEventDetails: sdk.ProviderEventDetails{Message: message}})
}

// send never waits: when the SDK is too slow, what waits becomes the last state and one change of every
// key. It is called with the lock held, so nobody else fills the room that it makes.
func (p *Provider) send(e sdk.Event) {
	e.ProviderName = p.Metadata().Name
	select {
	case p.events <- e:
		return
	default:
	}
	var pending []sdk.Event
	for range maxEvents {
		select {
		case earlier := <-p.events:
			pending = append(pending, earlier)
		default: // the SDK took it meanwhile
		}
	}
	changes := make(map[string]bool)
	var state *sdk.Event
	pending = append(pending, e)
	for i := range pending {
		for _, key := range pending[i].FlagChanges {
			changes[key] = true
		}
		if pending[i].EventType != sdk.ProviderConfigChange {
			state = &pending[i]
		}
	}
	if state != nil {
		p.events <- *state
	}
	if len(changes) > 0 {
		p.events <- sdk.Event{ProviderName: e.ProviderName, EventType: sdk.ProviderConfigChange,
			ProviderEventDetails: sdk.ProviderEventDetails{FlagChanges: slices.Sorted(maps.Keys(changes))}}
	}
}
