package runtimevar_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
	cloud "gocloud.dev/runtimevar"
	"gocloud.dev/runtimevar/blobvar"
	"gocloud.dev/runtimevar/constantvar"
	"gocloud.dev/runtimevar/driver"
	_ "gocloud.dev/runtimevar/filevar"

	"github.com/tether-go/tether/remoteconfig"
	"github.com/tether-go/tether/remoteconfig/remoteconfigtest"
	"github.com/tether-go/tether/remoteconfig/runtimevar"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counted counts the watches that are under way.
type counted struct {
	runtimevar.Watched
	watches *atomic.Int32
}

func (c counted) Watch(ctx context.Context, changed func()) error {
	c.watches.Add(1)
	defer c.watches.Add(-1)
	return c.Watched.Watch(ctx, changed)
}

// inDir is a store in a directory; it goes away for as long as a watch takes to see it. A driver that
// doesn't see it has nothing to tell: a variable is what can be read.
func inDir(t *testing.T, source func(dir string) runtimevar.Source) remoteconfigtest.Store {
	dir, watches := filepath.Join(t.TempDir(), "secret"), new(atomic.Int32)
	must(t, os.Mkdir(dir, 0o700))
	name := filepath.Join(dir, "document")
	return remoteconfigtest.Store{
		Source: func() remoteconfig.Source {
			return counted{runtimevar.Watched{Source: source(dir)}, watches}
		},
		Put: func(document []byte) {
			must(t, os.WriteFile(name+".new", document, 0o600))
			must(t, os.Rename(name+".new", name))
		},
		Delete: func() { must(t, os.Remove(name)) },
		Stop: func() {
			must(t, os.Rename(name, name+".away"))
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for began := time.Now(); watches.Load() > 0; <-tick.C {
				if time.Since(began) > 10*time.Second {
					t.Fatal("a watch goes on without a store")
				}
			}
		},
		Start:  func() { must(t, os.Rename(name+".away", name)) },
		Secret: "secret",
	}
}

// A driver that is told of changes.
func TestFilevar(t *testing.T) {
	remoteconfigtest.Run(t, func(t *testing.T) remoteconfigtest.Store {
		return inDir(t, func(dir string) runtimevar.Source {
			return runtimevar.Source{URL: "file://" + dir + "/document"}
		})
	})
}

// A driver that polls, fast enough for a test.
func TestBlobvar(t *testing.T) {
	remoteconfigtest.Run(t, func(t *testing.T) remoteconfigtest.Store {
		return inDir(t, func(dir string) runtimevar.Source {
			bucket, err := fileblob.OpenBucket(dir, nil)
			must(t, err)
			t.Cleanup(func() { must(t, bucket.Close()) })
			return runtimevar.Source{
				URL: "file://" + dir,
				Open: func(context.Context) (*cloud.Variable, error) {
					return blobvar.OpenVariable(bucket, "document", cloud.StringDecoder,
						&blobvar.Options{WaitDuration: 20 * time.Millisecond})
				}}
		})
	})
}

func constant(value any) runtimevar.Source {
	return runtimevar.Source{Open: func(context.Context) (*cloud.Variable, error) {
		return constantvar.New(value), nil
	}}
}

func TestConstantIsNotShared(t *testing.T) {
	document := []byte(`{"version": 1}`)
	fetched, err := constant(document).Fetch(t.Context(), "")
	must(t, err)
	clear(fetched.Document)
	if string(document) != `{"version": 1}` {
		t.Errorf("the program's own document is %q now", document)
	}
}

func TestDecoderOfSomethingElse(t *testing.T) {
	_, err := constant(42).Fetch(t.Context(), "")
	if err == nil || !strings.Contains(err.Error(), "yields a int") {
		t.Errorf("a number: %v", err)
	}
}

// The cause is there for a program, and its text, which has the path, for nobody.
func TestErrors(t *testing.T) {
	source := runtimevar.Source{URL: "file:///secret/document"}
	_, err := source.Fetch(t.Context(), "")
	if gcerrors.Code(err) != gcerrors.NotFound || err.Error() != "runtimevar: no value: NotFound" {
		t.Errorf("no such file: %v", err)
	}
	source.URL = "no-such-driver://secret"
	if _, err := source.Fetch(t.Context(), ""); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("no such driver: %v", err)
	}
	if err := (runtimevar.Watched{Source: source}).Watch(t.Context(), func() {}); err == nil {
		t.Error("no such driver: the watch has no error")
	}
}

// silent is a driver whose store doesn't answer.
type silent struct{ driver.Watcher }

func (silent) WatchVariable(ctx context.Context, _ driver.State) (driver.State, time.Duration) {
	<-ctx.Done()
	return nil, time.Hour
}

func (silent) Close() error { return nil }

// A store that doesn't answer holds nobody longer than he asked for.
func TestSilentStore(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	source := runtimevar.Source{Open: func(context.Context) (*cloud.Variable, error) {
		return cloud.New(silent{}), nil
	}}
	began := time.Now()
	if _, err := source.Fetch(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}
