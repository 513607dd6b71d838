package remoteconfig_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/envelope"
	"github.com/tether-go/tether/remoteconfig"
)

// TestAttacks has a client that follows ring 2, from which key a was removed, with version 42 in
// force. Each attack would kill all calls if it were taken. docs/signing.md has the same table.
func TestAttacks(t *testing.T) {
	one := ringOf(t, 1, 40, "ab", "ab")
	two := ringOf(t, 2, 40, "bc", "abc")
	seal := func(version int, signers string, rings ...*envelope.Envelope) string {
		return sealed(t, with(version, killAll), signers, rings...)
	}
	typed := func(payloadType string) string {
		return published(t, signedBy(&envelope.Envelope{PayloadType: payloadType,
			Payload: []byte(with(43, killAll))}, "bc"), two)
	}
	good := seal(43, "bc", two)
	claimed := &envelope.Envelope{PayloadType: envelope.DocumentType, Payload: []byte(with(43, killAll))}
	claimed.Sign("b", keyOf("x"))
	claimed.Sign("c", keyOf("y"))
	twice := &envelope.Envelope{PayloadType: envelope.DocumentType, Payload: []byte(with(43, killAll))}
	twice.Sign("b", keyOf("b"))
	twice.Signatures = append(twice.Signatures, twice.Signatures...)
	many := &envelope.Envelope{PayloadType: envelope.DocumentType, Payload: []byte(with(43, killAll))}
	signedBy(many, "abcdefghijklmnopq")
	forked := ringOf(t, 2, 40, "bx", "abx")
	spoilt := ringOf(t, 2, 40, "bc", "bc")

	for _, attack := range []struct {
		name, document string
		why            error
	}{
		{"older", seal(41, "bc", two), remoteconfig.ErrOlder},
		{"below the ring's least version", seal(39, "bc", two), remoteconfig.ErrOlder},
		{"same version, other content", seal(42, "bc", two), tether.ErrSameVersion},
		{"expired", sealed(t, with(43, `, "expires": "1999-01-01T00:00:00Z"`), "bc", two), tether.ErrExpired},
		{"wrong audience", sealed(t, with(43, killAll+`, "audience": {"environment": "staging"}`), "bc", two),
			tether.ErrAudience},
		{"wrong document", sealed(t, strings.Replace(with(43, killAll), "shop", "till", 1), "bc", two),
			remoteconfig.ErrOtherDocument},
		{"wrong payload type", typed("application/json"), remoteconfig.ErrEnvelope},
		{"a document signed as a ring", typed(envelope.RingType), remoteconfig.ErrEnvelope},
		{"no signature", seal(43, "", two), remoteconfig.ErrSignature},
		{"wrong key", seal(43, "xy", two), remoteconfig.ErrSignature},
		{"wrong key under a known id", published(t, claimed, two), remoteconfig.ErrSignature},
		{"below the threshold", seal(43, "c", two), remoteconfig.ErrSignature},
		{"removed key", seal(43, "ab", two), remoteconfig.ErrSignature},
		{"same key twice", published(t, twice, two), remoteconfig.ErrSignature},
		{"another payload under the signatures", strings.Replace(good, "eyJ", "eyI", 1),
			remoteconfig.ErrSignature},
		{"old ring", seal(43, "ab"), remoteconfig.ErrRing},
		{"old ring, spelt out", seal(43, "ab", one), remoteconfig.ErrRing},
		{"removed key forks the ring", seal(43, "bx", forked), remoteconfig.ErrRing},
		{"removed key makes the next ring", seal(43, "ax", two, ringOf(t, 3, 0, "ax", "abx")),
			remoteconfig.ErrRing},
		{"ring skipped", seal(43, "bc", ringOf(t, 3, 0, "bc", "abc")), remoteconfig.ErrRing},
		{"rings in the wrong order", seal(43, "bc", ringOf(t, 3, 0, "bc", "bc"), two), remoteconfig.ErrRing},
		{"ring not signed by the one before", seal(43, "bc", spoilt), remoteconfig.ErrRing},
		{"raw", with(43, killAll), remoteconfig.ErrUnsigned},
		{"raw with an envelope's members", with(43, killAll+`, "payload": "", "signatures": []`),
			remoteconfig.ErrEnvelope},
		{"truncated", good[:len(good)-9], remoteconfig.ErrEnvelope},
		{"deep", `{"payload": "", "signatures": ` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}",
			remoteconfig.ErrEnvelope},
		{"duplicate member", `{"payload": "",` + good[1:], remoteconfig.ErrEnvelope},
		{"many signatures", published(t, many, two), remoteconfig.ErrEnvelope},
		{"many rings", seal(43, "bc", slicesOf(two, 17)...), remoteconfig.ErrEnvelope},
		{"a ring within a ring", strings.Replace(good, `"rings":[{`, `"rings":[{"rings":[],`, 1),
			remoteconfig.ErrEnvelope},
	} {
		t.Run(attack.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newSignedClient(t, remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced),
					CacheDir: t.TempDir()})
				c.publish(sealed(t, with(42, ""), "bc", two))
				if err := c.poll(); err != nil {
					t.Fatal(err)
				}
				c.publish(attack.document)
				for range 3 {
					if err := c.poll(); !errors.Is(err, attack.why) {
						t.Errorf("error %v, want %v", err, attack.why)
					}
				}
				c.stands(42, attack.why)
				if told := c.told(remoteconfig.EventRefused); len(told) != 1 || !errors.Is(told[0].Err, attack.why) {
					t.Errorf("told %+v", told)
				}
				// The next good one is taken, by a newer ring too.
				c.publish(sealed(t, with(44, ""), "cd", two, ringOf(t, 3, 0, "cd", "bcd")))
				if err := c.poll(); err != nil || c.watcher.Status().Proof.Ring != 3 {
					t.Errorf("afterwards: %v, %+v", err, c.watcher.Status())
				}
			})
		})
	}
}

func slicesOf(e *envelope.Envelope, n int) (all []*envelope.Envelope) {
	for range n {
		all = append(all, e)
	}
	return all
}

// stands checks that an attack changed nothing.
func (c *signedClient) stands(version uint64, why error) {
	c.t.Helper()
	s := c.watcher.Status()
	if s.Applied != version || c.engine.Health().Version != version || c.killed() ||
		s.Refused == 0 && s.Wanted != version || !errors.Is(errors.Join(s.RefusedErr, s.LastErr), why) {
		c.t.Errorf("engine at version %d, killed %v, status %+v", c.engine.Health().Version, c.killed(), s)
	}
}

// TestReplayed serves the document in force again and again: nothing happens, and nothing is told.
func TestReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSignedClient(t, remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced)})
		document := sealed(t, with(42, ""), "ab")
		for range 5 {
			c.publish(document)
			if err := c.poll(); err != nil {
				t.Fatal(err)
			}
		}
		c.stands(42, nil)
		if told := c.told(remoteconfig.EventApplied); len(told) > 0 {
			t.Errorf("told %+v", told)
		}
	})
}

// TestHostileServers answers in ways that no signature helps against.
func TestHostileServers(t *testing.T) {
	var good string
	for name, attack := range map[string]struct {
		handler http.HandlerFunc
		why     error
	}{
		"1 GB": {func(w http.ResponseWriter, r *http.Request) {
			for block := make([]byte, 1<<16); r.Context().Err() == nil; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, remoteconfig.ErrTooLarge},
		"1 GB, announced": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1073741824")
			_, _ = io.WriteString(w, good)
		}, remoteconfig.ErrTooLarge},
		"slow-loris": {func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(good) && r.Context().Err() == nil; i++ {
				_, _ = io.WriteString(w, good[i:i+1])
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}, context.DeadlineExceeded},
		"redirect to another host": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.test/config.json", http.StatusFound)
		}, remoteconfig.ErrRedirect},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good = sealed(t, with(43, killAll), "ab")
				c := newSignedClient(t, remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced)})
				c.publish(sealed(t, with(42, ""), "ab"))
				if err := c.poll(); err != nil {
					t.Fatal(err)
				}
				c.serve(attack.handler)
				began := time.Now()
				if err := c.poll(); !errors.Is(err, attack.why) {
					t.Errorf("error %v, want %v", err, attack.why)
				}
				if took := time.Since(began) - 2*interval; took > 31*time.Second {
					t.Errorf("it took %v", took)
				}
				c.stands(42, attack.why)
				c.publish(sealed(t, with(44, ""), "ab"))
				if err := c.poll(); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// TestReplayWithoutACache deletes what a client knew. What was compiled in remains.
func TestReplayWithoutACache(t *testing.T) {
	inside := func(document string) remoteconfig.Source {
		return remoteconfig.FS(fstest.MapFS{"d": {Data: []byte(document)}}, "d")
	}
	for _, test := range []struct {
		name   string
		preset remoteconfig.Source
		replay int
		why    error
	}{
		{"below the compiled ring's version", nil, 39, remoteconfig.ErrOlder},
		{"below the default document", inside(sealed(t, with(50, ""), "ab")), 49, remoteconfig.ErrOlder},
		{"below an expired default document",
			inside(sealed(t, with(50, `, "expires": "1999-01-01T00:00:00Z"`), "ab")), 49, remoteconfig.ErrOlder},
		{"a default document that nobody signed counts for nothing", inside(with(50, "")), 49, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newSignedClient(t, remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced),
					CacheDir: t.TempDir(), Default: test.preset})
				c.publish(sealed(t, with(test.replay, ""), "ab"))
				if err := c.poll(); !errors.Is(err, test.why) {
					t.Errorf("error %v, want %v", err, test.why)
				}
			})
		})
	}
}

// TestRemovedKeyStaysRemoved: the ring that was followed outlives the process, with the document.
func TestRemovedKeyStaysRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced), CacheDir: t.TempDir()}
		first := newSignedClient(t, opts)
		first.publish(sealed(t, with(42, ""), "ab"))
		if err := first.poll(); err != nil {
			t.Fatal(err)
		}
		// The same document, signed under the next ring: nothing for the engine, all for the cache.
		first.publish(sealed(t, with(42, ""), "bc", ringOf(t, 2, 40, "bc", "abc")))
		if err := first.poll(); err != nil {
			t.Fatal(err)
		}
		for _, preset := range []remoteconfig.Source{nil, remoteconfig.FS(fstest.MapFS{
			"d": {Data: []byte(sealed(t, with(43, killAll), "ab"))}}, "d")} {
			opts.Default = preset // of a release that was built before the key was removed
			next := newSignedClient(t, opts)
			if err := next.watcher.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			next.publish(sealed(t, with(50, killAll), "ab"))
			if err := next.poll(); !errors.Is(err, remoteconfig.ErrRing) {
				t.Errorf("in the next life: %v", err)
			}
			next.stands(42, remoteconfig.ErrRing)
		}
	})
}

// TestCacheEdited writes into the cache what an attacker with a removed key, or none, would like to
// be there, whole and with a right checksum.
func TestCacheEdited(t *testing.T) {
	two := ringOf(t, 2, 40, "bc", "abc")
	for name, forged := range map[string]string{
		"raw":                        with(99, killAll),
		"signed by a wrong key":      sealed(t, with(99, killAll), "xy", two),
		"a forged ring":              sealed(t, with(99, killAll), "xy", ringOf(t, 2, 0, "xy", "xy")),
		"another document":           sealed(t, strings.Replace(with(99, killAll), "shop", "till", 1), "bc", two),
		"below the compiled version": sealed(t, with(39, killAll), "ab"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced), CacheDir: t.TempDir()}
				first := newSignedClient(t, opts)
				first.publish(sealed(t, with(42, ""), "bc", two))
				if err := first.poll(); err != nil {
					t.Fatal(err)
				}
				forge(t, opts.CacheDir, forged)
				next := newSignedClient(t, opts)
				if err := next.watcher.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				if s := next.watcher.Status(); s.Applied != 0 || next.killed() {
					t.Errorf("killed %v, %+v", next.killed(), s)
				}
				if told := next.told(remoteconfig.EventRefused); len(told) != 1 {
					t.Errorf("told %+v", told)
				}
				// The true one replaces it, though the forged one claims to be newer.
				next.publish(sealed(t, with(43, ""), "bc", two))
				if err := next.poll(); err != nil {
					t.Fatal(err)
				}
				last := newSignedClient(t, opts)
				if _ = last.watcher.Load(t.Context()); last.watcher.Status().Applied != 43 {
					t.Errorf("afterwards: %+v", last.watcher.Status())
				}
			})
		})
	}
}

// forge replaces the cached document, in the form of the cache.
func forge(t *testing.T, dir, document string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "document-*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(data, []byte{'\n'})
	var header struct {
		Schema  int       `json:"tether"`
		Tag     string    `json:"tag"`
		Adopted time.Time `json:"adopted"`
		Sum     string    `json:"sha256"`
	}
	if err := json.Unmarshal(line, &header); err != nil {
		t.Fatal(err)
	}
	header.Sum = ""
	line, _ = json.Marshal(header)
	sum := sha256.Sum256(append(line, document...))
	header.Sum = hex.EncodeToString(sum[:])
	line, _ = json.Marshal(header)
	if err := os.WriteFile(files[0], append(append(line, '\n'), document...), 0o600); err != nil {
		t.Fatal(err)
	}
}
