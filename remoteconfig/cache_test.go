package remoteconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// record is a target that remembers, and refuses what has "bad" in it.
type record struct{ applied []string }

func (r *record) Apply(document []byte) ([]string, error) {
	if bytes.Contains(document, []byte("bad")) {
		return nil, errors.New("refused")
	}
	r.applied = append(r.applied, string(document))
	return nil, nil
}

type answers func(ctx context.Context, tag string) (Fetched, error)

func (a answers) Fetch(ctx context.Context, tag string) (Fetched, error) { return a(ctx, tag) }

func publish(document string) answers {
	return func(context.Context, string) (Fetched, error) {
		return Fetched{Document: []byte(document), Tag: "t"}, nil
	}
}

// begin makes a watcher over the directory and fetches once.
func begin(t *testing.T, dir string, source Source) (*Watcher, *record, error) {
	t.Helper()
	target := &record{}
	w, err := New(source, target, Options{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return w, target, w.FetchOnce(t.Context())
}

func documentFile(w *Watcher) string { return filepath.Join(w.cache.dir, w.cache.document) }

func forget(t *testing.T, w *Watcher) {
	t.Helper()
	if err := os.Remove(filepath.Join(w.cache.dir, w.cache.plan)); err != nil {
		t.Fatal(err)
	}
}

func TestCacheSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "cache")
	w, _, err := begin(t, dir, publish(`{"version": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, documentFile(w), filepath.Join(dir, w.cache.plan)} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
			t.Errorf("%s has mode %o", name, mode)
		}
	}
	never := answers(func(context.Context, string) (Fetched, error) {
		t.Error("polled before the planned time")
		return Fetched{}, nil
	})
	again, target, err := begin(t, dir, never)
	if err != nil || len(target.applied) != 1 || target.applied[0] != `{"version": 1}` {
		t.Errorf("applied %q, error %v", target.applied, err)
	}
	if s := again.Status(); s.Applied != 1 || s.Tag != "t" || s.Stale || s.CacheErr != nil {
		t.Errorf("status %+v", s)
	}
}

// TestInterruptedWrite kills a write after each byte. What is left is the old document and a
// temporary file, which is no obstacle to anybody and is removed in time.
func TestInterruptedWrite(t *testing.T) {
	dir := t.TempDir()
	w, _, err := begin(t, dir, publish(`{"version": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	next, err := encodeCached(&published{document: []byte(`{"version": 2}`), tag: "t"})
	if err != nil {
		t.Fatal(err)
	}
	temp := documentFile(w) + "-KILLED" + tempSuffix
	for n := range len(next) + 1 {
		if err := os.WriteFile(temp, next[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, target, err := begin(t, dir, publish("")); err != nil ||
			len(target.applied) != 1 || target.applied[0] != `{"version": 1}` {
			t.Fatalf("after %d bytes: applied %q, error %v", n, target.applied, err)
		}
		// Without the atomic step: a part of a file is never taken for a document.
		if p, err := decodeCached(next[:n]); (err == nil) != (n == len(next)) {
			t.Fatalf("%d of %d bytes read as %v", n, len(next), p)
		}
	}
	old := time.Now().Add(-2 * leftoverAge)
	if err := os.Chtimes(temp, old, old); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(dir, w.cache.document, next); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the leftover is still there: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%d files, want the document and the plan", len(entries))
	}
}

func TestHigherVersionStays(t *testing.T) {
	dir := t.TempDir()
	w, _, err := begin(t, dir, publish(`{"version": 5}`))
	if err != nil {
		t.Fatal(err)
	}
	forget(t, w)
	// Another process that is behind; it started before the file was there, so it applied nothing.
	behind := &published{document: []byte(`{"version": 4}`), facts: facts{version: 4}}
	w.saveDocument(behind)
	if _, target, _ := begin(t, dir, publish("bad")); len(target.applied) != 1 ||
		target.applied[0] != `{"version": 5}` {
		t.Errorf("applied %q, want version 5", target.applied)
	}
	w.saveDocument(&published{document: []byte(`{"version": 6}`), facts: facts{version: 6}})
	forget(t, w)
	if _, target, _ := begin(t, dir, publish("bad")); len(target.applied) != 1 ||
		target.applied[0] != `{"version": 6}` {
		t.Errorf("applied %q, want version 6", target.applied)
	}
}

func TestRefusedCacheIsReplaced(t *testing.T) {
	dir := t.TempDir()
	w, _, _ := begin(t, dir, publish(`{"version": 1}`))
	forget(t, w)
	w.saveDocument(&published{document: []byte(`{"version": 9, "bad": 1}`), facts: facts{version: 9}})
	again, target, err := begin(t, dir, publish(`{"version": 2}`))
	if err != nil || len(target.applied) != 1 || again.Status().Applied != 2 {
		t.Fatalf("applied %q, error %v", target.applied, err)
	}
	if _, target, _ := begin(t, dir, publish("")); len(target.applied) != 1 ||
		target.applied[0] != `{"version": 2}` {
		t.Errorf("after the restart: %q", target.applied)
	}
}

// TestUselessCache has a cache that can't be read or written. It costs the cache and nothing else.
func TestUselessCache(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(dir string) error{
		"a file": func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"a link": func(dir string) error { return os.Symlink(t.TempDir(), dir) },
		"open to everybody": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777))
		},
		"below a file": func(dir string) error {
			return os.Symlink(filepath.Join(secret, "x"), dir)
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			w, target, err := begin(t, dir, publish(`{"version": 1}`))
			if err != nil || len(target.applied) != 1 {
				t.Errorf("applied %q, error %v", target.applied, err)
			}
			err = w.Status().CacheErr
			if err == nil || strings.Contains(err.Error(), dir) {
				t.Errorf("CacheErr = %v, want a reason without the path", err)
			}
		})
	}

	t.Run("the file is a link", func(t *testing.T) {
		dir := t.TempDir()
		w, _, _ := begin(t, dir, publish(`{"version": 1}`))
		data, err := os.ReadFile(documentFile(w))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "other"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{secret, "other"} {
			forget(t, w)
			if err := errors.Join(os.Remove(documentFile(w)), os.Symlink(to, documentFile(w))); err != nil {
				t.Fatal(err)
			}
			_, target, err := begin(t, dir, publish(`{"version": 2}`))
			if err != nil || len(target.applied) != 1 || target.applied[0] != `{"version": 2}` {
				t.Errorf("link to %s: applied %q, error %v", filepath.Base(to), target.applied, err)
			}
			if info, err := os.Lstat(documentFile(w)); err != nil || !info.Mode().IsRegular() {
				t.Errorf("link to %s: not replaced", filepath.Base(to))
			}
		}
		if kept, _ := os.ReadFile(secret); string(kept) != "secret" {
			t.Errorf("wrote through the link: %q", kept)
		}
	})
}

func TestCacheOfAnotherSource(t *testing.T) {
	dir := t.TempDir()
	a := newCache(dir, identity(HTTP{URL: "https://a"}))
	b := newCache(dir, identity(HTTP{URL: "https://b"}))
	if a.document == b.document || a.plan == b.plan {
		t.Error("two sources share a file")
	}
	c := newCache(dir, identity(foreign{name: "c"}))
	d := newCache(dir, identity(foreign{name: "d"}))
	if c.document == d.document || c.plan == d.plan {
		t.Error("two sources of a foreign type share a file")
	}
}

// foreign is a source of another package, which fails.
type foreign struct {
	name string
	err  error
}

func (f foreign) Name() string { return f.name }

func (f foreign) Fetch(context.Context, string) (Fetched, error) { return Fetched{}, f.err }

// A source of another package needn't know what of its errors never left the machine.
func TestForeignSourceWithoutNetwork(t *testing.T) {
	for _, test := range []struct {
		cause error
		local bool
	}{
		{&net.DNSError{IsNotFound: true}, true}, {syscall.ENETUNREACH, true}, {syscall.ECONNREFUSED, false},
	} {
		source := foreign{err: &FetchError{Err: fmt.Errorf("store: %w", test.cause)}}
		w, err := New(source, new(record), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.FetchOnce(t.Context()); !errors.Is(err, test.cause) || w.local != test.local {
			t.Errorf("%v: local %t, want %t", err, w.local, test.local)
		}
	}
}

func FuzzCachedDocument(f *testing.F) {
	good, err := encodeCached(&published{document: []byte(`{"version": 2}`), tag: "<\"t\">",
		adopted: time.Unix(1<<31, 5)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(bytes.Clone(good), ' '))
	f.Add([]byte("\n"))
	f.Add([]byte(`{"tether": 1}` + "\n"))
	f.Add(bytes.Repeat([]byte("["), 10_000))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodeCached(data)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if p.tag != usableTag(p.tag) || len(p.document) > maxDocument {
			t.Fatalf("tag %q, %d bytes", p.tag, len(p.document))
		}
		again, err := encodeCached(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := decodeCached(again); err != nil || q.tag != p.tag ||
			!bytes.Equal(q.document, p.document) || q.facts != p.facts || !q.adopted.Equal(p.adopted) {
			t.Fatalf("%q doesn't survive being written: %v", data, err)
		}
	})
}

func TestLongTagSurvives(t *testing.T) {
	tag := strings.Repeat("<", maxTag)
	data, err := encodeCached(&published{document: []byte("{}"), tag: tag})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := decodeCached(data); err != nil || p.tag != tag {
		t.Errorf("error %v", err)
	}
}
