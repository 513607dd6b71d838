package tether

import (
	"time"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/ratelimit/pacing"
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

// shed refuses a sheddable call for which the more critical ones that wait already leave no time: at the
// rate of now their turns take all of its patience. Others wait, for the rate may rise meanwhile.
func (c *call) shed(at place, now time.Time) *obstacle {
	if c.criticality != criticality.Sheddable {
		return nil
	}
	ahead, rate := at.line.Ahead(criticality.Default), c.rate(at)
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
	if at.breaker == nil || c.target.deference.Pace(c.criticality) == 0 {
		return nil
	}
	if until, _ := at.gate.Status(); !until.IsZero() { // which the gate says itself
		return nil
	}
	retryAt, ok := c.target.deference.Take(c.criticality, waiting)
	if ok {
		return nil
	}
	return &obstacle{stage: StagePacing, reason: pacing.ErrPaced, retryAt: retryAt, shed: true, change: true}
}

// untake gives back what let the call through at its target, when nothing is sent.
func (c *call) untake() {
	c.target.deference.Untake(c.criticality)
	c.target.gate.Untake()
}

// rate is how many calls like this one a place lets through a second; 0: as many as want.
func (c *call) rate(at place) float64 {
	rate := at.rate()
	if at.breaker == nil {
		return rate
	}
	if own := c.target.deference.Pace(c.criticality); own > 0 && (rate == 0 || own < rate) {
		return own
	}
	return rate
}
