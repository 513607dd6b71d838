package tether

import (
	"net/http"
	"sync"

	"github.com/dunglas/httpsfv"
)

const (
	nudgeField = "Tether-Config"
	// maxNudge bounds the field's text: some ten documents.
	maxNudge = 1024
)

// nudges remembers what servers said of a newer document.
type nudges struct {
	mu    sync.Mutex // guards what follows
	field string     // heard last, of a version that was newer then
	more  chan struct{}
}

// Newer returns the version that a server named last, if that is newer than the one in force, else 0;
// and a channel that is closed when another is named. A watcher of package remoteconfig asks for it and
// polls early. It is a hint that anybody on the way may have made: it costs polls, never more.
func (e *Engine) Newer() (version uint64, more <-chan struct{}) {
	config := e.config.Load()
	e.nudges.mu.Lock()
	defer e.nudges.mu.Unlock()
	if e.nudges.more == nil {
		e.nudges.more = make(chan struct{})
	}
	return config.newerIn(e.nudges.field), e.nudges.more
}

// Nudged takes the text of a Tether-Config field, `"shop-app";v=42`, from an answer of host: over gRPC, of
// the metadata in its header; the HTTP edge calls it by itself. It is a list of strings as in RFC 9651,
// each with its version as the parameter v, so that a server may speak of several documents.
//
// Heard are only the hosts that the document's nudge allows, with their port where that isn't the usual
// one, the name of the document in force, and versions above it, at most 999999999999999 (the largest
// integer of RFC 9651). Before the first document any name counts, from hosts that nudge or else the rules of
// [Options].Policy name. What is malformed or has more than 1,024 bytes is ignored.
func (e *Engine) Nudged(host, field string) {
	if field == "" || len(field) > maxNudge {
		return
	}
	config := e.config.Load()
	if !config.HearsNudges(host) {
		return
	}
	version := config.newerIn(field)
	if version == 0 {
		return
	}
	e.nudges.mu.Lock()
	defer e.nudges.mu.Unlock()
	old := e.nudges.field
	e.nudges.field = field
	if old == field || config.newerIn(old) == version {
		return
	}
	if e.nudges.more != nil {
		close(e.nudges.more)
		e.nudges.more = nil
	}
}

// newerIn is the version that a field names, if it is newer than the one in force, else 0. Before there is one,
// it is the highest of any document: which one is meant isn't known yet.
func (c *current) newerIn(field string) (newest uint64) {
	list, err := httpsfv.UnmarshalList([]string{field})
	if err != nil {
		return 0
	}
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if _, named := item.Value.(string); !ok || !named || item.Params == nil {
			continue
		}
		if c.document != nil && item.Value != c.pushed.Document {
			continue
		}
		v, _ := item.Params.Get("v")
		if version, ok := v.(int64); ok && version > 0 && uint64(version) > c.version() {
			newest = max(newest, uint64(version))
		}
	}
	return newest
}

// heardIn looks for a nudge in an answer. One that a cache kept speaks of the past: RFC 9111 section 5.1 has
// every shared cache say so by Age. Caches within the program need not; the usual ones mark what they
// kept. What slips through names an old version, or costs three polls.
func (e *Engine) heardIn(host string, header http.Header) {
	lines := header[nudgeField]
	if len(lines) != 1 || header["Age"] != nil || header["X-From-Cache"] != nil {
		return
	}
	e.Nudged(host, lines[0])
}
