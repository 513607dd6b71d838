package runtimevar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"gocloud.dev/gcerrors"
	"gocloud.dev/runtimevar"

	"github.com/tether-go/tether/remoteconfig"
)

// maxDocument is the most bytes that a document may have.
const maxDocument = 1 << 20

// Source is a document in a variable, and is polled. It is safe for concurrent use.
type Source struct {
	// URL names the variable. Unless Open is set, it is opened by the driver of its scheme, which the
	// program must import.
	URL string
	// Open opens the variable, with a decoder that yields bytes or a string; nil: by the URL. It must
	// open a new one each time, which the source closes, and must return soon after ctx ends.
	Open func(ctx context.Context) (*runtimevar.Variable, error)
}

// Watched is a Source that is watched too. With a driver that polls, each client reads the store at
// the driver's interval from then on, instead of the watcher's.
type Watched struct{ Source }

// Name implements [remoteconfig.Named].
func (s Source) Name() string { return s.URL }

// Fetch reads the variable once. Its content is its tag: a driver's own versions aren't to be had.
func (s Source) Fetch(ctx context.Context, tag string) (remoteconfig.Fetched, error) {
	variable, err := s.open(ctx)
	if err != nil {
		return remoteconfig.Fetched{}, failed(ctx, err)
	}
	defer variable.Close()
	snapshot, err := variable.Watch(ctx) // not Latest, which would wait out an error
	if err != nil {
		return remoteconfig.Fetched{}, failed(ctx, err)
	}
	document, err := content(snapshot.Value)
	if err != nil {
		return remoteconfig.Fetched{}, err
	}
	sum := sha256.Sum256(document)
	if now := hex.EncodeToString(sum[:]); now != tag {
		return remoteconfig.Fetched{Document: document, Tag: now}, nil
	}
	return remoteconfig.Fetched{Tag: tag, Unchanged: true}, nil
}

// Watch tells of each new value. An error of the driver ends it, a deleted document too: polls go on,
// and the watcher sets it up again.
func (s Watched) Watch(ctx context.Context, changed func()) error {
	variable, err := s.open(ctx)
	if err != nil {
		return failed(ctx, err)
	}
	defer variable.Close()
	for {
		_, err := variable.Watch(ctx)
		if ctx.Err() == nil {
			changed()
		}
		if err != nil {
			return failed(ctx, err)
		}
	}
}

func (s Source) open(ctx context.Context) (*runtimevar.Variable, error) {
	if s.Open != nil {
		return s.Open(ctx)
	}
	return runtimevar.OpenVariable(ctx, s.URL)
}

// content returns a copy: the variable's own may be the program's, as a constant's is.
func content(value any) ([]byte, error) {
	var document []byte
	switch value := value.(type) {
	case []byte:
		document = bytes.Clone(value)
	case string:
		document = []byte(value)
	default:
		return nil, fmt.Errorf("runtimevar: the decoder yields a %T, not bytes or a string", value)
	}
	if len(document) > maxDocument {
		return nil, remoteconfig.ErrTooLarge
	}
	return document, nil
}

// failure is an error of a driver without its text, which has the URL, a path or worse.
type failure struct{ err error }

func (f failure) Error() string {
	return "runtimevar: no value: " + gcerrors.Code(f.err).String()
}

func (f failure) Unwrap() error { return f.err }

func failed(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		err = ended
	}
	return &remoteconfig.FetchError{Err: failure{err}}
}
