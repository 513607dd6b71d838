package remoteconfig

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// leftoverAge is how old a temporary file is before it is one that a killed process left behind.
const leftoverAge = time.Hour

const tempSuffix = ".tmp"

// cacheSchema is the version of the file format; a file of another is ignored.
const cacheSchema = 1

var (
	errDamaged = errors.New("remoteconfig: the cached file is damaged")
	errSwapped = errors.New("it became another while it was opened")
)

// openDir opens the cache directory, and creates it where create says so. Everything is then done
// by names within it, so that no link leads out of it.
func openDir(dir string, create bool) (*os.Root, error) {
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, errors.New("not a directory (or a link to one)")
	}
	if err := private(info); err != nil {
		return nil, fmt.Errorf("the directory: %w", err)
	}
	return openSame(dir, info)
}

// openSame opens the directory that was looked at, and no other that has taken its place since.
func openSame(dir string, looked fs.FileInfo) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if opened, err := root.Stat("."); err != nil || !os.SameFile(looked, opened) || private(opened) != nil {
		root.Close()
		return nil, errSwapped
	}
	return root, nil
}

// readFile reads a regular file of at most limit bytes that no other user may have written.
func readFile(dir, name string, limit int64) ([]byte, error) {
	root, err := openDir(dir, false)
	if err != nil {
		return nil, cacheError(err)
	}
	defer root.Close()
	data, err := readWithin(root, name, limit, (*os.Root).Lstat)
	if err != nil {
		return nil, cacheError(err)
	}
	return data, nil
}

// readWithin looks again where another process replaced the file between a look at it and the opening.
func readWithin(root *os.Root, name string, limit int64,
	look func(*os.Root, string) (fs.FileInfo, error)) (data []byte, err error) {
	const looks = 3 // processes write once in a poll
	for range looks {
		var looked fs.FileInfo
		if looked, err = look(root, name); err != nil {
			return nil, err
		}
		if data, err = readLooked(root, name, looked, limit); !errors.Is(err, errSwapped) {
			return data, err
		}
	}
	return nil, errDamaged
}

func readLooked(root *os.Root, name string, looked fs.FileInfo, limit int64) ([]byte, error) {
	if err := readable(looked, limit); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The name may have become a link since, or a pipe that by chance has the old file's number.
	opened, err := f.Stat()
	if err != nil || !os.SameFile(looked, opened) {
		return nil, errSwapped
	}
	if err := readable(opened, limit); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errDamaged
	}
	return data, err
}

func readable(info fs.FileInfo, limit int64) error {
	if !info.Mode().IsRegular() || info.Size() > limit {
		return errDamaged
	}
	if err := private(info); err != nil {
		return fmt.Errorf("a file: %w", err)
	}
	return nil
}

// writeFile replaces a file in one step: whoever reads it, after a crash too, finds the old or the
// new content. A link by that name is replaced, not followed.
func writeFile(dir, name string, data []byte) error {
	root, err := openDir(dir, true)
	if err != nil {
		return cacheError(err)
	}
	defer root.Close()
	removeLeftovers(root, name)
	temp := name + "-" + rand.Text() + tempSuffix
	if err := writeSynced(root, temp, data); err != nil {
		_ = root.Remove(temp) // the disk may be full: leave nothing behind
		return cacheError(err)
	}
	if err := root.Rename(temp, name); err != nil {
		_ = root.Remove(temp)
		return cacheError(err)
	}
	if d, err := root.Open("."); err == nil {
		_ = d.Sync() // not every system can; the file is whole in any case
		_ = d.Close()
	}
	return nil
}

// writeSynced has the content on disk before the name points to it. O_EXCL follows no link.
func writeSynced(root *os.Root, temp string, data []byte) error {
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// removeLeftovers removes what processes that were killed while writing left, so that a crash loop
// fills no disk. Another process's write under way is younger.
func removeLeftovers(root *os.Root, name string) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return
	}
	for _, entry := range entries {
		temp := entry.Name()
		if !strings.HasPrefix(temp, name+"-") || !strings.HasSuffix(temp, tempSuffix) {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()).Abs() > leftoverAge {
			_ = root.Remove(temp)
		}
	}
}

// cacheError keeps paths out of texts: they may name a user.
func cacheError(err error) error {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.Is(err, errDamaged):
		return err
	case errors.As(err, &pathErr):
		err = pathErr.Err
	case errors.As(err, &linkErr):
		err = linkErr.Err
	}
	return fmt.Errorf("remoteconfig: cache: %w", err)
}

// header is the first line of the file; the document follows, byte for byte.
type header struct {
	Schema  int       `json:"tether"`
	Tag     string    `json:"tag"`
	Adopted time.Time `json:"adopted"`
	Sum     string    `json:"sha256"`
}

// seal returns the header with the sum of all the rest.
func (h header) seal(document []byte) (header, error) {
	h.Sum = ""
	line, err := json.Marshal(h)
	sum := sha256.Sum256(append(line, document...))
	h.Sum = hex.EncodeToString(sum[:])
	return h, err
}

func encodeCached(p *published) ([]byte, error) {
	h, err := header{Schema: cacheSchema, Tag: p.tag, Adopted: p.adopted.UTC()}.seal(p.document)
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(h)
	return append(append(line, '\n'), p.document...), err
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
	if sealed, err := h.seal(document); err != nil || sealed.Sum != h.Sum {
		return nil, errDamaged
	}
	cached := &published{document: document, tag: usableTag(h.Tag), adopted: h.Adopted}
	cached.open() // what it says counts only once it is examined
	return cached, nil
}
