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
	heard uint64     // the version that was named last
	more  chan struct{}
}

// Newer returns the version that a server named last, if that is newer than the one in force, else 0;
// and a channel that is closed when another is named. A watcher of package remoteconfig asks for it and
// polls early. It is a hint that anybody on the way may have made: it costs polls, never more.
func (e *Engine) Newer() (version uint64, more <-chan struct{}) {
	inForce := e.config.Load().version()
	e.nudges.mu.Lock()
	defer e.nudges.mu.Unlock()
	if e.nudges.more == nil {
		e.nudges.more = make(chan struct{})
	}
	if e.nudges.heard > inForce {
		version = e.nudges.heard
	}
	return version, e.nudges.more
}

// Nudged takes the text of a Tether-Config field, `"shop-app";v=42`, from an answer of host: over gRPC, of
// the metadata in its header; the HTTP edge calls it by itself. It is a list of strings as in RFC 9651,
// each with its version as the parameter v, so that a server may speak of several documents.
//
// Heard are only the hosts that the document's nudge allows, with their port where that isn't the usual
// one, the name of the document in force, and versions above it, at most 999999999999999 (the largest
// integer of RFC 9651). What is malformed or has more than 1,024 bytes is ignored.
func (e *Engine) Nudged(host, field string) {
	if field == "" || len(field) > maxNudge {
		return
	}
	config := e.config.Load()
	if config.document == nil || !config.HearsNudges(host) {
		return
	}
	version := nudgedVersion(field, config.pushed.Document)
	if version <= config.version() {
		return
	}
	e.nudges.mu.Lock()
	defer e.nudges.mu.Unlock()
	if e.nudges.heard == version {
		return
	}
	e.nudges.heard = version
	if e.nudges.more != nil {
		close(e.nudges.more)
		e.nudges.more = nil
	}
}

// nudgedVersion is what a field says of one document; 0: nothing.
func nudgedVersion(field, document string) uint64 {
	list, err := httpsfv.UnmarshalList([]string{field})
	if err != nil {
		return 0
	}
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok || item.Value != document || item.Params == nil {
			continue
		}
		v, _ := item.Params.Get("v")
		if version, ok := v.(int64); ok && version > 0 {
			return uint64(version)
		}
	}
	return 0
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
