package remoteconfig

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/tether-go/tether/internal/jsondoc"
)

// maxDocument is the most bytes that a document may have. It is checked before anything is parsed,
// and no source reads further than one byte past it.
const maxDocument = 1 << 20

// maxTag is the most bytes that a tag may have; real ones have fewer than 100. A longer one is
// dropped, which costs a transfer of the whole document and nothing else.
const maxTag = 1024

// Causes of a failed poll, found by errors.Is.
var (
	// ErrTooLarge means that a document has more than 1 MiB.
	ErrTooLarge = errors.New("remoteconfig: the document has more than 1 MiB")
	// ErrUnchanged means that a source said "unchanged" while no document of it was known.
	ErrUnchanged = errors.New("remoteconfig: unchanged, but there is no document yet")
)

// Source is where documents come from. [HTTP], [File] and [FS] are sources.
type Source interface {
	// Fetch returns the document that is published now, or Unchanged if it is the one that tag
	// stands for. The tag is what an earlier Fetch returned, maybe in another process; empty if
	// none did. Fetch must return soon after ctx ends, and reads at most 1 MiB and a byte. The
	// document belongs to the caller from then on. A *[FetchError] says more about a failure. A
	// [Watcher] never calls Fetch twice at once.
	Fetch(ctx context.Context, tag string) (Fetched, error)
}

// Named is a [Source] that isn't this package's and says which document is its own. With a CacheDir,
// what was cached is then never taken for that of another source of the same type.
type Named interface {
	Source
	// Name returns where the document is: the same in each process, and not the same for another
	// document. It is hashed, and never shown.
	Name() string
}

// Fetched is the answer of a [Source].
type Fetched struct {
	Document  []byte        // empty if Unchanged
	Tag       string        // stands for the document in the next Fetch; printable ASCII, or empty
	Unchanged bool          // the document is still the one that the tag stands for
	MaxAge    time.Duration // when the source would like to be asked again, if later than usual; 0: it didn't say
}

// FetchError is a failed fetch of which more is known than the cause.
type FetchError struct {
	// RetryAfter is how long the source wants not to be asked; 0: it didn't say.
	RetryAfter time.Duration
	// Local means that the request provably never reached a server: there is no network, no name
	// service, no such file. Asking again costs nobody anything.
	Local bool
	// Err is the cause. Its text has no URL.
	Err error
}

// Error returns the text of the cause.
func (e *FetchError) Error() string {
	if e.Err == nil {
		return "remoteconfig: fetch failed"
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *FetchError) Unwrap() error { return e.Err }

// File returns a source that reads a file. It is opened anew by name each time, so it may be
// replaced, deleted and restored, or be a link that changes, as a mounted ConfigMap is. It must be a
// regular file: a pipe has no end. It is read at the same pace as any other source.
func File(path string) Source {
	return file{"file " + path, func() (fs.File, error) { return os.OpenFile(path, os.O_RDONLY|nonBlocking, 0) }}
}

// FS returns a source that reads a file in a file system, such as an embed.FS with the document
// that a program was built with: see [Options.Default].
func FS(files fs.FS, name string) Source {
	return file{"fs " + name, func() (fs.File, error) {
		if info, err := fs.Stat(files, name); err == nil && !info.Mode().IsRegular() {
			return nil, errNoFile // to open it could take for ever
		}
		return files.Open(name)
	}}
}

var errNoFile = errors.New("not a regular file")

type file struct {
	name string
	open func() (fs.File, error)
}

func (f file) identity() string { return f.name }

// Fetch reads the file whole: its content is its tag, since a time of change may lie.
func (f file) Fetch(ctx context.Context, tag string) (Fetched, error) {
	document, err := f.read(ctx)
	if err != nil {
		return Fetched{}, localError(err)
	}
	sum := sha256.Sum256(document)
	if now := hex.EncodeToString(sum[:]); now != tag {
		return Fetched{Document: document, Tag: now}, nil
	}
	return Fetched{Tag: tag, Unchanged: true}, nil
}

func (f file) read(ctx context.Context) ([]byte, error) {
	opened, err := f.open()
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	if info, err := opened.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, errNoFile
	}
	return readDocument(untilDone{ctx, opened})
}

// untilDone ends a slow file's reading between two reads.
type untilDone struct {
	ctx  context.Context
	from io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.from.Read(p)
}

func localError(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) { // its text has the path, which may name a user
		err = pathErr.Err
	}
	return &FetchError{Local: true, Err: fmt.Errorf("remoteconfig: reading the file: %w", err)}
}

// readDocument reads all of a document, or fails as soon as it is known to be too large.
func readDocument(reader io.Reader) ([]byte, error) {
	document, err := io.ReadAll(io.LimitReader(reader, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(document) > maxDocument {
		return nil, ErrTooLarge
	}
	return document, nil
}

// usableTag returns the tag if it may be sent in a header and kept on disk, else "".
func usableTag(tag string) string {
	if len(tag) > maxTag {
		return ""
	}
	for i := range len(tag) {
		if tag[i] < ' ' || tag[i] > '~' {
			return ""
		}
	}
	return tag
}

// identity names a source, so that the cache of one is never taken for another's: neither its
// document nor its tag would mean anything there.
func identity(source Source) string {
	if named, ok := source.(interface{ identity() string }); ok {
		return named.identity()
	}
	if named, ok := source.(Named); ok {
		return fmt.Sprintf("%T %s", source, named.Name())
	}
	return fmt.Sprintf("%T", source)
}

// facts are what the watcher itself reads of a document. The rest is the target's.
type facts struct {
	name     string
	version  uint64
	expires  time.Time
	interval time.Duration // 0: the document doesn't say
}

// peek reads the members that concern polling, and no others. What is missing or malformed is zero:
// whether a document is valid is for the target to say.
func peek(document []byte) facts {
	// A map, since encoding/json would match the names of struct fields in any case.
	var members map[string]json.RawMessage
	if len(document) > maxDocument || json.Unmarshal(document, &members) != nil {
		return facts{}
	}
	var f facts
	var expires, interval string
	read := func(name string, into any) { _ = json.Unmarshal(members[name], into) }
	read("document", &f.name)
	read("version", &f.version)
	read("expires", &expires)
	read("pollInterval", &interval)
	f.expires, _ = time.Parse(time.RFC3339, expires)
	if d, hinted := jsondoc.ParseDuration(interval); hinted == nil && d > 0 {
		f.interval = bounded(d)
	}
	return f
}
