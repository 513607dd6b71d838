package remoteconfig_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/internal/memnet"
	"github.com/tether-go/tether/ratelimit/pacing"
	"github.com/tether-go/tether/remoteconfig"
)

// An engine is all that a target can be.
var (
	_ remoteconfig.Readopter = (*tether.Engine)(nil)
	_ remoteconfig.Keeper    = (*tether.Engine)(nil)
)

const killAll = `, "kill": [{"match": {}, "until": "2100-01-01T00:00:00Z", "reason": "closed"}]`

// with is a document of a version, with further members.
func with(version int, members string) string {
	return fmt.Sprintf(`{"schema": 1, "document": "shop", "version": %d%s}`, version, members)
}

func expiresAt(at time.Time) string { return `, "expires": "` + at.Format(time.RFC3339) + `"` }

// process is one life of a program: an engine, a watcher and a client.
type process struct {
	engine  *tether.Engine
	watcher *remoteconfig.Watcher
	client  *tether.Client
}

func newProcess(t *testing.T, source remoteconfig.Source, opts remoteconfig.Options,
	backend http.RoundTripper) *process {
	t.Helper()
	p := &process{engine: newEngine(t, nil)}
	var err error
	if p.watcher, err = remoteconfig.New(source, p.engine, opts); err != nil {
		t.Fatal(err)
	}
	p.client = p.engine.Client(&http.Client{Transport: backend})
	return p
}

// call makes a call that doesn't wait.
func (p *process) call(t *testing.T) error {
	t.Helper()
	ctx := tether.WithCall(t.Context(), tether.CallOptions{NoWait: true})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

func answering(status int, retryAfter string) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		header := http.Header{}
		if retryAfter != "" {
			header.Set("Retry-After", retryAfter)
		}
		return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: r}, nil
	}
}

// TestExpiredSurvivesARestart has the config server down for days. What was valid when it was
// adopted, from the server or from within the program, is in force in every life, and stale.
func TestExpiredSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := with(3, expiresAt(time.Now().Add(time.Hour)))
		published, down := &publisher{}, &publisher{}
		published.publish(text)
		down.fail(errors.New("down"))
		inside := remoteconfig.FS(fstest.MapFS{"d": {Data: []byte(text)}}, "d")
		lives := []struct {
			name   string
			source remoteconfig.Source
			opts   remoteconfig.Options
		}{
			{"published", published, remoteconfig.Options{CacheDir: t.TempDir()}},
			{"embedded", down, remoteconfig.Options{CacheDir: t.TempDir(), Default: inside}},
		}
		for _, life := range lives {
			_ = newProcess(t, life.source, life.opts, nil).watcher.FetchOnce(t.Context())
		}
		published.fail(errors.New("down"))
		for day := range 3 {
			time.Sleep(24 * time.Hour)
			for _, life := range lives {
				p := newProcess(t, life.source, life.opts, nil)
				if err := p.watcher.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				h, s := p.engine.Health(), p.watcher.Status()
				if h.Version != 3 || !h.Stale || s.Applied != 3 || !s.Stale {
					t.Errorf("%s, day %d: %+v, %+v", life.name, day+1, h, s)
				}
			}
		}
		// Without a cache it would be newly adopted.
		published.publish(text)
		for _, opts := range []remoteconfig.Options{{}, {Default: inside}, {CacheDir: t.TempDir()}} {
			p := newProcess(t, published, opts, nil)
			err := p.watcher.FetchOnce(t.Context())
			if !errors.Is(err, tether.ErrExpired) || p.engine.Health().Version != 0 {
				t.Errorf("newly adopted: %v, version %d", err, p.engine.Health().Version)
			}
		}
	})
}

// TestCrashLoopRenewsNoKill: however often a program starts and however the document comes to it, a
// kill ends a compiled day after it was first applied.
func TestCrashLoopRenewsNoKill(t *testing.T) {
	tests := map[string]func() (remoteconfig.Source, remoteconfig.Options){
		"published, each time with another tag": func() (remoteconfig.Source, remoteconfig.Options) {
			source, n := &publisher{}, 0
			source.set(func(string) (remoteconfig.Fetched, error) {
				n++
				return remoteconfig.Fetched{Document: []byte(with(1, killAll)), Tag: fmt.Sprint(n)}, nil
			})
			return source, remoteconfig.Options{}
		},
		"embedded": func() (remoteconfig.Source, remoteconfig.Options) {
			source := &publisher{}
			source.fail(errors.New("down"))
			return source, remoteconfig.Options{Default: remoteconfig.FS(
				fstest.MapFS{"d": {Data: []byte(with(1, killAll))}}, "d")}
		},
		"refused": func() (remoteconfig.Source, remoteconfig.Options) {
			source := &publisher{}
			source.publish(with(1, killAll+`, "rules": 7`))
			return source, remoteconfig.Options{}
		},
	}
	for name, setUp := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source, opts := setUp()
				opts.CacheDir = t.TempDir()
				began, free, each := time.Now(), 0, sized(7*time.Minute, 21*time.Minute)
				for time.Since(began) < 30*time.Hour {
					p := newProcess(t, source, opts, answering(200, ""))
					_ = p.watcher.FetchOnce(t.Context())
					err, age := p.call(t), time.Since(began)
					killed := errors.Is(err, tether.ErrKilled)
					// A refused document is not cached: its kills are back with the next poll.
					if killed && age >= 24*time.Hour || !killed && age < 24*time.Hour && name != "refused" {
						t.Fatalf("after %v: %v", age, err)
					}
					if err == nil {
						free++
					}
					time.Sleep(each)
				}
				if free == 0 {
					t.Error("a call was never made")
				}
			})
		})
	}
}

// TestHoldsSurviveARestart: a server's "not before" holds in the next life, if that reads it before
// the first call. What is kept is a small private file, and one that is spoilt costs itself.
func TestHoldsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts, source := remoteconfig.Options{CacheDir: t.TempDir()}, &publisher{}
		source.publish(with(1, ""))
		kept := func() string {
			files, err := filepath.Glob(filepath.Join(opts.CacheDir, "kept-*"))
			if err != nil || len(files) > 1 {
				t.Fatal(files, err)
			}
			return strings.Join(files, "")
		}
		first := newProcess(t, source, opts, answering(503, "3000"))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = first.watcher.Run(ctx) })
		time.Sleep(2 * time.Minute)
		if kept() != "" {
			t.Error("a file for nothing")
		}
		_ = first.call(t) // held from here on, for 50 min
		time.Sleep(10 * time.Minute)
		if info, err := os.Stat(kept()); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 300 {
			t.Errorf("at a poll: %+v, %v", info, err)
		}
		if err := os.Remove(kept()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval + time.Minute)
		if kept() != "" {
			t.Error("written again though nothing changed") // it may be another process's by now
		}
		stop()
		running.Wait()

		// Another life hears of another hold, and writes when it ends.
		second := newProcess(t, source, opts, answering(503, "3000"))
		ctx, stop = context.WithCancel(t.Context())
		running.Go(func() { _ = second.watcher.Run(ctx) })
		synctest.Wait()
		_ = second.call(t)
		stop()
		running.Wait()
		held := second.engine.Health().Targets[0].HeldUntil
		third := newProcess(t, source, opts, answering(200, ""))
		if err := third.watcher.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := third.call(t); !errors.Is(err, pacing.ErrHeld) {
			t.Errorf("in the next life: %v", err)
		}
		if got := third.engine.Health().Targets[0].HeldUntil; !got.Equal(held) {
			t.Errorf("held until %v, was %v", got, held)
		}

		for _, spoilt := range []string{"{", `{"tether": 99}`, strings.Repeat("x", 2<<20)} {
			if err := os.WriteFile(kept(), []byte(spoilt), 0o600); err != nil {
				t.Fatal(err)
			}
			p := newProcess(t, source, opts, answering(200, ""))
			if err := p.watcher.Load(t.Context()); err != nil || p.call(t) != nil {
				t.Errorf("spoilt: %v, version %d", err, p.engine.Health().Version)
			}
			if data, err := os.ReadFile(kept()); err != nil || len(data) != 0 {
				t.Errorf("not replaced: %d bytes, %v", len(data), err)
			}
		}
	})
}

// TestAudienceOverHTTP publishes a document for others, kills and all. None of it counts, which is
// said once and not at each poll; the next one for us is taken.
func TestAudienceOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var published atomic.Pointer[string]
		publish := func(document string) { published.Store(&document) }
		ours, others := `, "audience": {"environment": "production"}`, `, "audience": {"environment": "staging"}`
		publish(with(1, ours))
		transport, url := memnet.Serve(t, remoteconfig.Handler(
			func() []byte { return []byte(*published.Load()) }))
		defer transport.CloseIdleConnections()

		var told atomic.Int32
		engine, err := tether.New(tether.Options{
			Audience: map[string]string{"environment": "production", "service": "shop"},
			Observe: func(e tether.Event) {
				if e.Kind == tether.EventNotTaken && errors.Is(e.Err, tether.ErrAudience) {
					told.Add(1)
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		client := engine.Client(&http.Client{Transport: answering(200, "")})
		w := run(t, remoteconfig.HTTP{URL: url, Client: &http.Client{Transport: transport}}, engine,
			remoteconfig.Options{})
		step := func(document string, applied uint64, refusal error, killed bool) {
			t.Helper()
			publish(document)
			time.Sleep(10 * interval)
			resp, err := client.Get("http://api.example.com")
			if err == nil {
				resp.Body.Close()
			}
			s := w.Status()
			if s.Applied != applied || !errors.Is(s.RefusedErr, refusal) ||
				errors.Is(err, tether.ErrKilled) != killed {
				t.Errorf("%s: a call got %v; %+v", document, err, s)
			}
		}
		step(with(1, ours), 1, nil, false)
		step(with(2, others+killAll), 1, tether.ErrAudience, false)
		if n := told.Load(); n != 1 {
			t.Errorf("told %d times in ten polls", n)
		}
		step(with(3, ours+killAll), 3, nil, true)
		step(with(4, ""), 4, nil, false)
	})
}
