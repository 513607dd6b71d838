package remoteconfig

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// smallDisk returns a folder on a file system of 64 KiB, or ok false where nobody may make one.
func smallDisk(t *testing.T) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Logf("no file system of our own: %v", err)
		return "", false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, true
}

// TestFullDisk fills the disk. That costs the cache and nothing else, what was there before is
// still whole, and the cache is written again once there is room.
func TestFullDisk(t *testing.T) {
	dir, ok := smallDisk(t)
	if !ok {
		limitFileSize(t)
		return
	}
	filler := filepath.Join(dir, "filler")
	unwritable(t, dir, syscall.ENOSPC, func() {
		err := os.WriteFile(filler, make([]byte, 1<<20), 0o600)
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk isn't full: %v", err)
		}
	}, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	})
}

// TestReadOnlyDisk has the directory become read-only, also for root.
func TestReadOnlyDisk(t *testing.T) {
	if dir, ok := smallDisk(t); ok {
		remount := func(flags uintptr) func() {
			return func() {
				if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
					t.Fatal(err)
				}
			}
		}
		unwritable(t, dir, syscall.EROFS, remount(syscall.MS_RDONLY), remount(0))
		return
	}
	if os.Geteuid() == 0 {
		t.Skip("root may write anywhere, and may not make a file system here")
	}
	dir := t.TempDir()
	mode := func(mode os.FileMode) func() {
		return func() {
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	unwritable(t, dir, syscall.EACCES, mode(0o500), mode(0o700))
}

// unwritable takes the cache through a time in which it can't be written.
func unwritable(t *testing.T, dir string, cause error, spoil, mend func()) {
	t.Helper()
	var told []error
	version, target := uint64(1), &writer{version: 1}
	w, err := New(answers(func(context.Context, string) (Fetched, error) {
		return Fetched{Document: numbered(version).document, Tag: "t"}, nil
	}), target, Options{CacheDir: dir, Observe: func(e Event) {
		if e.Kind == EventCache {
			told = append(told, e.Err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	poll := func() {
		t.Helper()
		target.version = version
		if err := w.poll(t.Context()); err != nil || w.Status().Applied != version {
			t.Fatalf("version %d: %v, %+v", version, err, w.Status())
		}
	}
	cached := func(want uint64) {
		t.Helper()
		reader, _ := newWriter(t, dir)
		if there := reader.loadDocument(); there == nil || there.version != want {
			t.Fatalf("%v is cached, want version %d", there, want)
		}
	}
	poll()
	cached(1)
	spoil()
	for version = 2; version <= 4; version++ {
		poll()
		if err := w.Status().CacheErr; !errors.Is(err, cause) {
			t.Errorf("CacheErr = %v, want %v", err, cause)
		}
		cached(1)
	}
	if left := removeTemporary(t, dir); left > 0 {
		t.Errorf("%d temporary files", left)
	}
	failures := len(told)
	mend()
	poll()
	cached(version)
	if err := w.Status().CacheErr; err != nil {
		t.Errorf("CacheErr = %v once it can be written", err)
	}
	// Each of three files says once that it fails and once that it works.
	if failures == 0 || failures > 3 || len(told) != 2*failures {
		t.Errorf("told %v", told)
	}
}

// limitFileSize is TestFullDisk for those who may not make a file system: a process of its own that
// may write no file beyond 4 KiB.
func limitFileSize(t *testing.T) {
	t.Helper()
	if dir := os.Getenv(writerDir); dir != "" {
		signal.Ignore(syscall.SIGXFSZ)
		var old syscall.Rlimit
		set := func(limit uint64) func() {
			return func() {
				if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE,
					&syscall.Rlimit{Cur: limit, Max: old.Max}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
		unwritable(t, dir, syscall.EFBIG, set(4096), set(old.Cur))
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), writerDir+"="+t.TempDir())
	if output, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}
