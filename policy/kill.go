package policy

import (
	"fmt"
	"slices"
	"time"
)

// KillInForce is a published kill with every end that it has. Its own Until is capped.
type KillInForce struct {
	Kill
	asked time.Time // its end as published, by the clock
	last  time.Time // its end by the time that passes in this process: the clock may be set
}

func (k *KillInForce) over(now time.Time) bool {
	return !now.Before(k.Until) || !now.Before(k.asked) || !k.last.IsZero() && !now.Before(k.last)
}

// KillsInForce caps kills from when they were applied, and notes which.
func (b Bounds) KillsInForce(kills []Kill, applied time.Time) (all []KillInForce, notes []Note) {
	capped, notes := b.capKills(kills, applied)
	last := time.Now().Add(b.withDefaults().MaxKill)
	for i := range capped {
		all = append(all, KillInForce{capped[i], kills[i].Until, last})
	}
	return all, notes
}

// JoinKills adds kills to those that are on. Of two for the same calls the one that ends later stays, and of more
// than a document may have, the newest do: mistakes must not heap up either.
func JoinKills(on, more []KillInForce) (kills []KillInForce) {
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
	return kills[max(0, len(kills)-MaxKills):]
}

// Said is the kill's name and reason, for people who read events.
func (k *Kill) Said() string {
	if k.Name == "" || k.Reason == "" {
		return k.Name + k.Reason
	}
	return k.Name + ": " + k.Reason
}

// KillsOn are the kills that are in force.
func (s *Compiled) KillsOn(now time.Time) (on []Kill) {
	for i := range s.Kills {
		if k := &s.Kills[i].kill; !k.over(now) {
			on = append(on, k.Kill)
		}
	}
	return on
}

func KillsOf(kills []KillInForce) (all []Kill) {
	for i := range kills {
		all = append(all, kills[i].Kill)
	}
	return all
}

// Stop adds kills to those of the application's own Document.
func (s *Compiled) Stop(kills []KillInForce) {
	for _, k := range kills {
		if m, ok := understoodMatch(k.Match); ok {
			s.Kills = append(s.Kills, compiledKill{m, k})
		}
	}
}
