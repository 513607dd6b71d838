package remoteconfig

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// readopter is a target that tells old from new.
type readopter struct {
	record
	since []time.Time
}

func (r *readopter) Readopt(document []byte, adopted time.Time) ([]string, error) {
	r.since = append(r.since, adopted)
	return r.Apply(document)
}

// load starts a watcher over the directory and returns since when its document is in force.
func load(t *testing.T, dir string) (*Watcher, *readopter) {
	t.Helper()
	target := &readopter{}
	w, err := New(publish(`{"version": 1}`), target, Options{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w, target
}

// TestAdoptedAt: the first process that has a document says since when, whatever comes later.
func TestAdoptedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, start := t.TempDir(), time.Now()
		other, _ := load(t, dir) // is behind: it fetches only below
		if _, _, err := begin(t, dir, publish(`{"version": 1}`)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(time.Hour)
			w, target := load(t, dir)
			if len(target.since) != 1 || !target.since[0].Equal(start) {
				t.Fatalf("readopted since %v, want %v", target.since, start)
			}
			if err := os.Remove(documentFile(w)); err != nil { // or the file would know
				t.Fatal(err)
			}
			if err := w.poll(t.Context()); err != nil { // the same document
				t.Fatal(err)
			}
			if err := other.poll(t.Context()); err != nil { // new to that process
				t.Fatal(err)
			}
		}
		// A new version starts anew.
		w, _ := load(t, dir)
		if err := w.take(Fetched{Document: []byte(`{"version": 2}`)}); err != nil {
			t.Fatal(err)
		}
		if _, target := load(t, dir); !target.since[0].Equal(time.Now()) {
			t.Errorf("the next version since %v, want now", target.since)
		}
	})
}

// TestAdoptedInTheFuture: a clock that was wrong makes a document neither young for ever nor void.
func TestAdoptedInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w, _ := load(t, dir)
		document := []byte(`{"version": 1}`)
		w.saveDocument(&published{document: document, adopted: time.Now().Add(1e6 * time.Hour)})
		load(t, dir)
		first := time.Now()
		time.Sleep(time.Hour)
		if _, target := load(t, dir); len(target.since) != 1 || !target.since[0].Equal(first) {
			t.Errorf("readopted since %v, want %v, when it was first read", target.since, first)
		}
	})
}

// TestTargetsThatTellNothingApart take cached documents like any other.
func TestTargetsThatTellNothingApart(t *testing.T) {
	dir := t.TempDir()
	_, target, err := begin(t, dir, publish(`{"version": 1}`))
	if err != nil || len(target.applied) != 1 {
		t.Fatal(err)
	}
	if _, target, _ := begin(t, dir, publish("")); len(target.applied) != 1 {
		t.Errorf("applied %q", target.applied)
	}
}

// TestSeal: no byte of the file can change unnoticed, the time in its first line included.
func TestSeal(t *testing.T) {
	good, err := encodeCached(&published{document: []byte(`{"version": 1}`), tag: "t",
		adopted: time.Unix(1e9, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := decodeCached(good); err != nil || !p.adopted.Equal(time.Unix(1e9, 1)) {
		t.Fatal(p, err)
	}
	for i := range good {
		for _, flip := range []byte{1, 2, 4, 8, 16, 32} {
			bad := bytes.Clone(good)
			bad[i] ^= flip
			p, err := decodeCached(bad)
			if err == nil && (p.tag != "t" || !p.adopted.Equal(time.Unix(1e9, 1)) ||
				!bytes.Equal(p.document, good[len(good)-len(p.document):])) {
				t.Errorf("byte %d as %q: read as %+v", i, bad[i], p)
			}
		}
	}
}

// TestKeeperPanics: that costs what it would keep, and no poll.
func TestKeeperPanics(t *testing.T) {
	dir := t.TempDir()
	w, err := New(publish(`{"version": 1}`), panicKeeper{}, Options{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.FetchOnce(t.Context()); err != nil || w.Status().Applied != 1 {
		t.Errorf("%v, %+v", err, w.Status())
	}
	if err := w.Status().CacheErr; err == nil {
		t.Error("not told")
	}
}

type panicKeeper struct{}

func (panicKeeper) Apply([]byte) ([]string, error) { return nil, nil }
func (panicKeeper) Snapshot() []byte               { panic("snapshot") }
func (panicKeeper) Restore([]byte) error           { panic(errors.New("restore")) }
