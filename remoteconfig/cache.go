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

	"github.com/tether-go/tether/internal/envelope"
)

// These bound the parts of the cache that are parsed, before they are.
const (
	maxHeader = 8192 // a tag of maxTag bytes, each of them escaped
	maxPlan   = 4096
	maxKept   = 1 << 20
)

// cache keeps three files for one source: the last good document, the plan of the polls, and what
// the target wants kept. It is used by whoever runs the watcher, so it needs no lock of its own.
type cache struct {
	dir, document, plan, kept string

	bad    [sha256.Size]byte // of the document that the target refused at the start
	last   []byte            // what kept has
	synced bool              // last is known

	root *envelope.Ring // the compiled-in one; nil: nothing is signed
}

// newCache names the files after the source: another source's document or tag means nothing here.
func newCache(dir, source string) *cache {
	sum := sha256.Sum256([]byte(source))
	name := hex.EncodeToString(sum[:8])
	return &cache{dir: dir, document: "document-" + name, plan: "plan-" + name, kept: "kept-" + name}
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
	w.prove(cached, preset)
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
	w.loadKept()
	w.loadPlan()
	w.events.Deliver()
}

// adopt tries a document at the start. One that is refused is told, and is of no further account.
func (w *Watcher) adopt(candidate *published, cached bool) bool {
	err := w.apply(candidate)
	taken := candidate.takenAt(time.Now())
	w.mu.Lock()
	w.refused, w.why = nil, nil
	if err == nil {
		w.current = taken
		w.follow(taken)
	}
	w.mu.Unlock()
	switch {
	case err == nil && taken != candidate: // or the next start would adopt it anew
		w.saveDocument(taken)
	case err != nil && cached:
		w.cache.bad = sha256.Sum256(candidate.document)
	}
	return err == nil
}

// takenAt returns the document as one that is in force since it was first adopted, which is now if
// that is not known. A time in the future counts as now: a kill must not last for ever because a
// clock was wrong.
func (p *published) takenAt(now time.Time) *published {
	if !p.adopted.IsZero() && !p.adopted.After(now) {
		return p
	}
	taken := *p
	taken.adopted = now
	return &taken
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
	return &published{document: fetched.Document}
}

// resume plans the first poll of a Run. A plan that is still to come is kept, whoever made it: a
// restart neither brings a poll forward nor puts it off, so crash loops poll as seldom as anybody.
func (w *Watcher) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.began = now
	if !w.plan.Next.After(now) {
		w.plan.Next = now.Add(firstWait(w.intervalNow(), w.current != nil, w.draw(), w.draw()))
		w.joined = w.current != nil
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
	w.joined = !w.plan.Attempt.IsZero()
}

// sane drops what another clock, or a damaged file, made of a plan.
func (p plan) sane(now time.Time, longest time.Duration) plan {
	if p.Failures < 0 || p.Failures > 1000 || p.Attempt.After(now) || p.Success.After(now) ||
		!p.Nudges.sane(now) ||
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
	var err error
	if p = w.cache.missing(p); p != nil {
		var data []byte
		if data, err = encodeCached(p); err == nil {
			err = writeFile(w.cache.dir, w.cache.document, data)
		}
	}
	w.cacheFared(&w.docErr, err)
}

// missing returns what to write for p to be there, or nil if it is, or a better one.
func (c *cache) missing(p *published) *published {
	old, err := readFile(c.dir, c.document, maxHeader+maxDocument)
	if err != nil {
		return p
	}
	there, err := decodeCached(old)
	switch {
	case err != nil:
		return p
	case p.ring != nil && there.verify(c.root, p.ring) == nil && there.ring.Number > p.ring.Number:
		return nil // another process followed a newer ring: a key removed there must stay removed
	case bytes.Equal(there.payload, p.payload):
		first := *p
		if there.adopted.Before(p.adopted) { // by another process
			first.adopted = there.adopted
		}
		if there.tag == first.tag && there.adopted.Equal(first.adopted) &&
			bytes.Equal(there.document, p.document) {
			return nil
		}
		return &first
	case there.name == p.name && there.version > p.version &&
		sha256.Sum256(there.document) != c.bad:
		return nil
	}
	return p
}

// loadKept gives the target what it kept in an earlier process.
func (w *Watcher) loadKept() {
	keeper, keeps := w.target.(Keeper)
	if !keeps || w.cache == nil {
		return
	}
	data, err := readFile(w.cache.dir, w.cache.kept, maxKept)
	w.cache.last, w.cache.synced = data, err == nil || errors.Is(err, fs.ErrNotExist)
	if err == nil && len(data) > 0 {
		err = guard(func() error { return keeper.Restore(data) })
	}
	w.cacheFared(&w.keptErr, err)
}

// saveKept writes what the target wants kept, if that has changed.
func (w *Watcher) saveKept() {
	keeper, keeps := w.target.(Keeper)
	if !keeps || w.cache == nil {
		return
	}
	var data []byte
	err := guard(func() error { data = keeper.Snapshot(); return nil })
	switch {
	case err != nil:
	case w.cache.synced && bytes.Equal(data, w.cache.last):
		return
	case len(data) > maxKept:
		err = errors.New("remoteconfig: the target wants more than 1 MiB kept")
	default:
		err = writeFile(w.cache.dir, w.cache.kept, data)
	}
	if err == nil {
		w.cache.last, w.cache.synced = bytes.Clone(data), true
	}
	w.cacheFared(&w.keptErr, err)
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
