package remoteconfig

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// answer is a document with the header fields that tell of it. It never changes.
type answer struct {
	document     []byte
	etag         string
	cacheControl string
}

// Handler returns an http.Handler that serves the document that the function returns, for any
// server that can spare a path. It answers GET and HEAD, with an ETag, 304 for a matching
// If-None-Match, and a max-age of the document's pollInterval; without one, caches must ask each
// time. Other methods get 405, and everybody 503 while the function returns nothing or more than
// 1 MiB. The function is called for each request, at the same time for several, and must not change
// a slice that it returned.
func Handler(document func() []byte) http.Handler {
	var last atomic.Pointer[answer] // so that a document is hashed once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		current := document()
		if len(current) == 0 || len(current) > maxDocument {
			http.Error(w, "no document", http.StatusServiceUnavailable)
			return
		}
		a := last.Load()
		if a == nil || !bytes.Equal(a.document, current) {
			a = newAnswer(current)
			last.Store(a)
		}
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("ETag", a.etag)
		header.Set("Cache-Control", a.cacheControl)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.document))
	})
}

func newAnswer(document []byte) *answer {
	sum := sha256.Sum256(document)
	a := &answer{document: document, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
	a.cacheControl = "no-cache"
	if interval := peek(document).interval; interval > 0 {
		a.cacheControl = "max-age=" + strconv.Itoa(int(interval/time.Second))
	}
	return a
}
