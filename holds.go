package tether

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"
)

// ErrSnapshot means that what [Engine.Restore] was given is not a snapshot that this version reads.
var ErrSnapshot = errors.New("tether: the snapshot is damaged, or of another version")

const (
	// snapshotFormat is the version of the snapshot's form.
	snapshotFormat = 1
	// maxHolds and maxHoldBytes bound a snapshot, and with it what reading one may cost.
	maxHolds         = 500
	maxHoldBytes     = 500 // of one hold in JSON: a host has 253 at most
	maxSnapshotBytes = 256 << 10
)

// outliving is what should outlive the process, as Snapshot writes it.
type outliving struct {
	Format  int           `json:"tether"`
	Holds   []savedHold   `json:"holds,omitempty"`
	Refused *savedRefusal `json:"refused,omitempty"`
	Client  string        `json:"client,omitempty"`  // its id, once a document has stages
	Latched []string      `json:"latched,omitempty"` // stages
}

type savedHold struct {
	Scheme  string    `json:"scheme,omitempty"`
	Host    string    `json:"host"`
	Service string    `json:"service,omitempty"`
	Rule    string    `json:"rule,omitempty"`
	Until   time.Time `json:"until"`
}

type savedRefusal struct {
	Sum   string    `json:"sha256"`
	Since time.Time `json:"since"`
}

// Snapshot returns what should outlive the process, for [Engine.Restore] in the next one: the holds
// that servers asked for (the 500 longest), and since when the kills of a refused document are in
// force. It has at most 256 KiB, and is nil if there is nothing. It names servers and holds no
// credential; so a hold that covers one credential only (a 429) isn't in it: what tells credentials
// apart is a key of this process. While nothing changes it is the same, byte for byte. A watcher of
// package remoteconfig with a cache keeps it by itself.
func (e *Engine) Snapshot() []byte {
	state := outliving{Format: snapshotFormat, Holds: e.holds()}
	e.applying.Lock()
	if n := len(e.refused); n > 0 {
		refused := e.refused[n-1]
		state.Refused = &savedRefusal{hex.EncodeToString(refused.sum[:]), refused.since.UTC()}
	}
	if !e.client.given && (len(e.config.Load().published.Stages) > 0 || e.client.kept) {
		state.Client = e.client.id
	}
	state.Latched = slices.Clone(e.latched)
	e.applying.Unlock()
	if state.Holds == nil && state.Refused == nil && state.Client == "" && state.Latched == nil {
		return nil
	}
	snapshot, err := json.Marshal(state)
	if err != nil || len(snapshot) > maxSnapshotBytes {
		return nil // a time beyond the year 9999, by a clock that is wrong
	}
	return snapshot
}

// holds lists the holds that are on, the longest first.
func (e *Engine) holds() (holds []savedHold) {
	for key, until := range e.targets.Held() {
		holds = append(holds, savedHold{key.Scheme, key.Host, key.Service, key.Rule, until.UTC()})
	}
	holds = slices.DeleteFunc(holds, func(h savedHold) bool {
		text, err := json.Marshal(h)
		return err != nil || len(text) > maxHoldBytes
	})
	slices.SortFunc(holds, func(a, b savedHold) int {
		return cmp.Or(b.Until.Compare(a.Until), cmp.Compare(a.Host, b.Host),
			cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Rule, b.Rule))
	})
	return holds[:min(len(holds), maxHolds)]
}

// Restore takes up what an earlier process kept with [Engine.Snapshot]: call it before the first
// call, and after [Engine.Readopt] if there is a document. A hold that is still to end keeps calls
// back until then, at most as long as the policy of its server lets one last from now on; calls
// return from it in random phase, like from any other. Nothing is ever shortened. It doesn't trust
// the snapshot, and returns [ErrSnapshot] for one that it can't read, which changes nothing.
func (e *Engine) Restore(snapshot []byte) error {
	var state outliving
	if len(snapshot) > maxSnapshotBytes || json.Unmarshal(snapshot, &state) != nil ||
		state.Format != snapshotFormat {
		return ErrSnapshot
	}
	for _, h := range state.Holds[:min(len(state.Holds), maxHolds)] {
		e.restoreHold(h)
	}
	if state.Refused != nil {
		e.restoreRefusal(*state.Refused)
	}
	e.restoreClient(state.Client, state.Latched)
	e.restaged()
	return nil
}

// restoreClient takes up who the client was, and the stages that it rolled back.
func (e *Engine) restoreClient(id string, latched []string) {
	e.applying.Lock()
	defer e.applying.Unlock()
	changed := false
	if id != "" && len(id) <= policy.MaxRolloutName && !e.client.given {
		changed = id != e.client.id
		e.client.id, e.client.kept = id, true
		e.clientID.Store(&id)
	}
	for _, name := range latched[:min(len(latched), policy.MaxRollouts)] {
		if len(name) <= policy.MaxRolloutName && !slices.Contains(e.latched, name) {
			e.latched, changed = append(e.latched, name), true
			if c := e.config.Load(); slices.Contains(c.stageNames(), name) { // until now, and told so
				e.note(Event{Kind: EventRolledBack, Version: c.version(), Note: name + ": in an earlier process"})
			}
		}
	}
	e.latched = e.latched[max(0, len(e.latched)-policy.MaxRollouts):]
	if changed {
		e.restage()
	}
}

func (e *Engine) restoreHold(h savedHold) {
	wait := time.Until(h.Until)
	if wait <= 0 || h.Host == "" || len(h.Scheme)+len(h.Host)+len(h.Service)+len(h.Rule) > maxHoldBytes {
		return
	}
	policy := e.config.Load().Resolve(h.Scheme, h.Host, "", "", "")
	t := e.targets.Restored(target.Key{Scheme: h.Scheme, Host: h.Host, Service: h.Service, Rule: h.Rule}, policy)
	if t == nil {
		return
	}
	defer t.Release()
	t.BeginTrouble()
	until := t.Gate.Hold(min(wait, policy.HoldMax))
	t.EndTrouble()
	t.Queue.WakeAll()
	e.note(Event{Kind: EventHeld, Target: t.Name, Stage: StageHold, Until: until, Note: "restored"})
}

func (e *Engine) restoreRefusal(saved savedRefusal) {
	sum, err := hex.DecodeString(saved.Sum)
	if err != nil || len(sum) != sha256.Size || saved.Since.After(time.Now()) {
		return
	}
	e.applying.Lock()
	defer e.applying.Unlock()
	if len(e.refused) == 0 {
		e.refused = []refusal{{sum: [sha256.Size]byte(sum), since: saved.Since}}
	}
}
