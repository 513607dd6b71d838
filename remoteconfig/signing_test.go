package remoteconfig_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/envelope"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/remoteconfig"
)

func keyOf(id string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(id))
	return ed25519.NewKeyFromSeed(seed[:])
}

// ringOf makes a ring of the document "shop" with a threshold of 2.
func ringOf(t testing.TB, number, minVersion uint64, members, signers string) *envelope.Envelope {
	t.Helper()
	ring := envelope.Ring{Number: number, Document: "shop", Threshold: 2, MinVersion: minVersion,
		Keys: map[string]ed25519.PublicKey{}}
	for _, id := range members {
		ring.Keys[string(id)] = keyOf(string(id)).Public().(ed25519.PublicKey)
	}
	e, err := ring.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	return signedBy(e, signers)
}

func signedBy(e *envelope.Envelope, signers string) *envelope.Envelope {
	for _, id := range signers {
		e.Sign(string(id), keyOf(string(id)))
	}
	return e
}

func published(t testing.TB, e *envelope.Envelope, rings ...*envelope.Envelope) string {
	t.Helper()
	e.Rings = rings
	data, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// sealed is a document as it is published: in an envelope, with signatures and rings.
func sealed(t testing.TB, document, signers string, rings ...*envelope.Envelope) string {
	t.Helper()
	return published(t, signedBy(&envelope.Envelope{PayloadType: envelope.DocumentType,
		Payload: []byte(document)}, signers), rings...)
}

// trusting is a program that was built with ring 1.
func trusting(t testing.TB, mode remoteconfig.Mode) remoteconfig.Trust {
	return remoteconfig.Trust{Mode: mode, Ring: []byte(published(t, ringOf(t, 1, 40, "ab", "ab")))}
}

// signedClient is an engine that a watcher steers from a real server, in virtual time.
type signedClient struct {
	t       *testing.T
	engine  *tether.Engine
	watcher *remoteconfig.Watcher
	client  *tether.Client

	mu      sync.Mutex // guards what follows
	handler http.Handler
	events  []remoteconfig.Event
}

func (c *signedClient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	handler := c.handler
	c.mu.Unlock()
	handler.ServeHTTP(w, r)
}

func (c *signedClient) serve(handler http.Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler, c.events = handler, nil
}

func (c *signedClient) publish(document string) {
	c.serve(remoteconfig.Handler(func() []byte { return []byte(document) }))
}

func (c *signedClient) told(kind remoteconfig.EventKind) (found []remoteconfig.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func newSignedClient(t *testing.T, opts remoteconfig.Options) *signedClient {
	t.Helper()
	c := &signedClient{t: t}
	c.serve(http.NotFoundHandler())
	transport, url := memnet.Serve(t, c)
	t.Cleanup(transport.CloseIdleConnections)
	var err error
	c.engine, err = tether.New(tether.Options{Seed: 1,
		Audience: map[string]string{"environment": "production"}})
	if err != nil {
		t.Fatal(err)
	}
	opts.Observe = func(e remoteconfig.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events = append(c.events, e)
	}
	source := remoteconfig.HTTP{URL: url, Client: &http.Client{Transport: transport}}
	if c.watcher, err = remoteconfig.New(source, c.engine, opts); err != nil {
		t.Fatal(err)
	}
	c.client = c.engine.Client(&http.Client{Transport: answering(200, "")})
	return c
}

// poll asks once, as if an interval had gone by.
func (c *signedClient) poll() error {
	time.Sleep(2 * interval)
	return c.watcher.FetchOnce(c.t.Context())
}

func (c *signedClient) killed() bool {
	resp, err := c.client.Get("http://api.example.com")
	if err == nil {
		resp.Body.Close()
	}
	return errors.Is(err, tether.ErrKilled)
}

func TestEnforced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSignedClient(t, remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced)})
		c.publish(sealed(t, with(42, ""), "ab"))
		if err := c.poll(); err != nil {
			t.Fatal(err)
		}
		s := c.watcher.Status()
		if s.Applied != 42 || s.Mode != remoteconfig.Enforced || fmt.Sprint(s.Proof) != "{1 [a b]}" {
			t.Errorf("status %+v", s)
		}
		// The next ring, with a document that is wrong elsewhere: its kills count.
		two := ringOf(t, 2, 43, "bc", "abc")
		c.publish(sealed(t, with(43, killAll+`, "rules": 7`), "cb", two))
		var refused *policy.Error
		if err := c.poll(); !errors.As(err, &refused) || !c.killed() {
			t.Errorf("%v, killed %v", err, c.killed())
		}
		c.publish(sealed(t, with(44, ""), "cb", two))
		if err := c.poll(); err != nil || c.killed() {
			t.Errorf("%v, killed %v", err, c.killed())
		}
		applied := c.told(remoteconfig.EventApplied)
		if len(applied) != 1 || fmt.Sprint(applied[0].Proof) != "{2 [b c]}" {
			t.Errorf("events %+v", applied)
		}
	})
}

func TestReportOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSignedClient(t, remoteconfig.Options{Trust: trusting(t, remoteconfig.ReportOnly)})
		for i, step := range []struct {
			document string
			why      error
		}{
			{sealed(t, with(41, ""), "ab"), nil},
			{with(42, ""), remoteconfig.ErrUnsigned},
			{sealed(t, with(43, ""), "a"), remoteconfig.ErrSignature},
			{sealed(t, with(44, ""), "ab", ringOf(t, 2, 0, "bc", "bc")), remoteconfig.ErrRing},
			{sealed(t, with(45, ""), "ab"), nil},
		} {
			c.publish(step.document)
			for range 3 {
				if err := c.poll(); err != nil {
					t.Fatal(err)
				}
			}
			s, told := c.watcher.Status(), c.told(remoteconfig.EventUnproved)
			if s.Applied != uint64(41+i) || !errors.Is(s.Unproved, step.why) ||
				(s.Unproved == nil) != (step.why == nil) || (s.Proof.Ring == 0) != (step.why != nil) {
				t.Errorf("version %d: %+v", 41+i, s)
			}
			if step.why == nil && len(told) > 0 ||
				step.why != nil && (len(told) != 1 || !errors.Is(told[0].Err, step.why)) {
				t.Errorf("version %d: told %+v", 41+i, told)
			}
		}
	})
}

// TestUnsignedReadsEnvelopes: those who launched before the first signature must be reached by the
// same URL, or nobody could ever begin to sign.
func TestUnsignedReadsEnvelopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSignedClient(t, remoteconfig.Options{CacheDir: t.TempDir()})
		c.publish(sealed(t, with(42, `, "pollInterval": "60s"`), "x"))
		if err := c.poll(); err != nil || c.watcher.Status().Applied != 42 {
			t.Errorf("%v, %+v", err, c.watcher.Status())
		}
		resp := get(t, c)
		if got := resp.Header.Get("Cache-Control"); got != "max-age=60" {
			t.Errorf("a signed document is served with %q", got)
		}
	})
}

func get(t *testing.T, c http.Handler) *http.Response {
	t.Helper()
	transport, url := memnet.Serve(t, c)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestTrustIsChecked(t *testing.T) {
	spoilt := trusting(t, remoteconfig.Enforced)
	spoilt.Ring = bytes.Replace(spoilt.Ring, []byte(`"sig":"`), []byte(`"sig":"A`), 1)
	unsigned := ringOf(t, 1, 0, "ab", "a")
	for name, trust := range map[string]remoteconfig.Trust{
		"no ring":              {Mode: remoteconfig.Enforced},
		"a ring and no mode":   trusting(t, remoteconfig.Unsigned),
		"no such mode":         trusting(t, 3),
		"spoilt":               spoilt,
		"not signed by itself": {Mode: remoteconfig.ReportOnly, Ring: []byte(published(t, unsigned))},
		"a document":           {Mode: remoteconfig.Enforced, Ring: []byte(sealed(t, with(1, ""), "ab"))},
	} {
		_, err := remoteconfig.New(&publisher{}, refuseGarbage{}, remoteconfig.Options{Trust: trust})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var zero remoteconfig.Options
	if data, err := json.Marshal(zero.Trust); err != nil || zero.Trust.Mode != remoteconfig.Unsigned {
		t.Error(string(data), err)
	}
}

// TestNewReleaseRemovesAKey ships a default document under ring 2. What the cache has under ring 1,
// from before or from whoever holds the removed key, counts no longer.
func TestNewReleaseRemovesAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced), CacheDir: t.TempDir()}
		first := newSignedClient(t, opts)
		first.publish(sealed(t, with(99, killAll), "ab"))
		if err := first.poll(); err != nil {
			t.Fatal(err)
		}
		opts.Default = remoteconfig.FS(fstest.MapFS{"d": {Data: []byte(
			sealed(t, with(43, ""), "bc", ringOf(t, 2, 40, "bc", "abc")))}}, "d")
		next := newSignedClient(t, opts)
		if err := next.watcher.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		next.stands(43, nil)
	})
}

// TestSigningAnewRenewsNothing: whoever changes the envelope alone, which needs no key, or signs the
// same document again, makes a kill no longer.
func TestSigningAnewRenewsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced), CacheDir: t.TempDir()}
		document := sealed(t, with(42, killAll), "ab")
		for hour := range 26 {
			c := newSignedClient(t, opts)
			c.publish(strings.Replace(document, "{", fmt.Sprintf(`{"note": %d, `, hour), 1))
			if err := c.poll(); err != nil {
				t.Fatal(err)
			}
			if killed := c.killed(); killed != (hour < 24) {
				t.Errorf("hour %d: killed %v", hour, killed)
			}
			time.Sleep(time.Hour - 2*interval)
		}
	})
}

// TestForgedTag gives a forged document the tag of the next true one, so that the server would
// answer "unchanged" to whoever had seen it.
func TestForgedTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSignedClient(t, remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced)})
		for _, document := range []string{with(99, killAll), sealed(t, with(42, ""), "ab")} {
			c.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"next"`)
				if r.Header.Get("If-None-Match") == `"next"` {
					w.WriteHeader(http.StatusNotModified)
					return
				}
				_, _ = io.WriteString(w, document)
			}))
			_ = c.poll()
		}
		c.stands(42, nil)
	})
}

// TestSignedCacheIsShared by a process that is behind, which must not put its older document there.
func TestSignedCacheIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced), CacheDir: t.TempDir()}
		ahead, behind := newSignedClient(t, opts), newSignedClient(t, opts)
		if err := behind.watcher.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		ahead.publish(sealed(t, with(43, ""), "ab"))
		behind.publish(sealed(t, with(42, ""), "ab"))
		if err := errors.Join(ahead.poll(), behind.poll()); err != nil {
			t.Fatal(err)
		}
		next := newSignedClient(t, opts)
		if err := next.watcher.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		next.stands(43, nil)
	})
}

// TestRingInASharedCache: a process that hasn't heard of ring 2 is fooled with a removed key. Those
// that share its cache are not, and nor is it after its next start.
func TestRingInASharedCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, version := range []int{43, 99} {
			opts := remoteconfig.Options{Trust: trusting(t, remoteconfig.Enforced), CacheDir: t.TempDir()}
			ahead, behind := newSignedClient(t, opts), newSignedClient(t, opts)
			if err := behind.watcher.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			ahead.publish(sealed(t, with(43, ""), "bc", ringOf(t, 2, 40, "bc", "abc")))
			behind.publish(sealed(t, with(version, ""), "ab"))
			if err := errors.Join(ahead.poll(), behind.poll()); err != nil {
				t.Fatal(err)
			}
			next := newSignedClient(t, opts)
			if err := next.watcher.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := next.watcher.Status(); s.Applied != 43 || s.Proof.Ring != 2 {
				t.Errorf("beside version %d: %+v", version, s)
			}
		}
	})
}
