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
	"runtime"
	"strings"
	"time"
)

// leftoverAge is how old a temporary file is before it is one that a killed process left behind.
const leftoverAge = time.Hour

const tempSuffix = ".tmp"

// cacheSchema is the version of the file format; a file of another is ignored.
const cacheSchema = 1

var errDamaged = errors.New("remoteconfig: the cached file is damaged")

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
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0: // Windows tells 0777 for all
		return nil, errors.New("everybody may write to the directory")
	}
	return os.OpenRoot(dir)
}

// readFile reads a regular file of at most limit bytes.
func readFile(dir, name string, limit int64) ([]byte, error) {
	root, err := openDir(dir, false)
	if err != nil {
		return nil, cacheError(err)
	}
	defer root.Close()
	named, err := root.Lstat(name)
	if err != nil {
		return nil, cacheError(err)
	}
	if !named.Mode().IsRegular() || named.Size() > limit {
		return nil, cacheError(errDamaged)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, cacheError(err)
	}
	defer f.Close()
	// The name may have become a link, or a pipe, since.
	if opened, err := f.Stat(); err != nil || !os.SameFile(named, opened) {
		return nil, cacheError(errDamaged)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errDamaged
	}
	if err != nil {
		return nil, cacheError(err)
	}
	return data, nil
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
