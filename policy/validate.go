package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tether-go/tether/internal/jsondoc"
)

// Error says why a Document, a document or Bounds are refused: every problem at once.
type Error struct {
	// Problems are in the order of their lines; of a document with more than 100, the first found.
	Problems []Problem
}

// Problem is one mistake in a Document or a document.
type Problem struct {
	// Path tells where, such as rules[3].match.host; empty for the document as a whole.
	Path string
	// Line is the line in the document, from 1; 0 where there is no document.
	Line int
	// Problem is what is wrong.
	Problem string
	// Hint is what to write instead; it may be empty.
	Hint string
}

// String is the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Problem)
	if p.Hint != "" {
		b.WriteString(": " + p.Hint)
	}
	return b.String()
}

// Error lists the first ten problems; Problems has all of them.
func (e *Error) Error() string {
	const most = 10
	var b strings.Builder
	b.WriteString("tether: config refused")
	separator := ": "
	for i, p := range e.Problems {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(e.Problems)-most)
			break
		}
		b.WriteString(separator + p.String())
		separator = "; "
	}
	return b.String()
}

// Note is something in a document that was not taken as it was written, though the document was.
type Note struct {
	// Path tells where, as in Problem.
	Path string
	// Text says what was found and what became of it.
	Text string
	// Kind tells what became of it.
	Kind NoteKind
}

// NoteKind tells what became of a member.
type NoteKind string

// The kinds of notes.
const (
	// NoteUnknown: a member that this version does not know was ignored.
	NoteUnknown NoteKind = "unknown"
	// NoteClamped: a value outside the bounds was replaced by the bound.
	NoteClamped NoteKind = "clamped"
	// NoteSkipped: a rule or kill was left out whole, because its match cannot be understood.
	NoteSkipped NoteKind = "skipped"
)

const (
	MaxRules  = 1000
	MaxKills  = 1000
	MaxListed = 100 // problems, and unknown members: nobody reads more

	maxDuration = 24 * time.Hour
)

// Validate returns a *Error with every value that is impossible or beyond what is safe for
// anybody, or nil. An application's own Document must pass it; of a published document, Parse refuses
// the impossible, and Bounds.Clamp mends the rest.
func (c Document) Validate() error {
	check := checker{strict: true}
	check.head(c)
	for i, k := range c.Kill {
		path := jsondoc.Index("kill", i)
		check.kill(path, k)
		check.match(path, k.Match)
	}
	check.settings("defaults", Settings{Call: c.Defaults.Call, Target: c.Defaults.Target})
	for i, r := range c.Rules {
		path := jsondoc.Index("rules", i)
		check.rule(path, r)
		check.match(path, r.Match)
	}
	check.schedules("schedules", c.Schedules)
	check.stageCount(len(c.Stages))
	for i, s := range c.Stages {
		path := jsondoc.Index("stages", i)
		check.stage(path, s)
		for j, r := range s.Patch.Rules {
			check.match(jsondoc.Index(path+".patch.rules", j), r.Match)
		}
	}
	check.ruleCount(c)
	check.counts(len(c.Kill), len(c.Rules))
	if c.HasFlags() {
		_, problems := c.FlagSet(nil)
		check.problems = append(check.problems, problems...)
	}
	return check.err()
}

// configChecker collects problems. Its rules are the same for a Document written in Go and for one
// read from a document, but for what is possible and yet unsafe: only strict refuses that.
type checker struct {
	strict   bool
	problems []Problem
	names    map[string]bool // of rules, those of stages included

	stageNames map[string]bool
}

func (c *checker) add(path, problem, hint string) {
	if len(c.problems) < MaxListed {
		c.problems = append(c.problems, Problem{Path: path, Problem: problem, Hint: hint})
	}
}

func (c *checker) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &Error{Problems: c.problems}
}

func (c *checker) head(cfg Document) {
	if cfg.Schema != 1 && (cfg.Schema != 0 || !c.strict) {
		c.add("schema", fmt.Sprintf("%d is not known to this version", cfg.Schema), "write 1")
	}
	if cfg.Version > 1<<53-1 {
		c.add("version", "is larger than 2^53-1", "count from 1")
	}
	if !cfg.Expires.IsZero() && cfg.Expires.Before(cfg.Issued) {
		c.add("expires", "is before issued", "write a later time")
	}
	if cfg.PollInterval != nil {
		c.poll("pollInterval", *cfg.PollInterval)
	}
	c.nudge("nudge", cfg.Nudge)
	if c.strict && len(cfg.App) > 0 && !json.Valid(cfg.App) {
		c.add("app", "is not JSON", "marshal the value first")
	}
}

func (c *checker) nudge(path string, hosts []string) {
	for i, host := range hosts {
		at := jsondoc.Index(path, i)
		if host == "" {
			c.add(at, "is empty", "leave it out")
		}
		newMatcher(Match{Host: host}, func(_, problem, hint string) { c.add(at, problem, hint) })
	}
}

// poll has no place in the settings table: it belongs to no call and no target.
func (c *checker) poll(path string, interval time.Duration) {
	switch {
	case interval <= 0:
		c.add(path, "is not above 0", `write an interval such as "300s"`)
	case c.strict && (interval < time.Second || interval > maxDuration):
		c.add(path, "is not from 1s to 86400s", `write an interval such as "300s"`)
	}
}

func (c *checker) schedules(base string, all map[string]ScheduleSettings) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		path, s := jsondoc.Join(base, name), all[name]
		if s.Every != nil {
			c.every(path+".every", *s.Every)
		}
		if s.Window != nil {
			c.window(path+".window", *s.Window)
		}
	}
}

// ScheduleProblems lists what is impossible about the period and the window of work that an application's code names.
func ScheduleProblems(path string, every time.Duration, w DailyWindow) []Problem {
	c := checker{strict: true}
	c.every(path+".Every", every)
	if w != (DailyWindow{}) {
		c.window(path+".Window", w)
	}
	return c.problems
}

func (c *checker) every(path string, every time.Duration) {
	switch {
	case every <= 0:
		c.add(path, "is not above 0", `write a period such as "600s"`)
	case c.strict && (every < minEvery || every > maxEvery):
		c.add(path, "is not from 1s to 2592000s", `write a period such as "600s"`)
	}
}

func (c *checker) window(path string, w DailyWindow) {
	from, opens := parseTimeOfDay(w.From)
	to, closes := parseTimeOfDay(w.To)
	const hint = `write a time of day in UTC such as "01:00"`
	if !opens {
		c.add(path+".from", jsondoc.Quote(w.From)+" is not a time of day", hint)
	}
	if !closes {
		c.add(path+".to", jsondoc.Quote(w.To)+" is not a time of day", hint)
	}
	switch width := widthOf(from, to); {
	case !opens || !closes:
	case width == 0:
		c.add(path+".to", "is the same as from", "leave window out for the whole day")
	case c.strict && width < minWindowWidth:
		c.add(path+".to", "is less than 15 min after from", "write a later time")
	}
}

func (c *checker) counts(kills, rules int) {
	if kills > MaxKills {
		c.add("kill", fmt.Sprintf("has %d entries, more than %d", kills, MaxKills), "merge some")
	}
	if rules > MaxRules {
		c.add("rules", fmt.Sprintf("has %d entries, more than %d", rules, MaxRules), "merge some")
	}
}

// ruleCount bounds the rules that a client may come to have by stages. More in the document alone were
// refused already.
func (c *checker) ruleCount(cfg Document) {
	rules := len(cfg.Rules)
	for i := range cfg.Stages {
		rules += len(cfg.Stages[i].Patch.Rules)
	}
	if rules > MaxRules && len(cfg.Rules) <= MaxRules {
		c.add("stages", fmt.Sprintf("and the document have %d rules, more than %d", rules, MaxRules), "merge some")
	}
}

// kill tells whether a kill is sound in itself.
func (c *checker) kill(path string, k Kill) bool {
	if k.Until.IsZero() {
		c.add(path+".until", "is missing",
			`write when the kill ends, such as "2026-11-22T18:00:00Z"`)
		return false
	}
	return true
}

func (c *checker) match(path string, m Match) {
	newMatcher(m, func(member, problem, hint string) {
		c.add(path+".match."+member, problem, hint)
	})
}

func (c *checker) rule(path string, r Rule) {
	if r.Name != "" && c.names[r.Name] {
		c.add(path+".name", jsondoc.Quote(r.Name)+" names another rule too", "choose another name")
	}
	if c.names == nil {
		c.names = make(map[string]bool)
	}
	c.names[r.Name] = true
	m := r.Match
	finer := len(m.Method) > 0 || m.Path != "" || m.GRPCMethod != ""
	switch {
	case r.Key != "" && r.Key != keyRule:
		c.add(path+".key", jsondoc.Quote(r.Key)+" is not known",
			`write "rule", or leave key out for the state of the host`)
	case r.Key == keyRule && r.Name == "":
		c.add(path+".key", "needs a rule with a name", "give the rule a name")
	case r.Key == "" && finer && r.Target.isSet():
		c.add(path+".target", "belongs to the host, but the rule matches only some of its calls",
			`match on host alone, or write "key": "rule" to give these calls a state of their own`)
	}
	c.settings(path, Settings{Call: r.Call, Target: r.Target})
}

const keyRule = "rule"

func (c *checker) settings(path string, s Settings) {
	for i := range settings {
		if v, ok := settings[i].field.get(&s); ok {
			c.number(path, &settings[i], v)
		}
	}
	c.order(path, &s, retryInitialBackoff, retryMaxBackoff)
	c.order(path, &s, breakerOpenTime, breakerMaxOpenTime)
	c.route(path+".call.route", s.Call.Route)
	if s.Call.RetryPolicy == nil {
		return
	}
	for i, code := range s.Call.RetryPolicy.RetryableStatusCodes {
		if err := code.check(); err != nil {
			c.add(jsondoc.Index(path+"."+codesPath, i), err.Problem, err.Hint)
		}
	}
}

func (c *checker) number(base string, s *setting, v float64) {
	if v > 0 && !math.IsInf(v, 0) && (!c.strict || v >= s.least && v <= s.most) {
		return // as most are, and nothing is written for them
	}
	path := base + "." + s.path
	zero := v == 0 && s.zero != zeroIsNone
	least := s.format(s.least)
	switch {
	case s.unit == inWords && math.IsNaN(v):
		c.add(path, "is not a word that is known here", "write one of "+strings.Join(s.words, ", "))
	case math.IsNaN(v) || math.IsInf(v, 0):
		c.add(path, "is not a number", "write a plain number")
	case v < 0:
		c.add(path, "is negative", "write "+least+" or more")
	case v == 0 && !zero:
		c.add(path, "0 is no setting", "write "+least+" or more, or leave it out for the default")
	case c.strict && !zero && (v < s.least || v > s.most):
		c.add(path, fmt.Sprintf("%s is not from %s to %s", s.format(v), least, s.format(s.most)),
			"write a value between")
	}
}

// order refuses a pair of durations whose maximum is below its beginning.
func (c *checker) order(path string, s *Settings, from, to int) {
	initial, ok := settings[from].field.get(s)
	largest, both := settings[to].field.get(s)
	if ok && both && largest < initial {
		c.add(path+"."+settings[to].path, fmt.Sprintf("%s is less than %s",
			settings[to].format(largest), settings[from].path), "write a longer duration")
	}
}
