package deptest

import (
	"slices"
	"testing"
)

// rooms are the packages that the engine is made of, below the root: which of ours each may import, and why.
var rooms = map[string]map[string]string{
	"criticality": {"internal/jsondoc": "a wrong word in a document is answered with a hint"},
	"policy": {
		"breaker":          "a resolved policy has the breaker's",
		"criticality":      "call.criticality is a level",
		"flags":            "a document brings flags, which are checked with it",
		"internal/jsondoc": "documents are read by it, all mistakes at once",
		"internal/latency": "a quantile becomes the step of a baseline",
		"ratelimit":        "a resolved policy has the limits'",
		"retry":            "a resolved policy has the retries'",
	},
	"internal/target": {
		"breaker":            "a stage",
		"criticality":        "who gives way at a target",
		"internal/clock":     "times since the engine was made",
		"internal/endpoint":  "what answers are comparable",
		"internal/jsondoc":   "a rule's name is printed plainly",
		"internal/latency":   "what is slow here",
		"internal/loopguard": "callers that spin",
		"internal/metrics":   "each target has its attributes prepared",
		"internal/priority":  "less critical calls yield",
		"internal/queue":     "calls that wait",
		"policy":             "the settings of a target",
		"ratelimit":          "a stage",
		"ratelimit/hint":     "what the server said, in an answer",
		"ratelimit/pacing":   "a stage",
		"retry":              "the budget",
	},
	"internal/clock":      {},
	"internal/credential": {},
	"internal/endpoint":   {},
	"internal/latency": {
		"internal/clock": "answers have a moment",
		"internal/decay": "counts that shrink with time",
	},
	"internal/loopguard": {},
	"internal/httpwire":  {"retry": "a body that is gone is its ErrBody"},
	"internal/schedule":  {"policy": "a document's daily window"},
	"internal/metrics":   {"flags": "what flags have tallied"},
	"internal/priority": {
		"criticality":      "who gives way",
		"ratelimit/pacing": "the kinds of failures",
		"retry":            "a reserved re-attempt is a spent budget",
	},
	"internal/queue": {"criticality": "who goes first"},
}

// TestRoomsKnowOnlyTheirNeighbours: each edge has its reason, and a reason whose edge is gone goes too.
func TestRoomsKnowOnlyTheirNeighbours(t *testing.T) {
	graph := readTree(t).graph()
	for _, room := range sortedKeys(rooms) {
		report(t, roomProblems(graph, room, rooms[room]))
	}
	report(t, strangeRooms(graph))
}

// shared are the internal packages that are older than the rooms: the rules of leaves, and their users, keep them.
var shared = []string{"internal/apicheck", "internal/compat", "internal/decay", "internal/deptest", "internal/envelope",
	"internal/eventqueue", "internal/jsondoc", "internal/memnet", "internal/random", "internal/storetest"}

// strangeRooms finds internal packages, and those of the document, that no rule speaks of.
func strangeRooms(graph map[string][]string) (found problems) {
	for _, folder := range sortedKeys(graph) {
		isShared := slices.ContainsFunc(shared, func(known string) bool { return within(folder, known) })
		if _, isRoom := rooms[folder]; (within(folder, "internal") || within(folder, "policy")) && !isRoom && !isShared {
			found.addf("%s is no room: list what it may import, and why", folder)
		}
	}
	return found
}

func roomProblems(graph map[string][]string, room string, known map[string]string) problems {
	var found problems
	imports, ok := graph[room]
	if !ok {
		found.addf("%s isn't there: take it out of the rooms", room)
		return found
	}
	var seen []string
	for _, imported := range imports {
		own, ours := ownFolder(imported)
		if !ours {
			continue
		}
		if seen = append(seen, own); known[own] == "" {
			found.addf("%s imports %s: write the reason into the rooms, or let the root translate", room, own)
		}
	}
	for _, own := range sortedKeys(known) {
		if !slices.Contains(seen, own) {
			found.addf("%s doesn't import %s any more: take it out of the rooms", room, own)
		}
	}
	return found
}

// TestRoomRules shows the rule what breaks it.
func TestRoomRules(t *testing.T) {
	graph := map[string][]string{"internal/a": {module + "/retry", module + "/policy", "time"}}
	known := map[string]string{"retry": "the budget"}
	wantProblem(t, roomProblems(graph, "internal/a", known), "internal/a imports policy")
	known["policy"] = "the settings"
	wantProblem(t, roomProblems(graph, "internal/a", known), "")
	known["breaker"] = "a stage"
	wantProblem(t, roomProblems(graph, "internal/a", known), "doesn't import breaker any more")
	wantProblem(t, roomProblems(graph, "internal/b", nil), "isn't there")
	wantProblem(t, strangeRooms(graph), "internal/a is no room")
	wantProblem(t, strangeRooms(map[string][]string{"internal/decay": nil, "retry": nil}), "")
}
