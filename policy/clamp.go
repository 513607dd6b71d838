package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tether-go/tether/internal/jsondoc"
)

// configClamper clamps one document, and remembers what the application's own Document allows where.
type clamper struct {
	bounds Bounds
	// own are the application's defaults, then its rules. A document's value is clamped to the
	// loosest of them, for it may meet calls of any.
	own   []ownLayer
	notes []Note

	clamps int // values that were brought back, told or not

	known       [numSettings]bool    // whose limits were asked for
	least, most [numSettings]float64 // which are then here
}

// ownLayer is what the application's own defaults or one of its rules set.
type ownLayer struct {
	where  string // for notes
	host   matcher
	number [numSettings]float64
	has    [numSettings]bool
	codes  statusSet
	coded  bool // codes are set
}

func newClamper(b Bounds, local Document) *clamper {
	c := &clamper{bounds: b}
	base := builtinValues()
	base.overlay(&local.Defaults)
	base.order()
	base.number[rateBurst] = burstOf(&base.number)
	defaults := ownLayer{where: "own defaults apply", number: base.number, codes: base.codes,
		coded: true}
	for i := range defaults.has {
		defaults.has[i] = true
	}
	c.own = append(c.own, defaults)
	for i, r := range local.Rules {
		name := r.Name
		if name == "" {
			name = jsondoc.Index("rules", i)
		}
		layer := ownLayer{where: "own rule " + strconv.Quote(name) + " applies",
			host: hostOf(r.Match)}
		set := Settings{Call: r.Call, Target: r.Target}
		for i := range settings {
			layer.number[i], layer.has[i] = settings[i].field.get(&set)
		}
		if layer.has[ratePerSecond] && !layer.has[rateBurst] {
			layer.number[rateBurst] = unsetNumber
			layer.number[rateBurst], layer.has[rateBurst] = burstOf(&layer.number), true
		}
		if p := r.Call.RetryPolicy; p != nil && p.RetryableStatusCodes != nil {
			layer.codes, layer.coded = newStatusSet(p.RetryableStatusCodes), true
		}
		c.own = append(c.own, layer)
	}
	return c
}

// hostOf is a matcher of the host alone.
func hostOf(m Match) matcher {
	return newMatcher(Match{Host: m.Host}, func(string, string, string) {})
}

func (c *clamper) clamped(path, asked, given string) {
	if c.clamps++; c.clamps <= MaxListed {
		c.notes = append(c.notes, ClampNote(path, asked, given))
	}
}

// told are the notes: the first hundred, and how many more values were brought back.
func (c *clamper) told() []Note {
	if more := c.clamps - MaxListed; more > 0 {
		c.notes = append(c.notes, Note{"", fmt.Sprintf("%d more values are outside the bounds", more), NoteClamped})
	}
	return c.notes
}

// settings clamps what defaults or one rule set, in place; s is the caller's own copy.
func (c *clamper) settings(path string, match Match, s *Settings) {
	host := hostOf(match)
	for i := range settings {
		if asked, ok := settings[i].field.get(s); ok {
			given := c.number(path, i, asked)
			if given != asked {
				settings[i].field.set(s, given)
			}
			c.stricter(path, i, given, &host)
		}
	}
	c.order(path, s, retryInitialBackoff, retryMaxBackoff)
	c.order(path, s, breakerOpenTime, breakerMaxOpenTime)
	c.route(path+".call.route", s)
	if r := s.Call.RetryPolicy; r != nil && r.RetryableStatusCodes != nil {
		c.statusCodes(path+"."+codesPath, &host, r)
	}
}

// number returns what may be given of one setting at most; path is of the settings that it is in.
func (c *clamper) number(path string, i int, asked float64) float64 {
	if !c.known[i] {
		var own []float64
		for j := range c.own {
			if c.own[j].has[i] {
				own = append(own, c.own[j].number[i])
			}
		}
		c.known[i] = true
		c.least[i], c.most[i] = settings[i].limits(&c.bounds, own...)
	}
	given := settings[i].clamp(asked, c.least[i], c.most[i])
	if i == breakerSlowDuration && learntSlow(&c.own[0].number) && c.bounds.MaxSlowCallDuration == 0 {
		given = 0
	}
	if given != asked {
		c.clamped(path+"."+settings[i].path, settings[i].format(asked), settings[i].format(given))
	}
	return given
}

// stricter notes the first place where the application's own Document gives less than a document's
// value; one is enough to know that the value does not hold everywhere.
func (c *clamper) stricter(path string, i int, given float64, host *matcher) {
	for j := range c.own {
		own := &c.own[j]
		if !own.has[i] || !mayMeet(host, &own.host) {
			continue
		}
		least, most := settings[i].limits(&c.bounds, own.number[i])
		if less := settings[i].clamp(given, least, most); less != given {
			c.clamped(path+"."+settings[i].path, settings[i].format(given),
				settings[i].format(less)+" where the application's "+own.where)
			return
		}
	}
}

// mayMeet tells whether one call may fit both hosts; in doubt it may.
func mayMeet(a, b *matcher) bool {
	return a.below || b.below || a.host == "" || b.host == "" || a.host == b.host
}

// schedules returns a document's schedules as they may be given, and leaves pushed as it is.
func (c *clamper) schedules(
	pushed, local map[string]ScheduleSettings,
) map[string]ScheduleSettings {
	pushed = maps.Clone(pushed)
	for _, name := range slices.Sorted(maps.Keys(pushed)) { // in order, for the notes
		path, s := jsondoc.Join("schedules", name), pushed[name]
		if s.Every != nil {
			asked := *s.Every
			given := c.bounds.Every(asked, local[name].Every)
			if given != asked {
				s.Every = &given
				c.clamped(path+".every", jsondoc.FormatDuration(asked), jsondoc.FormatDuration(given))
			}
		}
		if s.Window != nil {
			if given := s.Window.widened(); given != *s.Window {
				c.clamped(path+".window.to", s.Window.To, given.To)
				s.Window = &given
			}
		}
		pushed[name] = s
	}
	return pushed
}

// Every is what may be given of a schedule's period where the application's own is own; nil where
// that isn't known here.
func (b *Bounds) Every(asked time.Duration, own *time.Duration) time.Duration {
	least := minEvery
	switch {
	case b.MinEvery > 0:
		least = b.MinEvery
	case own != nil:
		least = *own
	}
	return min(max(asked, least), maxEvery)
}

// order lengthens a maximum that clamping left below its beginning.
func (c *clamper) order(path string, s *Settings, from, to int) {
	initial, ok := settings[from].field.get(s)
	largest, both := settings[to].field.get(s)
	if ok && both && largest < initial {
		settings[to].field.set(s, initial)
		c.clamped(path+"."+settings[to].path,
			settings[to].format(largest), settings[to].format(initial))
	}
}

// statusCodes drops the codes that the application retries nowhere, and notes those that it retries
// in some places only.
func (c *clamper) statusCodes(path string, host *matcher, r *RetrySettings) {
	var anywhere statusSet
	for i := range c.own {
		anywhere = anywhere.or(c.own[i].codes)
	}
	given, refused := splitCodes(r.RetryableStatusCodes, c.bounds.codes(anywhere))
	if len(refused) > 0 {
		r.RetryableStatusCodes = given
		c.clamped(path, codeList(refused), "none of these")
	}
	for i := range c.own {
		own := &c.own[i]
		if !own.coded || !mayMeet(host, &own.host) {
			continue
		}
		if _, refused := splitCodes(given, c.bounds.codes(own.codes)); len(refused) > 0 {
			c.clamped(path, codeList(refused), "none of these where the application's "+own.where)
			return
		}
	}
}

func splitCodes(codes []StatusCode, allowed statusSet) (given, refused []StatusCode) {
	given = []StatusCode{} // none, not the default
	for _, code := range codes {
		if allowed.Has(code) {
			given = append(given, code)
		} else {
			refused = append(refused, code)
		}
	}
	return given, refused
}

func codeList(codes []StatusCode) string {
	const most = 20 // there are not many more
	words := make([]string, 0, most)
	for _, code := range codes[:min(len(codes), most)] {
		words = append(words, code.String())
	}
	if more := len(codes) - most; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}
