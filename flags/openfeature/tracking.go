package openfeature

import (
	"context"
	"sync"
	"time"

	sdk "github.com/open-feature/go-sdk/openfeature"

	"github.com/tether-go/tether/flags"
)

// maxPending bounds the evaluations of one flag whose outcome is awaited.
const maxPending = 1000

// Failed is the attribute of a tracking event that says whether the path failed: true, or left out.
const Failed = "failed"

// tracked is a guarded flag, and the evaluations whose outcome it has yet to hear of.
type tracked struct {
	guard *flags.Guard

	mu      sync.Mutex // guards what follows
	pending map[string]evaluated
}

type evaluated struct {
	call  flags.GuardedCall
	since time.Time
}

// Track tells a guard of [Options].Guards how the path that an evaluation chose has ended: the event's name is
// the flag's key, the evaluation context has the same targeting key, the event's value is the time that the
// path took, in seconds (0: since the evaluation), and the attribute [Failed] is true for a failure. Of several
// evaluations by one targeting key the latest one counts, and at most 1,000 are awaited for each flag. Other
// events are ignored: tether has nowhere to send them.
func (p *Provider) Track(_ context.Context, name string, evaluationContext sdk.EvaluationContext,
	details sdk.TrackingEventDetails) {
	t := p.guards[name]
	if t == nil {
		return
	}
	was, awaited := t.take(evaluationContext.TargetingKey())
	if !awaited {
		return
	}
	took := time.Since(was.since)
	if seconds := details.Value(); seconds > 0 && seconds < time.Hour.Seconds() {
		took = time.Duration(seconds * float64(time.Second))
	}
	failed, _ := details.Attribute(Failed).(bool)
	was.call.Done(failed, took, nil)
}

// guarded is what a guard makes of an evaluation: a flag that is turned off here is false, DISABLED.
func (p *Provider) guarded(flag string, attributes sdk.FlattenedContext, d flags.Details[bool]) flags.Details[bool] {
	t := p.guards[flag]
	if t == nil || d.Code != "" || d.Reason == flags.Disabled {
		return d
	}
	who, _ := attributes[sdk.TargetingKey].(string)
	if earlier, was := t.take(who); was { // else nobody would end it, were it a call that tries the flag again
		earlier.call.Cancel()
	}
	call := t.guard.Begin(d.Value)
	if d.Value && !call.New() {
		d.Value, d.Variant, d.Reason = false, "", flags.Disabled
	}
	if lost, was := t.put(who, evaluated{call, time.Now()}); was {
		lost.call.Cancel()
	}
	return d
}

// put keeps an evaluation, and returns one that has to go for it.
func (t *tracked) put(who string, e evaluated) (lost evaluated, was bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := who // which another call of the same may have put meanwhile
	if _, is := t.pending[who]; !is && len(t.pending) >= maxPending {
		for gone = range t.pending {
			break
		}
	}
	lost, was = t.pending[gone]
	delete(t.pending, gone)
	t.pending[who] = e
	return lost, was
}

func (t *tracked) take(who string) (e evaluated, is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, is = t.pending[who]
	delete(t.pending, who)
	return e, is
}
