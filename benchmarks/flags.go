package main

import "hash/fnv"

// flagsDocument has the questions, in flagd's form, which tether and JSON Logic both read.
const flagsDocument = `{"flags": {
	"static": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "on"},
	"targeted": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, "on", "off"]}},
	"rollout": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"fractional": [["on", 10], ["off", 90]]}},
	"both": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
		"targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, {"fractional": [["on", 10], ["off", 90]]}, "off"]}},
	"text": {"state": "ENABLED", "variants": {"blue": "#00f", "grey": "#888"}, "defaultVariant": "grey",
		"targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, "blue", "grey"]}}
}}`

// user is who is asked about.
type user struct{ key, plan, country string }

func (u user) attributes() map[string]any {
	return map[string]any{"targetingKey": u.key, "plan": u.plan, "country": u.country}
}

// asked is a user in the rollouts of nobody in particular: what each makes of the key is its own hash's.
var asked = user{key: "user-12345", plan: "pro", country: "SE"}

// flagContender evaluates flags. What the functions do before they return isn't measured.
type flagContender struct {
	name string
	// yes asks a boolean flag about a user whose context exists already; nil is returned for a flag
	// that there is nothing to ask about.
	yes func(flag string, u user) func() bool
	// text asks a flag whose variants are strings.
	text func(flag string, u user) func() string
	// anew makes the user's context for each question.
	anew func(flag string, u user) func() bool
}

// flagContenders sets them up, tether first.
func flagContenders() (all []flagContender, stop func(), err error) {
	ours, err := tetherFlags()
	if err != nil {
		return nil, nil, err
	}
	logic, err := jsonLogic()
	if err != nil {
		return nil, nil, err
	}
	sdks, stopSDKs, err := openFeatureFlags()
	if err != nil {
		return nil, nil, err
	}
	launchDarkly, stopLaunchDarkly, err := launchDarklyFlags()
	if err != nil {
		stopSDKs()
		return nil, nil, err
	}
	all = append([]flagContender{ours}, sdks...)
	return append(all, launchDarkly, logic), func() { stopSDKs(); stopLaunchDarkly() }, nil
}

func flagTable(contenders []flagContender) table {
	boolean := func(name, flag string) row {
		r := row{name: name}
		for _, c := range contenders {
			if ask := c.yes(flag, asked); ask != nil {
				r.entries = append(r.entries, entry{who: c.name, once: func() { ask() }})
			}
		}
		return r
	}
	text, anew := row{name: "a string by a condition"}, row{name: "a condition, context made anew"}
	for _, c := range contenders {
		askText, askAnew := c.text("text", asked), c.anew("targeted", asked)
		text.entries = append(text.entries, entry{who: c.name, once: func() { askText() }})
		anew.entries = append(anew.entries, entry{who: c.name, once: func() { askAnew() }})
	}
	return table{"An evaluation of a flag", []row{
		boolean("static", "static"),
		boolean("one condition", "targeted"),
		boolean("10 % by a hash", "rollout"),
		boolean("a condition, then 10 %", "both"),
		text,
		anew,
	}}
}

// inTenth is the rollout of those that bring none: a hash of flag and key, as cheap as there is one.
func inTenth(flag, key string) bool {
	h := fnv.New32a()
	h.Write([]byte(flag))
	h.Write([]byte(key))
	return uint64(h.Sum32())*100>>32 < 10
}
