package policy

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// elsewhere are the members that are not in the settings table, and what keeps each from loosening
// anything. A new member must be entered here or in the table.
var elsewhere = map[string]string{
	"schema":                   "a later one is refused",
	"document":                 "identity: checked by whoever fetches the document",
	"audience":                 "identity: checked by whoever fetches the document",
	"version":                  "identity: checked by whoever fetches the document",
	"label":                    "for people",
	"issued":                   "identity: checked by whoever fetches the document",
	"expires":                  "identity: checked by whoever fetches the document",
	"pollInterval":             "Bounds.PollMin and PollMax",
	"nudge":                    "early polls are limited by whoever polls",
	"kill[].name":              "for people",
	"kill[].match.host":        "a kill calms, whatever it matches",
	"kill[].match.method":      "a kill calms, whatever it matches",
	"kill[].match.path":        "a kill calms, whatever it matches",
	"kill[].match.grpcMethod":  "a kill calms, whatever it matches",
	"kill[].until":             "Bounds.MaxKill",
	"kill[].reason":            "for people",
	"defaults.call.route.flag": "says who is routed, not where to",
	"defaults.call.route.to":   "Bounds.Routes",
	"rules[].call.route.flag":  "says who is routed, not where to",
	"rules[].call.route.to":    "Bounds.Routes",
	"rules[].name":             "a name of state",
	"rules[].match.host":       "what a rule sets is bounded for every call",
	"rules[].match.method":     "what a rule sets is bounded for every call",
	"rules[].match.path":       "what a rule sets is bounded for every call",
	"rules[].match.grpcMethod": "what a rule sets is bounded for every call",
	"rules[].key":              "state of its own, bounded as every other",
	"schedules{}.every":        "Bounds.MinEvery and the Schedule in the code",
	"schedules{}.window.from":  "moves work, and gives nobody more runs",
	"schedules{}.window.to":    "no closer to from than 15 min",
	"flags":                    "the application's own choices, by its own names",
	"flagSettings":             "what guards may be set to; they only turn a new path off",
	"app":                      "not read here",
	"stages[].name":            "a name of state",
	"stages[].percent":         "what a stage changes is bounded as a whole",
	"stages[].if.cohort":       "what a stage changes is bounded as a whole",
	"stages[].allow":           "what a stage changes is bounded as a whole",
	"stages[].deny":            "what a stage changes is bounded as a whole",
	"stages[].bake":            "24 h",
}

// members lists the paths of a Go type's leaves, by json tags.
func members(path string, t reflect.Type, add func(path string)) {
	switch {
	case t.Kind() == reflect.Pointer:
		members(path, t.Elem(), add)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		members(path+"[]", t.Elem(), add)
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		members(path+"{}", t.Elem(), add)
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]():
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name == "" {
				panic(t.Field(i).Name + " has no json name")
			}
			members(strings.TrimPrefix(path+"."+name, "."), t.Field(i).Type, add)
		}
	default:
		add(path)
	}
}

type schemaNode struct {
	Ref        string                `json:"$ref"`
	Defs       map[string]schemaNode `json:"$defs"`
	Type       string                `json:"type"`
	Properties map[string]schemaNode `json:"properties"`
	Items      *schemaNode           `json:"items"`
	Enum       []any                 `json:"enum"`
	Minimum    *float64              `json:"minimum"`
	Maximum    *float64              `json:"maximum"`
	MaxItems   int                   `json:"maxItems"`
	Required   []string              `json:"required"`
	AnyOf      []schemaNode          `json:"anyOf"`
	Pattern    string                `json:"pattern"`
	Additional additionalNode        `json:"additionalProperties"`
}

// additionalNode is what members without a name of their own must be: false, or one kind of value.
type additionalNode struct{ *schemaNode }

func (a *additionalNode) UnmarshalJSON(text []byte) error {
	if string(text) == "false" {
		return nil
	}
	a.schemaNode = new(schemaNode)
	return json.Unmarshal(text, a.schemaNode)
}

func readSchema(t *testing.T) (root schemaNode, leaves map[string]schemaNode) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(Schema()))
	if err := decoder.Decode(&root); err != nil {
		t.Fatal(err)
	}
	leaves = make(map[string]schemaNode)
	var walk func(path string, n schemaNode)
	walk = func(path string, n schemaNode) {
		if name, ok := strings.CutPrefix(n.Ref, "#/$defs/"); ok && name != "duration" &&
			name != "time" {
			def, found := root.Defs[name]
			if !found {
				t.Errorf("%s refers to %s, which is not there", path, n.Ref)
			}
			walk(path, def)
			return
		}
		switch {
		case n.Properties != nil:
			for name, property := range n.Properties {
				walk(strings.TrimPrefix(path+"."+name, "."), property)
			}
		case n.Items != nil && strings.HasPrefix(n.Items.Ref, "#/$defs/") &&
			n.Items.Ref != "#/$defs/statusCode":
			walk(path+"[]", *n.Items)
		case n.Additional.schemaNode != nil && n.Additional.Ref != "":
			walk(path+"{}", *n.Additional.schemaNode)
		default:
			leaves[path] = n
		}
	}
	walk("", root)
	return root, leaves
}

func TestEveryMemberIsInSchemaAndBounded(t *testing.T) {
	root, leaves := readSchema(t)
	known := make(map[string]bool)
	members("", reflect.TypeFor[Document](), func(path string) { known[path] = true })
	for path := range known {
		if _, ok := leaves[path]; !ok {
			t.Errorf("%s is not in schema.json", path)
		}
	}
	for path := range leaves {
		if !known[path] {
			t.Errorf("%s is in schema.json but not in Config", path)
		}
	}
	table := map[string]bool{codesPath: true}
	for i := range settings {
		table[settings[i].path] = true
		if settings[i].floor == "" && settings[i].ceiling == "" && settings[i].other == "" {
			t.Errorf("%s has no bound", settings[i].path)
		}
	}
	for path := range known {
		setting := strings.TrimPrefix(path, "stages[].patch.")
		for _, layer := range []string{"defaults.", "rules[]."} {
			setting = strings.TrimPrefix(setting, layer)
		}
		if !table[setting] && elsewhere[strings.TrimPrefix(path, "stages[].patch.")] == "" {
			t.Errorf("nobody has decided what bounds %s", path)
		}
	}
	for path := range elsewhere {
		if !known[path] {
			t.Errorf("%s is decided on but not in Config", path)
		}
	}
	if !slices.Equal(root.Required, []string{"schema"}) ||
		root.Properties["rules"].MaxItems != MaxRules ||
		root.Properties["kill"].MaxItems != MaxKills {
		t.Error("the limits of the schema are not those of Parse")
	}
	for _, name := range []string{"kill", "rule"} {
		if !slices.Contains(root.Defs[name].Required, "match") {
			t.Errorf("a %s may lack match in the schema", name)
		}
	}
}

func TestSchemaHasTheRangesOfTheTable(t *testing.T) {
	root, leaves := readSchema(t)
	for i := range settings {
		s := &settings[i]
		n := leaves["defaults."+s.path]
		if rule := leaves["rules[]."+s.path]; !reflect.DeepEqual(rule, n) {
			t.Errorf("%s differs between defaults and rules", s.path)
		}
		switch s.unit {
		case inDuration:
			if n.Ref != "#/$defs/duration" {
				t.Errorf("%s is not a duration in the schema", s.path)
			}
			continue
		case inWords:
			var words []string
			for _, word := range n.Enum {
				words = append(words, word.(string))
			}
			if !slices.Equal(words, s.words) || len(words) != int(s.most)+1 {
				t.Errorf("%s has the words %q in the schema, %q here", s.path, words, s.words)
			}
			continue
		}
		want, least := map[settingUnit]string{inCount: "integer", inRatio: "number"}[s.unit], s.least
		if s.zero == zeroIsNever {
			least = 0
		}
		if n.Type != want || n.Minimum == nil || n.Maximum == nil || *n.Minimum != least ||
			*n.Maximum != s.most {
			t.Errorf("%s: %+v, want %s from %v to %v", s.path, n, want, s.least, s.most)
		}
	}
	var names []string
	for _, name := range root.Defs["statusCode"].AnyOf[1].Enum {
		names = append(names, name.(string))
	}
	if !slices.Equal(names, Codes[1:]) {
		t.Errorf("the schema's gRPC codes are %v", names)
	}
}

func TestEveryBoundIsUsed(t *testing.T) {
	uses := map[string]string{"RetryableStatusCodes": codesPath, "MaxKill": "kill",
		"PollMin": "poll", "PollMax": "poll", "MinEvery": "schedules", "Routes": "call.route"}
	for i := range settings {
		for _, name := range []string{settings[i].floor, settings[i].ceiling, settings[i].other} {
			if name == "" {
				continue
			}
			if uses[name] != "" {
				t.Errorf("%s bounds both %s and %s", name, uses[name], settings[i].path)
			}
			uses[name] = settings[i].path
		}
	}
	bounds := reflect.TypeFor[Bounds]()
	for i := range bounds.NumField() {
		if name := bounds.Field(i).Name; uses[name] == "" {
			t.Errorf("Bounds.%s bounds nothing", name)
		}
		delete(uses, bounds.Field(i).Name)
	}
	for name := range maps.Keys(uses) {
		t.Errorf("Bounds has no %s", name)
	}
}

// filled returns Settings with every struct in place and every member absent.
func filled() (s Settings) {
	s.Call.RetryPolicy, s.Call.HedgingPolicy = &RetrySettings{}, &HedgingSettings{}
	s.Target = TargetSettings{&BudgetSettings{}, &HoldSettings{}, &BreakerSettings{},
		&PacingSettings{}, &RateSettings{}, &ConcurrencySettings{}}
	return s
}

// Each number is refused just outside its range, taken at both ends, and clamped where it loosens.
func TestEverySettingIsValidatedAndClamped(t *testing.T) {
	for i := range settings {
		s := &settings[i]
		with := func(v float64) Document {
			all := filled()
			s.field.set(&all, v)
			if got, ok := s.field.get(&all); !ok || got != v && !math.IsNaN(v) {
				t.Errorf("%s: set %v, got %v", s.path, v, got)
			}
			return Document{Defaults: all}
		}
		refused := func(v float64) bool {
			var err *Error
			return errors.As(with(v).Validate(), &err) && len(err.Problems) == 1 &&
				err.Problems[0].Path == "defaults."+s.path
		}
		least := s.least
		if least == 0 && s.unit == inDuration {
			least = 1 // 0 is tried below
		}
		if refused(least) || refused(s.most) {
			t.Errorf("%s: an end of its range is refused", s.path)
		}
		if zero := s.zero == zeroIsNone; refused(0) != zero {
			t.Errorf("%s: 0 refused: %v", s.path, !zero)
		}
		if s.unit != inWords && (!refused(-1) || !refused(s.most*1.5)) || s.least > 0 &&
			s.least != 1 && !refused(s.least/2) {
			t.Errorf("%s: a value outside its range is taken", s.path)
		}
		if s.unit == inRatio && (!refused(math.NaN()) || !refused(math.Inf(1))) {
			t.Errorf("%s: takes what is not a number", s.path)
		}
		for _, loose := range []struct {
			bound string
			value float64
		}{{s.floor, s.least}, {s.ceiling, s.most}, {s.other, s.most}} {
			if loose.bound == "" {
				continue
			}
			pushed, local := with(loose.value), Document{}
			if s.ceiling != "" && s.free == 0 && (s.zero == zeroIsNever || s.builtin == unsetNumber) {
				local = with(s.least) // where the application sets no limit, none is looser
				if i == rateBurst {
					local.Defaults.Target.RateLimit.PerSecond = Ptr(1.0)
				}
			}
			if s.unit == inWords && s.builtin == s.most { // the default is the loosest
				local = with(s.least)
			}
			clamped, notes := Bounds{}.Clamp(pushed, local)
			got, _ := s.field.get(&clamped.Defaults)
			if got == loose.value || len(notes) != 1 || notes[0].Path != "defaults."+s.path {
				t.Errorf("%s: %s is given, notes %v", s.path, s.format(got), notes)
			}
			var free Bounds
			setBound(&free, loose.bound, loose.value)
			if _, notes := free.Clamp(pushed, local); len(notes) > 0 {
				t.Errorf("%s is clamped though Bounds.%s allows it: %v", s.path, loose.bound, notes)
			}
		}
	}
}

func setBound(b *Bounds, name string, v float64) {
	switch f := reflect.ValueOf(b).Elem().FieldByName(name); f.Kind() {
	case reflect.Float64:
		f.SetFloat(v)
	case reflect.Bool:
		f.SetBool(v > 0)
	default:
		f.SetInt(int64(v))
	}
}
