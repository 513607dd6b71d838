package tether

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tether-go/tether/internal/jsondoc"
	"github.com/tether-go/tether/ratelimit"
)

// Criticality says which calls go first where calls have to wait, and which are refused first (SRE
// book, chapter 21). Where nothing stands in the way of calls it changes nothing.
type Criticality int8

// The criticalities. What is below Default is Sheddable, what is above it Critical.
const (
	Sheddable Criticality = -1 // nobody notices that it failed: prefetching, suggestions, reports
	Default   Criticality = 0
	Critical  Criticality = 1 // somebody waits for it who can't do without; few calls should be
)

// String returns "sheddable", "default" or "critical".
func (c Criticality) String() string {
	return [...]string{"sheddable", "default", "critical"}[c.inRange()-Sheddable]
}

func (c Criticality) inRange() Criticality { return min(max(c, Sheddable), Critical) }

// parseCriticality reads what String writes, in any case.
func parseCriticality(word string) (c Criticality, ok bool) {
	for c := Sheddable; c <= Critical; c++ {
		if strings.EqualFold(word, c.String()) {
			return c, true
		}
	}
	return Default, false
}

// MarshalJSON writes the word that String returns.
func (c Criticality) MarshalJSON() ([]byte, error) {
	if c != c.inRange() {
		return nil, fmt.Errorf("tether: criticality is %d, not from -1 to 1", int8(c))
	}
	return json.Marshal(c.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Criticality) UnmarshalJSON(text []byte) error {
	var word string
	if json.Unmarshal(text, &word) == nil {
		if read, ok := parseCriticality(word); ok && word == read.String() {
			*c = read
			return nil
		}
	}
	return &jsondoc.Hinted{Problem: "is not a word that is known here",
		Hint: "write one of " + strings.Join(criticalities, ", ")}
}

// write puts it into a header; Default is the field's absence.
func (c Criticality) write(h http.Header, field string) {
	if c == Default {
		h.Del(field)
		return
	}
	h.Set(field, c.String())
}

// wordOf is a criticality's place among the words of its setting, and criticalityAt the other way.
func wordOf(c Criticality) float64        { return float64(c.inRange() - Sheddable) }
func criticalityAt(v float64) Criticality { return Criticality(v) + Sheddable }

type criticalityKey struct{}

// WithCriticality returns a context whose calls, over HTTP, by [Engine.Do] and by [Engine.Begin], are
// that critical. Calls that are made for another one inherit it by its context.
func WithCriticality(ctx context.Context, c Criticality) context.Context {
	return context.WithValue(ctx, criticalityKey{}, c.inRange())
}

// CriticalityFrom returns what [WithCriticality] or [ReadCriticality] said of ctx's calls, else Default.
// In an attempt's context it is what the call goes by: the configuration may have lowered it.
func CriticalityFrom(ctx context.Context) Criticality {
	c, _ := ctx.Value(criticalityKey{}).(Criticality)
	return c
}

// CriticalityHeader returns [Options].CriticalityHeader, for edges that write it themselves.
func (e *Engine) CriticalityHeader() string { return e.opts.CriticalityHeader }

// ReadCriticality returns a handler that gives each request the criticality that its header field of
// that name says ([Options].CriticalityHeader writes it), so that the calls made for it inherit that.
// A field that is missing or unknown is Default. It believes the client: use it where that is one of
// yours. It changes nothing else.
func ReadCriticality(next http.Handler, header string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, _ := parseCriticality(r.Header.Get(header)); c != Default {
			r = r.WithContext(WithCriticality(r.Context(), c))
		}
		next.ServeHTTP(w, r)
	})
}

// ceiling is what the configuration says of a call's criticality, if it says anything.
type ceiling struct {
	set bool
	at  Criticality
}

func ceilingOf(v float64) ceiling {
	if v == unsetNumber {
		return ceiling{}
	}
	return ceiling{true, criticalityAt(v)}
}

// setCriticality settles the call's own criticality and the configuration's. One that says nothing of
// itself takes the configuration's.
func (v *visit) setCriticality() {
	own, said := v.Context.Value(criticalityKey{}).(Criticality)
	v.criticality = own
	if at := v.policy.criticality; at.set && (!said || at.at < own || v.engine.opts.Bounds.RaiseCriticality) {
		v.criticality = at.at
	}
}

// shed refuses a sheddable call for which the more critical ones that wait already leave no time: at the
// rate of now their turns take all of its patience. Others wait, for the rate may rise meanwhile.
func (c *call) shed(at place, now time.Time) *obstacle {
	if c.criticality != Sheddable {
		return nil
	}
	ahead, rate := at.line.ahead(Default), c.rate(at)
	if ahead == 0 || rate == 0 {
		return nil
	}
	turn := now.Add(time.Duration(float64(ahead) / rate * float64(time.Second)))
	if turn.Sub(now) <= c.patience(now) {
		return nil
	}
	o := c.behind(at)
	if o.shed = true; o.retryAt.Before(turn) {
		o.retryAt = turn
	}
	return o
}

// defers keeps a call back at its target that gives way to more critical ones.
func (c *call) defers(at place, waiting int) *obstacle {
	if at.breaker == nil || c.target.deference.pace(c.criticality) == 0 {
		return nil
	}
	if until, _ := at.gate.Status(); !until.IsZero() { // which the gate says itself
		return nil
	}
	retryAt, ok := c.target.deference.take(c.criticality, waiting)
	if ok {
		return nil
	}
	return &obstacle{stage: StagePacing, reason: ratelimit.ErrPaced, retryAt: retryAt, shed: true, change: true}
}

// untake gives back what let the call through at its target, when nothing is sent.
func (c *call) untake() {
	c.target.deference.untake(c.criticality)
	c.target.gate.Untake()
}

// rate is how many calls like this one a place lets through a second; 0: as many as want.
func (c *call) rate(at place) float64 {
	rate := at.rate()
	if at.breaker == nil {
		return rate
	}
	if own := c.target.deference.pace(c.criticality); own > 0 && (rate == 0 || own < rate) {
		return own
	}
	return rate
}
