package tether

import (
	"fmt"
	"slices"
	"time"
)

// killInForce is a published kill with every end that it has. Its own Until is capped.
type killInForce struct {
	Kill
	asked time.Time // its end as published, by the clock
	last  time.Time // its end by the time that passes in this process: the clock may be set
}

func (k *killInForce) over(now time.Time) bool {
	return !now.Before(k.Until) || !now.Before(k.asked) || !k.last.IsZero() && !now.Before(k.last)
}

// killsInForce caps kills from when they were applied, and notes which.
func (b Bounds) killsInForce(kills []Kill, applied time.Time) (all []killInForce, notes []Note) {
	capped, notes := b.capKills(kills, applied)
	last := time.Now().Add(b.withDefaults().MaxKill)
	for i := range capped {
		all = append(all, killInForce{capped[i], kills[i].Until, last})
	}
	return all, notes
}

// joined adds kills to those that are on. Of two for the same calls the one that ends later stays, and of more
// than a document may have, the newest do: mistakes must not heap up either.
func joined(on, more []killInForce) (kills []killInForce) {
	at := make(map[string]int)
	for _, k := range slices.Concat(on, more) {
		match := fmt.Sprintf("%q", k.Match)
		i, known := at[match]
		switch {
		case !known:
			at[match], kills = len(kills), append(kills, k)
		case k.Until.After(kills[i].Until):
			kills[i] = k
		}
	}
	return kills[max(0, len(kills)-maxKills):]
}

// said is the kill's name and reason, for people who read events.
func (k *Kill) said() string {
	if k.Name == "" || k.Reason == "" {
		return k.Name + k.Reason
	}
	return k.Name + ": " + k.Reason
}

// killsOn are the kills that are in force.
func (s *snapshot) killsOn(now time.Time) (on []Kill) {
	for i := range s.kills {
		if k := &s.kills[i].kill; !k.over(now) {
			on = append(on, k.Kill)
		}
	}
	return on
}

func published(kills []killInForce) (all []Kill) {
	for i := range kills {
		all = append(all, kills[i].Kill)
	}
	return all
}

// stop adds kills to those of the application's own Config.
func (s *snapshot) stop(kills []killInForce) {
	for _, k := range kills {
		if m, ok := understoodMatch(k.Match); ok {
			s.kills = append(s.kills, snapshotKill{m, k})
		}
	}
}
