package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tether-go/tether/policy"
)

// spoken is how a person calls the settings that matter most in an incident.
var spoken = map[string]string{
	"call.timeout":                              "the call timeout",
	"call.attemptTimeout":                       "the attempt timeout",
	"call.maxWait":                              "the longest wait",
	"call.retryPolicy.maxAttempts":              "attempts a call",
	"call.retryPolicy.initialBackoff":           "the first backoff",
	"call.retryPolicy.maxBackoff":               "the longest backoff",
	"target.retryBudget.ratio":                  "the retry budget",
	"target.hold.max":                           "the longest hold",
	"target.circuitBreaker.consecutiveFailures": "failures in a row that open the breaker",
	"target.circuitBreaker.openTime":            "the breaker's open time",
	"target.circuitBreaker.mode":                "the breaker's mode",
	"target.pacing.mode":                        "pacing",
	"pollInterval":                              "the poll interval",
}

// diff tells in words what a push from one document to another changes.
func diff(before, after policy.Document) (lines []string) {
	was, is := leaves(before), leaves(after)
	paths := slices.Sorted(maps.Keys(was.values))
	for path := range is.values {
		if _, known := was.values[path]; !known {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		if was.values[path] != is.values[path] {
			lines = append(lines, sentence(path, was.values[path], is.values[path]))
		}
	}
	for _, list := range slices.Sorted(maps.Keys(was.orders)) {
		before, after := common(was.orders[list], is.orders[list]), common(is.orders[list], was.orders[list])
		if !slices.Equal(before, after) {
			lines = append(lines, fmt.Sprintf("%s: their order changes from %s to %s", list,
				strings.Join(before, ", "), strings.Join(after, ", ")))
		}
	}
	if len(lines) == 0 {
		lines = []string{"nothing changes"}
	}
	return lines
}

// common is what of a list another has too.
func common(list, other []string) (both []string) {
	has := make(map[string]bool)
	for _, name := range other {
		has[name] = true
	}
	for _, name := range list {
		if has[name] {
			both = append(both, name)
		}
	}
	return both
}

// sentence says one change: "rule search: attempts a call fall from 3 to 1".
func sentence(path, was, is string) string {
	where, setting := whereabouts(path)
	name := spoken[setting]
	if name == "" {
		name = setting
	}
	if where != "" {
		name = where + ": " + name
	}
	switch {
	case was == "":
		return fmt.Sprintf("%s: now %s", name, is)
	case is == "":
		return fmt.Sprintf("%s: no longer set (was %s)", name, was)
	}
	return fmt.Sprintf("%s: %s from %s to %s", name, direction(was, is), was, is)
}

func direction(was, is string) string {
	before, ok1 := size(was)
	after, ok2 := size(is)
	switch {
	case !ok1 || !ok2:
		return "changes"
	case after > before:
		return "rises"
	case after < before:
		return "falls"
	}
	return "changes"
}

// size reads a number or a duration.
func size(text string) (float64, bool) {
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return f, true
	}
	d, err := time.ParseDuration(text)
	return float64(d), err == nil
}

// whereabouts splits a path into where it applies and the setting.
func whereabouts(path string) (where, setting string) {
	for _, prefix := range []string{"rules", "kill", "stages"} {
		if rest, ok := strings.CutPrefix(path, prefix+"["); ok {
			name, setting, _ := strings.Cut(rest, "].")
			return strings.TrimSuffix(prefix, "s") + " " + strings.TrimSuffix(name, "]"), setting
		}
	}
	if setting, ok := strings.CutPrefix(path, "defaults."); ok {
		return "all calls", setting
	}
	return "", path
}

// flat is a document's values by path, and the order in which its rules and stages apply.
type flat struct {
	values map[string]string
	orders map[string][]string
}

// leaves flattens a document. Rules, stages and kills go by name: that others came or went before one
// is no change of it.
func leaves(cfg policy.Document) flat {
	out := flat{make(map[string]string), make(map[string][]string)}
	data, err := json.Marshal(cfg)
	var tree any
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber() // every digit counts
		err = decoder.Decode(&tree)
	}
	if err != nil {
		out.values["document"] = err.Error()
		return out
	}
	out.add("", tree)
	return out
}

func (f flat) add(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			f.add(strings.TrimPrefix(path+"."+name, "."), member)
		}
	case []any:
		if path != "rules" && path != "kill" && path != "stages" && !strings.HasSuffix(path, ".patch.rules") {
			f.values[path] = fmt.Sprint(v)
			return
		}
		names := namesOf(v)
		if path != "kill" {
			f.orders[path] = names
		}
		for i, element := range v {
			f.add(path+"["+names[i]+"]", element)
		}
	case string:
		if v == "" {
			v = `""`
		}
		f.values[path] = v
	default:
		f.values[path] = fmt.Sprint(v)
	}
}

// namesOf are the names of a list's elements, their numbers where they have none, each once.
func namesOf(list []any) (names []string) {
	used := make(map[string]bool)
	for i, element := range list {
		name := strconv.Itoa(i)
		if object, ok := element.(map[string]any); ok {
			if given, ok := object["name"].(string); ok && given != "" {
				name = given
			}
		}
		once := name
		for n := 2; used[once]; n++ { // kills may share one
			once = fmt.Sprintf("%s (%d)", name, n)
		}
		used[once], names = true, append(names, once)
	}
	return names
}
