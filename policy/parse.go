package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/internal/jsondoc"
)

const (
	MaxDocument = 1 << 20 // bytes
	maxDepth    = 32
	// maxValues bounds the memory of reading to some 20 MB. A thousand rules that set everything
	// have fewer; what is opaque and what is not known are not counted.
	maxValues = 100_000
)

// Parse reads a document of at most 1 MiB, 32 levels, 1,000 rules and as many kills, and 100,000
// values besides App, and as many of the flags. The notes tell what was not taken as it was written:
// unknown members (the first 100, and as many of the flags), and rules and kills that were skipped because their match cannot be understood.
//
// The error is a *Error with every problem. Even then the Document holds what was readable of
// Schema, Document, Audience, Version, Issued and Expires, and those kills that are sound in
// themselves: an emergency stop must not fail for a typing error elsewhere. There are none when
// those members are in doubt, for then nobody knows whom the kills are meant for. Kills are read
// from a later schema too, and of a list that is too long the first 1,000.
//
// Parse takes any value that is possible, if too bold: Bounds.Clamp is what makes a published
// document safe, and Validate tells whether it is safe as it stands.
func Parse(document []byte) (Document, []Note, error) {
	cfg, _, notes, err := Load(document, nil, func(*Rollout) bool { return false })
	return cfg, notes, err
}

// Load is Parse, and returns the document's flags, compiled. The tally counts those that a client evaluates, which
// gets a stage where gets says so; nil: they aren't counted.
func Load(document []byte, tally *flags.Tally, gets func(*Rollout) bool) (Document, Flags, []Note, error) {
	if len(document) > MaxDocument {
		return Document{}, Flags{}, nil, &Error{Problems: []Problem{{
			Problem: fmt.Sprintf("has more than %d bytes", MaxDocument),
			Hint:    "publish a smaller document",
		}}}
	}
	known := jsondoc.Names[Document]()
	doc, problems := jsondoc.Parse(document, jsondoc.Limits{Depth: maxDepth, Values: maxValues,
		Opaque: func(name string) bool { return name == "app" || !slices.Contains(known, name) },
		Apart:  func(name string) bool { return name == "flags" || name == "flagSettings" }})
	r := reader{doc: doc, binder: jsondoc.Binder{Doc: doc}, at: make(map[string]bool), tally: tally, gets: gets,
		set: Flags{Staged: make(map[string]*flags.Set)}}
	r.refuse(problems)
	if doc == nil {
		return Document{}, Flags{}, nil, r.err()
	}
	var cfg Document
	certain := r.identity(&cfg)
	r.set.Plain = r.flags(problems)
	r.settings(&cfg)
	cfg.Kill = r.kills()
	cfg.Rules = r.rules()
	cfg.Stages = r.stages(&cfg)
	r.check.ruleCount(cfg)
	r.refuseAll(r.check.problems)
	err := r.err()
	if err == nil {
		return cfg, r.set, r.notes, nil
	}
	refused := Document{Schema: cfg.Schema, Document: cfg.Document, Audience: cfg.Audience,
		Version: cfg.Version, Issued: cfg.Issued, Expires: cfg.Expires}
	if certain && cfg.Schema >= 1 {
		refused.Kill = cfg.Kill
	}
	return refused, Flags{}, r.notes, err
}

// configReader turns one document into a Document.
type reader struct {
	doc      *jsondoc.Document
	binder   jsondoc.Binder
	check    checker
	problems []Problem
	at       map[string]bool // paths of problems: one is enough for each place
	notes    []Note
	unknown  int   // notes of that kind
	set      Flags // of the document
	tally    *flags.Tally
	gets     func(*Rollout) bool // tells whether the client gets a stage

	flagStages  int // stages that change flags
	flagPatches int // bytes of the flags, with the patches so far
	flagBytes   int // bytes of flags that were read for stages
}

func (r *reader) refuse(problems []jsondoc.Problem) {
	for _, p := range problems {
		r.refuseAll([]Problem{Problem(p)})
	}
}

// refuseAll takes problems over, with their line, unless their place has one: a value that could
// not be read need not be called 0 as well.
func (r *reader) refuseAll(problems []Problem) {
	for _, p := range problems {
		if r.at[p.Path] || len(r.problems) >= MaxListed {
			continue
		}
		r.at[p.Path] = true
		if p.Line == 0 && r.doc != nil {
			p.Line = r.doc.Line(p.Path)
		}
		r.problems = append(r.problems, p)
	}
}

func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{Problems: r.problems}
}

func (r *reader) ignore(unknown []jsondoc.Problem) {
	for _, u := range unknown {
		if r.unknown++; r.unknown > MaxListed {
			return
		}
		r.notes = append(r.notes, Note{u.Path, noteText(u) + ": ignored", NoteUnknown})
	}
}

// noteText is what to tell about a member that stands at a path told beside it.
func noteText(p jsondoc.Problem) string {
	if p.Hint == "" {
		return p.Problem
	}
	return p.Problem + " (" + p.Hint + ")"
}

// identity reads the members that say what the document is and for whom, and tells whether that
// leaves no doubt. They are read alone, for lists of problems are short.
func (r *reader) identity(cfg *Document) (certain bool) {
	root := r.part(isIdentity)
	certain = r.bind(&root, cfg)
	seen := make(map[string]bool)
	for i := range root.Items {
		member := &root.Items[i]
		certain = certain && !seen[member.Name] && !member.Twice
		seen[member.Name] = true
	}
	if root.Kind == jsondoc.Object && !seen["schema"] {
		r.refuseAll([]Problem{{Path: "schema", Problem: "is missing", Hint: `write "schema": 1`}})
	}
	return certain
}

// flags compiles the document's flags. What parsing found wrong with them is told with their lines.
func (r *reader) flags(found []jsondoc.Problem) *flags.Set {
	if r.doc.Root.Member("flags") == nil && r.doc.Root.Member("flagSettings") == nil {
		return nil
	}
	set, err := flags.LoadParsed(r.doc, found, flags.LoadOptions{Format: flags.Tether, Tally: r.tally})
	if err != nil {
		r.refuseAll(flagProblems(err))
		return nil
	}
	for _, p := range set.Notes() {
		r.notes = append(r.notes, Note{p.Path, noteText(jsondoc.Problem(p)), NoteUnknown})
	}
	return set
}

func isIdentity(member string) bool {
	switch member {
	case "schema", "document", "audience", "version", "issued", "expires":
		return true
	}
	return false
}

// settings reads everything else but kill, rules and stages.
func (r *reader) settings(cfg *Document) {
	root := r.part(func(member string) bool {
		return !isIdentity(member) && member != "kill" && member != "rules" && member != "stages"
	})
	r.bind(&root, cfg)
	if root.Kind != jsondoc.Object {
		return
	}
	r.check.head(*cfg)
	r.check.settings("defaults", cfg.Defaults)
	r.check.schedules("schedules", cfg.Schedules)
	if r.skips(routeDoubts(r.set.Plain, "defaults", cfg.Defaults.Call.Route)) {
		cfg.Defaults.Call.Route = nil
	}
}

// part returns the document with only the members that keep names.
func (r *reader) part(keep func(member string) bool) jsondoc.Value {
	root := r.doc.Root
	root.Items = slices.DeleteFunc(slices.Clone(root.Items), func(v jsondoc.Value) bool {
		return !keep(v.Name)
	})
	return root
}

// bind copies a part of the document into cfg and tells whether it could.
func (r *reader) bind(root *jsondoc.Value, cfg *Document) bool {
	problems, unknown := r.read(root, "", cfg)
	r.refuse(problems)
	r.ignore(unknown)
	return len(problems) == 0
}

// read copies what stands at path into what dst points to.
func (r *reader) read(v *jsondoc.Value, path string, dst any) (problems, unknown []jsondoc.Problem) {
	r.binder.Bind(v, path, dst)
	return r.binder.Take()
}

func (r *reader) kills() (kills []Kill) {
	// Two lists are refused as duplicates, yet both are meant: somebody in haste added the second.
	read := 0
	for i := range r.doc.Root.Items {
		if list := &r.doc.Root.Items[i]; list.Name == "kill" && r.isList(list) {
			r.check.counts(len(list.Items), 0)
			entries := list.Items[:min(len(list.Items), MaxKills-read)]
			read += len(entries)
			kills = append(kills, r.killsOf(entries)...)
		}
	}
	return kills
}

// killsOf returns those of the entries that are sound in themselves.
func (r *reader) killsOf(entries []jsondoc.Value) (kills []Kill) {
	for i := range entries {
		path := jsondoc.Index("kill", i)
		k, ok := readEntry(r, &entries[i], path, func(k *Kill) Match { return k.Match })
		if ok && r.check.kill(path, k) {
			kills = append(kills, k)
		}
	}
	return kills
}

func (r *reader) rules() []Rule {
	list := r.doc.Root.Member("rules")
	if list == nil || !r.isList(list) {
		return nil
	}
	if r.check.counts(0, len(list.Items)); len(list.Items) > MaxRules {
		return nil
	}
	var rules []Rule
	for i := range list.Items {
		path := jsondoc.Index("rules", i)
		rule, ok := readEntry(r, &list.Items[i], path, func(r *Rule) Match { return r.Match })
		if ok {
			r.check.rule(path, rule)
			if !r.skips(routeDoubts(r.set.Plain, path, rule.Call.Route)) {
				rules = append(rules, rule)
			}
		}
	}
	return rules
}

func (r *reader) isList(v *jsondoc.Value) bool {
	if v.Kind == jsondoc.Array {
		return true
	}
	r.refuse([]jsondoc.Problem{{Path: v.Name, Line: v.Line,
		Problem: "is " + v.Kind.String() + ", not an array", Hint: "write [...]"}})
	return false
}

// readEntry reads one rule or kill. It is not ok when the entry is unsound, or skipped because its
// match cannot be understood: to guess could apply it more widely than was meant.
func readEntry[T any](
	r *reader, v *jsondoc.Value, path string, match func(*T) Match,
) (e T, ok bool) {
	problems, unknown := r.read(v, path, &e)
	within := func(p jsondoc.Problem) bool {
		return p.Path == path+".match" || strings.HasPrefix(p.Path, path+".match.")
	}
	problems = slices.DeleteFunc(problems, within)
	r.refuse(problems)
	r.ignore(slices.DeleteFunc(unknown, within))
	doubts := r.matchDoubts(v, path, match(&e))
	if v.Kind == jsondoc.Object && r.skips(doubts) {
		return e, false
	}
	return e, len(problems) == 0 && !v.Twice
}

// doubts is all that is odd about a value that must be understood as a whole.
func (r *reader) doubts(v *jsondoc.Value, path string, dst any) []jsondoc.Problem {
	problems, unknown := r.read(v, path, dst)
	return append(problems, unknown...)
}

// matchDoubts are the reasons why a match may not mean what it seems to.
func (r *reader) matchDoubts(
	v *jsondoc.Value, path string, m Match,
) (doubts []jsondoc.Problem) {
	path = jsondoc.Join(path, "match")
	written := v.Member("match")
	if written == nil {
		return []jsondoc.Problem{{Path: path, Line: v.Line, Problem: "is missing",
			Hint: "write {} to match every call"}}
	}
	// Bound again by itself, for the list of what is unknown in the whole entry may be cut short.
	doubts = r.doubts(written, path, new(Match))
	doubt := func(member, problem, hint string) {
		at := jsondoc.Join(path, member)
		doubts = append(doubts, jsondoc.Problem{Path: at, Problem: problem, Hint: hint})
	}
	// An empty member says "any" in Go, but in a document it is a blank that somebody left.
	for i := range written.Items {
		member := &written.Items[i]
		if len(member.Items) == 0 && member.Text == "" {
			doubt(member.Name, "is empty", "leave it out to match any")
		}
	}
	newMatcher(m, doubt)
	return doubts
}
