package tether

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/tether-go/tether/criticality"
	"github.com/tether-go/tether/policy"
)

// TestWhoseWordCounts: the lower one, unless the bound lets the configuration raise.
func TestWhoseWordCounts(t *testing.T) {
	set := func(c criticality.Level) *criticality.Level { return &c }
	for name, tc := range map[string]struct {
		own, pushed, said *criticality.Level
		raise             bool
		want              criticality.Level
	}{
		"nobody":                             {nil, nil, nil, false, criticality.Default},
		"the call":                           {nil, nil, set(criticality.Critical), false, criticality.Critical},
		"the document":                       {nil, set(criticality.Sheddable), nil, false, criticality.Sheddable},
		"the document lowers":                {nil, set(criticality.Sheddable), set(criticality.Critical), false, criticality.Sheddable},
		"to default":                         {nil, set(criticality.Default), set(criticality.Critical), false, criticality.Default},
		"the call is lower":                  {set(criticality.Critical), nil, set(criticality.Sheddable), false, criticality.Sheddable},
		"the call says default":              {set(criticality.Critical), nil, set(criticality.Default), false, criticality.Default},
		"the application's own":              {set(criticality.Critical), nil, nil, false, criticality.Critical},
		"a document raises nothing":          {nil, set(criticality.Critical), nil, false, criticality.Default},
		"nor what the application lowered":   {set(criticality.Sheddable), set(criticality.Default), nil, false, criticality.Sheddable},
		"but where the bound lets it":        {nil, set(criticality.Critical), nil, true, criticality.Critical},
		"then over the call's word too":      {nil, set(criticality.Critical), set(criticality.Sheddable), true, criticality.Critical},
		"a call's word stands beside none":   {nil, nil, set(criticality.Sheddable), true, criticality.Sheddable},
		"a word out of range is the nearest": {nil, nil, set(7), false, criticality.Critical},
	} {
		t.Run(name, func(t *testing.T) {
			var cfg, doc policy.Document
			cfg.Defaults.Call.Criticality, doc.Defaults.Call.Criticality = tc.own, tc.pushed
			doc.Document, doc.Version = "app", 1
			e, err := New(Options{Policy: cfg, Seed: 1, Bounds: policy.Bounds{RaiseCriticality: tc.raise}})
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Apply(text); err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			if tc.said != nil {
				ctx = criticality.With(ctx, *tc.said)
			}
			var got criticality.Level
			err = e.Do(ctx, Call{Host: "db"}, func(ctx context.Context, _ *Permit) Outcome {
				got = criticality.From(ctx)
				return Outcome{Class: Healthy}
			})
			if err != nil || got != tc.want {
				t.Errorf("%v, %v; want %v", got, err, tc.want)
			}
		})
	}
}
