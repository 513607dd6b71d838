package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tether-go/tether"
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
func diff(before, after tether.Config) (lines []string) {
	was, is := leaves(before), leaves(after)
	paths := slices.Sorted(maps.Keys(was))
	for path := range is {
		if _, known := was[path]; !known {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		if was[path] != is[path] {
			lines = append(lines, sentence(path, was[path], is[path]))
		}
	}
	if len(lines) == 0 {
		lines = []string{"nothing changes"}
	}
	return lines
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
	default:
		return "falls"
	}
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

// leaves flattens a document to its values by path. Rules and kills go by name, so that one that
// moved has not changed.
func leaves(cfg tether.Config) map[string]string {
	data, err := json.Marshal(cfg)
	if err != nil {
		return map[string]string{"document": err.Error()}
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return map[string]string{"document": err.Error()}
	}
	out := make(map[string]string)
	flatten("", tree, out)
	return out
}

func flatten(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			flatten(strings.TrimPrefix(path+"."+name, "."), member, out)
		}
	case []any:
		if path != "rules" && path != "kill" && path != "stages" && !strings.HasSuffix(path, ".patch.rules") {
			out[path] = fmt.Sprint(v)
			return
		}
		for i, element := range v {
			name := strconv.Itoa(i)
			if object, ok := element.(map[string]any); ok {
				if given, ok := object["name"].(string); ok && given != "" {
					name = given
				}
			}
			flatten(path+"["+name+"]", element, out)
		}
	default:
		out[path] = fmt.Sprint(v)
	}
}
