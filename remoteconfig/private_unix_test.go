//go:build unix

package remoteconfig

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// init makes the modes of the tests' directories the same for each developer.
func init() { syscall.Umask(0o022) }

// TestCacheOfAnotherUser: what another user may have written is not read, neither a directory nor a file.
func TestCacheOfAnotherUser(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"the group may write":   func(path string) error { return os.Chmod(path, 0o720) },
		"everybody may write":   func(path string) error { return os.Chmod(path, 0o702) },
		"belongs to a stranger": func(path string) error { return os.Chown(path, 12345, -1) },
	} {
		for _, what := range []string{"directory", "file"} {
			dir := filepath.Join(t.TempDir(), "cache")
			w, _, err := begin(t, dir, publish(`{"version": 1}`))
			if err != nil {
				t.Fatal(err)
			}
			path := map[string]string{"directory": dir, "file": documentFile(w)}[what]
			if err := spoil(path); errors.Is(err, os.ErrPermission) {
				continue // only root can give things away; TestPrivateTo has it for others
			} else if err != nil {
				t.Fatal(err)
			}
			again, target, _ := begin(t, dir, answers(nil))
			if err := again.Status().CacheErr; err == nil || len(target.applied) > 0 {
				t.Errorf("%s, %s: %q was believed, error %v", what, name, target.applied, err)
			}
		}
	}
}

func TestPrivateTo(t *testing.T) {
	info, err := os.Lstat(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	owner.Uid = 1000
	if err := privateTo(1000, info); err != nil {
		t.Errorf("the owner: %v", err)
	}
	if err := privateTo(1001, info); err == nil {
		t.Error("a stranger's was believed")
	}
	owner.Uid = 0
	if err := privateTo(1001, info); err != nil {
		t.Errorf("root's: %v", err)
	}
}

// inTime fails a test that hangs, and lets what hangs go by opening the pipe's other end.
func inTime(t *testing.T, pipe string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("hangs")
		if f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
		<-done
	}
}

// TestPipeForAFile: a pipe at the name of a document is a failed fetch, by link or not, and not one for ever.
func TestPipeForAFile(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink(pipe, link)); err != nil {
		t.Skip(err)
	}
	for name, source := range map[string]Source{
		"file": File(pipe), "link": File(link), "FS": FS(os.DirFS(dir), "pipe"),
	} {
		inTime(t, pipe, func() {
			var fault *FetchError
			if _, err := source.Fetch(t.Context(), ""); !errors.Is(err, errNoFile) || !errors.As(err, &fault) || !fault.Local {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// TestCacheSwappedForAPipe puts a pipe in the place of a file between the look at it and the opening.
func TestCacheSwappedForAPipe(t *testing.T) {
	root, path := cacheWith(t, "f")
	inTime(t, path, func() {
		data, err := readWithin(root, "f", 10, afterLook(t, func() error {
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		}))
		if err == nil {
			t.Errorf("read %q", data)
		}
	})
}

// TestFileByLinks: a mounted ConfigMap is a link to a link.
func TestFileByLinks(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(in("..v1"), 0o755), os.WriteFile(in("..v1/d"), []byte("{}"), 0o644),
		os.Symlink("..v1", in("..data")), os.Symlink("..data/d", in("d"))); err != nil {
		t.Skip(err)
	}
	for name, source := range map[string]Source{
		"file": File(in("d")), "FS": FS(os.DirFS(dir), "d"), "map": FS(fstest.MapFS{"d": {Data: []byte("{}")}}, "d"),
	} {
		if fetched, err := source.Fetch(t.Context(), ""); err != nil || string(fetched.Document) != "{}" {
			t.Errorf("%s: %q, %v", name, fetched.Document, err)
		}
	}
}
