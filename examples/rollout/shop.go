package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/flags"
	"github.com/tether-go/tether/remoteconfig"
)

const (
	users   = 1000
	workers = 4
	poll    = time.Second // the shortest that a program may compile in; most have 5 min
)

// shop is a program with an old and a new way to its checkout, the two servers behind them, and the server
// that publishes its document.
type shop struct {
	old, fresh, config *httptest.Server
	broken             atomic.Bool
	document           atomic.Pointer[[]byte]
	version            int
	client             *tether.Client
	guard              *flags.Guard
	changed            chan struct{} // a change of flags is in force

	mu     sync.Mutex // guards what follows
	came   round
	events []string
}

// round is what the servers counted while every user made one call.
type round struct {
	old, fresh map[string]bool // users
	failed     int             // calls that failed for their users
}

func newShop() (*shop, error) {
	s := &shop{changed: make(chan struct{}, 1), came: newRound()}
	var err error
	if s.client, err = tether.NewClient(nil, tether.Options{}); err != nil {
		return nil, err
	}
	s.guard, err = flags.NewGuard(s.client.Engine().Flags(), "checkout-v2", flags.GuardPolicy{},
		flags.GuardOptions{FallBack: true, Observe: s.heard})
	if err != nil {
		return nil, err
	}
	s.client.Engine().Flags().Listen(func([]string) {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	})
	s.old = httptest.NewServer(s.serve(func(user string) int { s.came.old[user] = true; return 0 }))
	s.fresh = httptest.NewServer(s.serve(func(user string) int { s.came.fresh[user] = true; return len(s.came.fresh) }))
	s.config = httptest.NewServer(remoteconfig.Handler(func() []byte { return *s.document.Load() }))
	s.document.Store(new([]byte))
	return s, nil
}

func newRound() round { return round{old: make(map[string]bool), fresh: make(map[string]bool)} }

func (s *shop) close() {
	s.old.Close()
	s.fresh.Close()
	s.config.Close()
	s.client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
}

// serve is a server that counts its users; count is called with the lock held, and numbers those of the
// new path, of which some fail while it is broken.
func (s *shop) serve(count func(user string) int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		n := count(r.URL.Query().Get("user"))
		s.mu.Unlock()
		if n%5 > 2 && s.broken.Load() {
			http.Error(w, "broken", http.StatusInternalServerError)
		}
	})
}

// watch follows the document until stop is called.
func (s *shop) watch(ctx context.Context) (stop func(), err error) {
	watcher, err := remoteconfig.New(remoteconfig.HTTP{URL: s.config.URL}, s.client.Engine(),
		remoteconfig.Options{PollInterval: poll, PollMin: poll})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = watcher.Run(ctx) }) // it ends with ctx
	return func() { cancel(); running.Wait() }, nil
}

// publish turns the flag on for so many of a hundred users, and waits until the client has taken it.
func (s *shop) publish(ctx context.Context, percent int) error {
	s.version++
	document := fmt.Appendf(nil, `{"schema": 1, "document": "shop", "version": %d,
		"flags": {"flags": {"checkout-v2": {"state": "ENABLED", "variants": {"on": true, "off": false},
			"defaultVariant": "off", "targeting": {"fractional": [["on", %d], ["off", %d]]}}}},
		"flagSettings": {"guards": {"checkout-v2": {"window": "10s", "latch": "5s"}}}}`,
		s.version, percent, 100-percent)
	s.document.Store(&document)
	select {
	case <-s.changed:
		return nil
	case <-ctx.Done():
		return errors.New("the client never took the document")
	}
}

// everybody has each user make one call, and returns what the servers counted meanwhile.
func (s *shop) everybody(ctx context.Context) round {
	s.mu.Lock()
	s.came = newRound()
	s.mu.Unlock()
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := next.Add(1); n <= users; n = next.Add(1) {
				if s.checkout(ctx, fmt.Sprint("user-", n)) != nil {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return round{maps.Clone(s.came.old), maps.Clone(s.came.fresh), int(failed.Load())}
}

// checkout is the program's: those who have the flag go the new way.
func (s *shop) checkout(ctx context.Context, user string) error {
	return s.guard.Do(ctx, flags.Attributes{flags.TargetingKey: user},
		func(ctx context.Context) error { return s.call(ctx, s.fresh.URL, user) },
		func(ctx context.Context) error { return s.call(ctx, s.old.URL, user) })
}

func (s *shop) call(ctx context.Context, url, user string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/checkout?user="+user, nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// untilOn has users come, a hundred times a second, until the client has turned the flag on again.
func (s *shop) untilOn(ctx context.Context) (round, error) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	failed := 0
	for n := 1; s.guard.Status().Off; n = n%users + 1 {
		if s.checkout(ctx, fmt.Sprint("user-", n)) != nil {
			failed++
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return round{}, errors.New("the client never tried the new path again")
		}
	}
	return round{failed: failed}, nil
}

func (s *shop) heard(e flags.GuardEvent) {
	if e.Kind == flags.FellBack {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, string(e.Kind))
}

// told is what the guard told, but for each fallback.
func (s *shop) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}
