package remoteconfig

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"time"
)

// cacheSchema is the version of the file format; a file of another is ignored.
const cacheSchema = 1

// maxHeader and maxPlan bound the parts of the cache that are parsed, before they are.
const (
	maxHeader = 8192 // a tag of maxTag bytes, each of them escaped
	maxPlan   = 4096
)

var errDamaged = errors.New("remoteconfig: the cached file is damaged")

// cache keeps two files for one source: the last good document and the plan of the polls. It is
// used by whoever runs the watcher, so it needs no lock of its own.
type cache struct {
	dir, document, plan string
	bad                 [sha256.Size]byte // of the document that the target refused at the start
}

// newCache names the files after the source: another source's document or tag means nothing here.
func newCache(dir, source string) *cache {
	sum := sha256.Sum256([]byte(source))
	name := hex.EncodeToString(sum[:8])
	return &cache{dir: dir, document: "document-" + name, plan: "plan-" + name}
}

// header is the first line of the file; the document follows, byte for byte.
type header struct {
	Schema int    `json:"tether"`
	Tag    string `json:"tag"`
	Sum    string `json:"sha256"`
}

func encodeCached(p *published) ([]byte, error) {
	sum := sha256.Sum256(p.document)
	line, err := json.Marshal(header{cacheSchema, p.tag, hex.EncodeToString(sum[:])})
	if err != nil {
		return nil, err
	}
	return append(append(line, '\n'), p.document...), nil
}

// decodeCached reads the file. It is damaged if it has any byte more or less than was written.
func decodeCached(data []byte) (*published, error) {
	line, _, found := bytes.Cut(data[:min(len(data), maxHeader)], []byte{'\n'})
	if !found || len(data)-len(line)-1 > maxDocument {
		return nil, errDamaged
	}
	document := data[len(line)+1:]
	var h header
	if json.Unmarshal(line, &h) != nil || h.Schema != cacheSchema {
		return nil, errDamaged
	}
	sum := sha256.Sum256(document)
	if h.Sum != hex.EncodeToString(sum[:]) {
		return nil, errDamaged
	}
	return &published{document: document, tag: usableTag(h.Tag), facts: peek(document)}, nil
}

// start puts the cached or the default document in force, the higher version first, and takes up
// the plan of an earlier process. It does so once.
func (w *Watcher) start(ctx context.Context) {
	w.mu.Lock()
	first := !w.started
	w.started = true
	w.mu.Unlock()
	if !first {
		return
	}
	cached, preset := w.loadDocument(), w.loadPreset(ctx)
	order := []*published{cached, preset}
	if cached != nil && preset != nil && preset.name == cached.name &&
		preset.version > cached.version {
		order = []*published{preset, cached} // the program is newer than its cache
	}
	for _, candidate := range order {
		if candidate != nil && w.adopt(candidate, candidate == cached) {
			break
		}
	}
	w.loadPlan()
	w.events.Deliver()
}

// adopt tries a document at the start. One that is refused is told, and is of no further account.
func (w *Watcher) adopt(candidate *published, cached bool) bool {
	err := w.apply(candidate)
	w.mu.Lock()
	w.refused, w.why = nil, nil
	if err == nil {
		w.current = candidate
	}
	w.mu.Unlock()
	if err != nil && cached {
		w.cache.bad = sha256.Sum256(candidate.document)
	}
	return err == nil
}

func (w *Watcher) loadDocument() *published {
	if w.cache == nil {
		return nil
	}
	data, err := readFile(w.cache.dir, w.cache.document, maxHeader+maxDocument)
	var cached *published
	if err == nil {
		cached, err = decodeCached(data)
	}
	w.cacheFared(&w.docErr, err)
	return cached
}

func (w *Watcher) loadPreset(ctx context.Context) *published {
	if w.preset == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	fetched, err := w.preset.Fetch(ctx, "")
	if err == nil && len(fetched.Document) > maxDocument {
		err = ErrTooLarge
	}
	if err != nil {
		w.mu.Lock()
		w.push(Event{Kind: EventFailed, Err: err})
		w.mu.Unlock()
		return nil
	}
	// Its tag means nothing to the source that will be polled.
	return &published{document: fetched.Document, facts: peek(fetched.Document)}
}

// resume plans the first poll of a Run. A plan that is still to come is kept, whoever made it: a
// restart neither brings a poll forward nor puts it off, so crash loops poll as seldom as anybody.
func (w *Watcher) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !w.plan.Next.After(now) {
		w.plan.Next = now.Add(firstWait(w.intervalNow(), w.current != nil, w.draw(), w.draw()))
	}
}

func (w *Watcher) loadPlan() {
	if w.cache == nil {
		return
	}
	var saved plan
	data, err := readFile(w.cache.dir, w.cache.plan, maxPlan)
	if err == nil && json.Unmarshal(data, &saved) != nil {
		saved, err = plan{}, errDamaged
	}
	w.cacheFared(&w.planErr, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plan = saved.sane(time.Now(), longestWait(w.intervalNow()))
}

// sane drops what another clock, or a damaged file, made of a plan.
func (p plan) sane(now time.Time, longest time.Duration) plan {
	if p.Failures < 0 || p.Failures > 1000 || p.Attempt.After(now) || p.Success.After(now) ||
		p.Next.After(now.Add(longest)) || p.Hold.After(now.Add(longest)) {
		return plan{}
	}
	return p
}

func (w *Watcher) savePlan(p plan) {
	if w.cache == nil {
		return
	}
	data, err := json.Marshal(p)
	if err == nil {
		err = writeFile(w.cache.dir, w.cache.plan, data)
	}
	w.cacheFared(&w.planErr, err)
}

// saveDocument makes sure that the cache has the document, or that of a higher version, which
// another process put there.
func (w *Watcher) saveDocument(p *published) {
	if w.cache == nil {
		return
	}
	data, err := encodeCached(p)
	if err == nil && !w.cache.has(p, data) {
		err = writeFile(w.cache.dir, w.cache.document, data)
	}
	w.cacheFared(&w.docErr, err)
}

// has tells whether the document, encoded as data, or a better one is there already.
func (c *cache) has(p *published, data []byte) bool {
	old, err := readFile(c.dir, c.document, maxHeader+maxDocument)
	if err != nil {
		return false
	}
	if bytes.Equal(old, data) {
		return true
	}
	there, err := decodeCached(old)
	return err == nil && there.name == p.name && there.version > p.version &&
		sha256.Sum256(there.document) != c.bad
}

// cacheFared tells when a part of the cache begins to fail and when it works again. That there is
// none yet is no failure.
func (w *Watcher) cacheFared(part *error, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	old := *part
	*part = err
	if (old == nil) != (err == nil) || err != nil && old.Error() != err.Error() {
		w.push(Event{Kind: EventCache, Err: err})
	}
}
