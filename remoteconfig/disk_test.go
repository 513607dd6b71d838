package remoteconfig

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func cacheWith(t *testing.T, name string) (root *os.Root, path string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, path
}

// afterLook is a look at a file that has changed by the time it is opened.
func afterLook(t *testing.T, change func() error) func(*os.Root, string) (fs.FileInfo, error) {
	return func(root *os.Root, name string) (fs.FileInfo, error) {
		info, err := root.Lstat(name)
		if err := errors.Join(err, change()); err != nil {
			t.Fatal(err)
		}
		return info, err
	}
}

// TestCacheSwappedForALink puts a link in the place of a file between each look at it and the opening.
func TestCacheSwappedForALink(t *testing.T) {
	root, path := cacheWith(t, "f")
	other := filepath.Join(filepath.Dir(path), "other")
	if err := os.WriteFile(other, []byte("foreign"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	data, err := readWithin(root, "f", 10, func(root *os.Root, name string) (fs.FileInfo, error) {
		if n++; n > 1 { // as it was, for the next look
			if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("old"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		return afterLook(t, func() error {
			return errors.Join(os.Remove(path), os.Symlink("other", path))
		})(root, name)
	})
	if !errors.Is(err, errDamaged) {
		t.Errorf("read %q, %v", data, err)
	}
}

// TestCacheReplacedWhileRead: another process that shares the directory replaces the file between the look at
// it and the opening. That is no damage.
func TestCacheReplacedWhileRead(t *testing.T) {
	root, path := cacheWith(t, "f")
	looks := 0
	data, err := readWithin(root, "f", 10, afterLook(t, func() error {
		if looks++; looks > 1 {
			return nil
		}
		return errors.Join(os.WriteFile(path+"2", []byte("new"), 0o600), os.Rename(path+"2", path))
	}))
	if err != nil || string(data) != "new" {
		t.Errorf("read %q, %v", data, err)
	}
}

// TestFileHeedsTheContext: a slow file is read until ctx ends.
func TestFileHeedsTheContext(t *testing.T) {
	_, path := cacheWith(t, "f")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := File(path).Fetch(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestCacheDirectorySwapped: what is opened is the directory that was looked at.
func TestCacheDirectorySwapped(t *testing.T) {
	ours, other := t.TempDir(), t.TempDir()
	info, err := os.Lstat(ours)
	if err != nil {
		t.Fatal(err)
	}
	if root, err := openSame(other, info); !errors.Is(err, errSwapped) {
		root.Close()
		t.Error("another directory was opened")
	}
	root, err := openSame(ours, info)
	if err != nil {
		t.Fatal(err)
	}
	root.Close()
}
