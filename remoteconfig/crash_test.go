package remoteconfig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// writerDir tells the test binary to be the process that is killed, and where it writes; killRounds
// how often to kill one.
const (
	writerDir  = "TETHER_TEST_CACHE_WRITER"
	killRounds = "TETHER_TEST_KILL_ROUNDS"
)

// numbered is a document of a version whose every byte can be checked.
func numbered(version uint64) *published {
	filler := strings.Repeat(strconv.FormatUint(version%10, 10), 16<<10)
	document := fmt.Appendf(nil, `{"document": "shop", "version": %d, "app": "%s"}`, version, filler)
	p := &published{document: document, tag: "t", adopted: time.Unix(1e9, 0)}
	p.open()
	return p
}

// writer is the target of the process that is killed: it wants the version kept.
type writer struct {
	record
	version uint64
}

func (w *writer) Snapshot() []byte     { return strconv.AppendUint(nil, w.version, 10) }
func (w *writer) Restore([]byte) error { return nil }

// newWriter returns a watcher whose cache is at dir and which is not run.
func newWriter(t *testing.T, dir string) (*Watcher, *writer) {
	target := &writer{}
	w, err := New(publish(""), target, Options{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return w, target
}

// writeForEver writes ever higher versions, and says each on stdout once it is safe.
func writeForEver(t *testing.T, dir string) {
	w, target := newWriter(t, dir)
	if there := w.loadDocument(); there != nil {
		target.version = there.version
	}
	for {
		target.version++
		w.savePlan(plan{Failures: int(target.version)})
		w.saveDocument(numbered(target.version))
		w.saveKept()
		if err := w.Status().CacheErr; err != nil {
			t.Fatal(err)
		}
		fmt.Println(target.version)
	}
}

// TestKilledWhileWriting kills a process that writes its cache, again and again. What the next one
// reads is whole, and not older than what the killed one knew to be safe.
func TestKilledWhileWriting(t *testing.T) {
	if dir := os.Getenv(writerDir); dir != "" {
		writeForEver(t, dir)
	}
	rounds := 30 // .ci/run asks for 1000
	if text := os.Getenv(killRounds); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", killRounds, err)
		}
	}
	if testing.Short() {
		rounds = 10
	}
	dir, torn := t.TempDir(), 0
	w, _ := newWriter(t, dir)
	for range rounds {
		safe := killWriter(t, dir)
		there := w.loadDocument()
		if err := w.Status().CacheErr; there == nil || err != nil {
			t.Fatalf("version %d is lost: %v", safe, err)
		}
		if there.version != safe && there.version != safe+1 {
			t.Fatalf("version %d was safe, %d is there", safe, there.version)
		}
		if want := numbered(there.version); !bytes.Equal(there.document, want.document) ||
			!there.adopted.Equal(want.adopted) {
			t.Fatalf("version %d is not as it was written", there.version)
		}
		checkNumber(t, dir, w.cache.kept, safe, func(data []byte) (uint64, error) {
			return strconv.ParseUint(string(data), 10, 64)
		})
		checkNumber(t, dir, w.cache.plan, safe, func(data []byte) (uint64, error) {
			var p plan
			err := json.Unmarshal(data, &p)
			return uint64(p.Failures), err
		})
		torn += removeTemporary(t, dir)
	}
	t.Logf("%d processes killed, %d of them within a write", rounds, torn)
	if torn == 0 && rounds >= 30 {
		t.Error("no write was ever interrupted: the test shows nothing")
	}
}

// checkNumber reads a file that has the number that was safe, or the next one.
func checkNumber(t *testing.T, dir, name string, safe uint64, read func([]byte) (uint64, error)) {
	t.Helper()
	data, err := readFile(dir, name, maxKept)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if n, err := read(data); err != nil || n != safe && n != safe+1 {
		t.Fatalf("%s has %q after %d: %v", name, data, safe, err)
	}
}

// killWriter starts a writer, kills it within a few milliseconds of its first version, and returns
// the last version that it said was safe.
func killWriter(t *testing.T, dir string) (safe uint64) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), writerDir+"="+dir)
	said, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(20*time.Second, func() { _ = child.Process.Kill() }) // if it never speaks
	defer stop.Stop()
	lines := bufio.NewReader(said)
	for first := true; ; first = false {
		line, err := lines.ReadString('\n')
		if err != nil { // a line that is cut off wasn't said
			_ = child.Wait()
			if err != io.EOF || safe == 0 {
				t.Fatalf("the writer wrote nothing: %v", err)
			}
			return safe
		}
		if safe, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64); err != nil {
			t.Fatalf("the writer failed: %s", line)
		}
		if first {
			time.AfterFunc(time.Duration(rand.IntN(8000))*time.Microsecond,
				func() { _ = child.Process.Kill() })
		}
	}
}

func removeTemporary(t *testing.T, dir string) int {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*"+tempSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	return len(left)
}
