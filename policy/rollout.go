package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/jsondoc"
)

const (
	MaxRollouts    = 100
	MaxRolloutName = 100 // bytes: names are kept, told in metrics, and hashed for every client
	maxFlagStages  = 16  // whose flags are compiled with the document's, one by one
	// maxStagedFlags bounds, in bytes, what is read of flags for stages that can't be together: the flags up to
	// each stage, once. One stage may always change as many as fit into a document.
	maxStagedFlags = MaxDocument
	defaultBake    = 15 * time.Minute
	perCent        = 10 // buckets: percentages have tenths
)

// Rollout is a change that a part of the clients gets first. It has no effect in an application's own
// Document.
//
// Whom it is for: nobody in Deny; everybody in Allow; else those that fit If and whose bucket, a hash of
// Name and their tether.Options.ClientID, is below Percent. While the name stays the same, the clients of a
// smaller percentage are among those of a larger one. Undoing the change is removing the stage.
type Rollout struct {
	// Name tells one stage from another, draws its clients, and is what a roll-back goes by. From 1 to 100
	// bytes, unique; required.
	Name string `json:"name"`
	// Percent is the share of the clients, from 0 to 100, in steps of a tenth. Default 0: only those in Allow.
	Percent float64 `json:"percent,omitempty"`
	// If says which clients Percent is of. A member that is not known here makes the stage be skipped.
	If RolloutIf `json:"if,omitzero"`
	// Allow lists client ids that get the change whatever If and Percent say. Default none.
	Allow []string `json:"allow,omitempty"`
	// Deny lists client ids that never get it. Default none.
	Deny []string `json:"deny,omitempty"`
	// Bake is how long a client watches the change and takes it back where it does harm; from 0 to 24 h;
	// 0: it doesn't. Default 900 s.
	Bake *time.Duration `json:"bake,omitempty"`
	// Patch is what changes; required in JSON.
	Patch Patch `json:"patch"`
}

// RolloutIf selects clients. A client must fit every member that is set.
type RolloutIf struct {
	// Cohort has, for attributes in tether.Options.Cohort, the values of which the client must have one. Default
	// every client.
	Cohort map[string][]string `json:"cohort,omitzero"`
}

// Patch is what a stage may change: everything but what makes the document trustworthy, and its kills.
// Objects merge member by member (App's too), Rules are appended to the document's, and other lists, and a
// route, are replaced.
type Patch struct {
	PollInterval *time.Duration              `json:"pollInterval,omitempty"`
	Nudge        []string                    `json:"nudge,omitzero"`
	Defaults     Settings                    `json:"defaults,omitzero"`
	Rules        []Rule                      `json:"rules,omitempty"`
	Schedules    map[string]ScheduleSettings `json:"schedules,omitzero"`
	// Flags and FlagSettings merge down to the members of one flag, and of one guard: a flag's targeting is
	// replaced, not merged. At most 16 stages have them.
	Flags        json.RawMessage `json:"flags,omitempty"`
	FlagSettings json.RawMessage `json:"flagSettings,omitempty"`
	App          json.RawMessage `json:"app,omitempty"`
}

// BakeTime is how long the stage is watched.
func (s *Rollout) BakeTime() time.Duration {
	if s.Bake == nil {
		return defaultBake
	}
	return min(*s.Bake, maxDuration)
}

// stages reads the stages, and refuses the document for any that is impossible, whoever it is for: its
// publisher must hear of it from the first client. One whose if, or whose rules' match, can't be understood is
// skipped whole: half of a change is another one than was meant.
func (r *reader) stages(cfg *Document) (stages []Rollout) {
	list := r.doc.Root.Member("stages")
	if list == nil || !r.isList(list) {
		return nil
	}
	if r.check.stageCount(len(list.Items)); len(list.Items) > MaxRollouts {
		return nil
	}
	if n := stagedRules(list); n > MaxRules {
		r.check.add("stages", fmt.Sprintf("have %d rules, more than %d", n, MaxRules), "merge some")
		return nil
	}
	for i := range list.Items {
		path, v := jsondoc.Index("stages", i), &list.Items[i]
		var s Rollout
		problems, unknown := r.read(v, path, &s)
		doubts := r.stageDoubts(v, path, &s, r.stagedFlags(path, cfg, &s))
		doubtful := func(p jsondoc.Problem) bool {
			return slices.ContainsFunc(doubts, func(d jsondoc.Problem) bool { return d.Path == p.Path })
		}
		r.refuse(slices.DeleteFunc(problems, doubtful))
		r.ignore(slices.DeleteFunc(unknown, doubtful))
		r.patchable(v.Member("patch"), path)
		r.check.stage(path, s)
		if len(doubts) > 0 {
			r.notes = append(r.notes, Note{doubts[0].Path, noteText(doubts[0]) + ": the stage is skipped", NoteSkipped})
			continue
		}
		stages = append(stages, s)
	}
	return stages
}

// stagedRules counts the rules of stages before any is read.
func stagedRules(stages *jsondoc.Value) (n int) {
	for i := range stages.Items {
		if patch := stages.Items[i].Member("patch"); patch != nil {
			if rules := patch.Member("rules"); rules != nil {
				n += len(rules.Items)
			}
		}
	}
	return n
}

// stageDoubts is what makes it uncertain whom a stage, or a rule of its patch, is for.
func (r *reader) stageDoubts(v *jsondoc.Value, path string, s *Rollout, set *flags.Set,
) (doubts []jsondoc.Problem) {
	if cond := v.Member("if"); cond != nil {
		doubts = r.doubts(cond, path+".if", new(RolloutIf))
		if cohort := cond.Member("cohort"); cohort != nil {
			for i := range cohort.Items {
				if of := &cohort.Items[i]; len(of.Items) == 0 {
					doubts = append(doubts, jsondoc.Problem{Path: jsondoc.Join(path+".if.cohort", of.Name), Line: of.Line,
						Problem: "is empty", Hint: "leave it out for any"})
				}
			}
		}
	}
	patch := v.Member("patch")
	if patch == nil {
		return doubts
	}
	if rules := patch.Member("rules"); rules != nil && len(rules.Items) == len(s.Patch.Rules) {
		for i := range rules.Items {
			at := jsondoc.Index(path+".patch.rules", i)
			doubts = append(doubts, r.matchDoubts(&rules.Items[i], at, s.Patch.Rules[i].Match)...)
			doubts = append(doubts, routeDoubts(set, at, s.Patch.Rules[i].Call.Route)...)
		}
	}
	return append(doubts, routeDoubts(set, path+".patch.defaults", s.Patch.Defaults.Call.Route)...)
}

// patchable refuses a stage without a patch, or with one that reaches for what no stage may change.
func (r *reader) patchable(patch *jsondoc.Value, path string) {
	if patch == nil {
		r.refuseAll([]Problem{{Path: path + ".patch", Problem: "is missing", Hint: "write what the stage changes"}})
		return
	}
	document, may := jsondoc.Names[Document](), jsondoc.Names[Patch]()
	for i := range patch.Items {
		if name := patch.Items[i].Name; slices.Contains(document, name) && !slices.Contains(may, name) {
			r.refuseAll([]Problem{{Path: path + ".patch." + name, Problem: "can't be changed by a stage",
				Hint: "write it in the document itself"}})
		}
	}
}

// stagedFlags are the document's flags as a stage has them, which must be possible together.
func (r *reader) stagedFlags(path string, cfg *Document, s *Rollout) *flags.Set {
	if !s.Patch.HasFlags() {
		return r.set.Plain
	}
	if r.flagStages++; r.flagStages > maxFlagStages {
		r.check.add(path+".patch.flags", fmt.Sprintf("is the %dth; at most %d stages change flags", r.flagStages, maxFlagStages), "merge some")
		return nil
	}
	if r.flagPatches += len(s.Patch.Flags) + len(s.Patch.FlagSettings); r.flagBytes == 0 {
		r.flagPatches += len(cfg.Flags) + len(cfg.FlagSettings)
	}
	if r.flagBytes += r.flagPatches; r.flagBytes > maxStagedFlags {
		r.check.add(path+".patch.flags", "is too much: each stage that changes flags has those of the document and of the "+
			"stages before read once more, more than 1 MiB in all", "merge some, or write them in the document itself")
		return nil
	}
	both := PatchedFlags(*cfg, &s.Patch)
	var tally *flags.Tally
	gets := r.gets(s)
	if gets {
		tally = r.tally
	}
	set, problems := both.FlagSet(tally)
	if gets {
		r.set.Staged[s.Name] = set
	}
	for _, p := range problems {
		p.Path = path + ".patch." + p.Path
		r.refuseAll([]Problem{p})
	}
	return set
}

func (c *checker) stageCount(n int) {
	if n > MaxRollouts {
		c.add("stages", fmt.Sprintf("has %d entries, more than %d", n, MaxRollouts), "merge some")
	}
}

// stage checks a stage by itself. Whatever stages meet in a client, their patches are possible together: names of
// rules are unique among all, and pairs of settings are put in order where they are resolved.
func (c *checker) stage(path string, s Rollout) {
	switch {
	case s.Name == "":
		c.add(path+".name", "is missing", "give the stage a name of its own")
	case len(s.Name) > MaxRolloutName || slices.Contains([]byte(s.Name), 0):
		c.add(path+".name", "has more than 100 bytes, or a NUL", "choose a shorter name")
	case c.stageNames[s.Name]:
		c.add(path+".name", jsondoc.Quote(s.Name)+" names another stage too", "choose another name")
	}
	if c.stageNames == nil {
		c.stageNames = make(map[string]bool)
	}
	c.stageNames[s.Name] = true
	tenths := s.Percent * perCent
	switch {
	case !(s.Percent >= 0 && s.Percent <= 100): // NaN too
		c.add(path+".percent", "is not from 0 to 100", "write a share such as 10")
	case math.Abs(tenths-math.Round(tenths)) > 1e-6:
		c.add(path+".percent", "is finer than a tenth", "write a share such as 0.1")
	}
	if s.Bake != nil && *s.Bake < 0 {
		c.add(path+".bake", "is negative", `write a time such as "900s"`)
	}
	if c.strict && s.Bake != nil && *s.Bake > maxDuration {
		c.add(path+".bake", "is not from 0 to 86400s", `write a time such as "900s"`)
	}
	c.patch(path+".patch", s.Patch)
}

func (c *checker) patch(path string, p Patch) {
	if p.PollInterval != nil {
		c.poll(path+".pollInterval", *p.PollInterval)
	}
	c.nudge(path+".nudge", p.Nudge)
	c.settings(path+".defaults", p.Defaults)
	for i, r := range p.Rules {
		c.rule(jsondoc.Index(path+".rules", i), r)
	}
	c.schedules(path+".schedules", p.Schedules)
}

// Gets tells whether a client with that id and cohort gets the stage.
func (s *Rollout) Gets(id string, cohort map[string]string) bool {
	switch {
	case slices.Contains(s.Deny, id):
		return false
	case slices.Contains(s.Allow, id):
		return true
	}
	for attribute, values := range s.If.Cohort {
		own, has := cohort[attribute]
		if !has || !slices.Contains(values, own) {
			return false
		}
	}
	return float64(bucketOf(s.Name, id)) < math.Round(s.Percent*perCent)
}

// bucketOf is where a client is, from 0 to 999, among all as a stage orders them. The name comes first and
// has no NUL (see check.stage), so that no two pairs are the same text.
func bucketOf(stage, client string) uint64 {
	sum := sha256.Sum256([]byte(stage + "\x00" + client))
	return binary.BigEndian.Uint64(sum[:]) % (100 * perCent)
}
