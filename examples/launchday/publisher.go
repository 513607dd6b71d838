package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
	"github.com/tether-go/tether/remoteconfig"
)

// pollInterval is the shortest that a program may compile in; most have 5 min. A script of a minute
// can't wait for that, and the fleet is small enough.
const pollInterval = time.Second

// push is one published version and how it spread.
type push struct {
	version   uint64
	published time.Time
	told      int // clients that took or refused it
	refused   int // of them
	last      time.Time
	everybody chan struct{} // closed when the last client has told
}

// publisher is a config server with the clients that follow it. It is safe for concurrent use.
type publisher struct {
	server   *http.Server
	url      string
	served   chan error // what Serve returned
	watchers []*remoteconfig.Watcher

	mu       sync.Mutex // guards what follows
	document []byte
	pushes   []*push
	start    time.Time
	polls    []int // by second
}

// newPublisher starts a config server on a free loopback port; close ends it. It counts polls for
// so many seconds.
func newPublisher(seconds int) (*publisher, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &publisher{
		url: "http://" + listener.Addr().String(), served: make(chan error, 1),
		polls: make([]int, seconds),
	}
	serve := remoteconfig.Handler(p.current)
	p.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.countPoll()
		serve.ServeHTTP(w, r)
	})}
	go func() { p.served <- p.server.Serve(listener) }()
	return p, nil
}

func (p *publisher) close() error {
	p.server.Close()
	if err := <-p.served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (p *publisher) current() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.document
}

func (p *publisher) countPoll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if second := int(time.Since(p.start) / time.Second); second < len(p.polls) {
		p.polls[second]++
	}
}

// watch gives each engine a watcher of its own.
func (p *publisher) watch(engines []*tether.Engine) error {
	source := remoteconfig.HTTP{URL: p.url}
	options := remoteconfig.Options{
		PollInterval: pollInterval, PollMin: pollInterval, Observe: p.heard,
	}
	for _, engine := range engines {
		w, err := remoteconfig.New(source, engine, options)
		if err != nil {
			return err
		}
		p.watchers = append(p.watchers, w)
	}
	return nil
}

// run has every watcher poll until ctx ends, and counts from now on. It returns when all have
// stopped.
func (p *publisher) run(ctx context.Context) {
	p.mu.Lock()
	p.start = time.Now()
	p.mu.Unlock()
	var running sync.WaitGroup
	defer running.Wait()
	for _, w := range p.watchers {
		running.Go(func() { _ = w.Run(ctx) }) // it ends with ctx
	}
}

// publish replaces the document. Nobody is told: the clients come and look.
func (p *publisher) publish(document policy.Document) (*push, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	next := &push{version: document.Version, published: time.Now(), everybody: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.document = data
	p.pushes = append(p.pushes, next)
	return next, nil
}

// heard is what each watcher reports to.
func (p *publisher) heard(event remoteconfig.Event) {
	if event.Kind != remoteconfig.EventApplied && event.Kind != remoteconfig.EventRefused {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, push := range p.pushes {
		if push.version != event.Version {
			continue
		}
		if event.Kind == remoteconfig.EventRefused {
			push.refused++
		}
		if push.told++; push.told == len(p.watchers) {
			push.last = event.Time
			close(push.everybody)
		}
	}
}

// keeping counts the clients that have one version in force and know that they refused another.
func (p *publisher) keeping(applied, refused uint64) (clients int) {
	for _, w := range p.watchers {
		if s := w.Status(); s.Applied == applied && s.Refused == refused && s.RefusedErr != nil {
			clients++
		}
	}
	return clients
}

// spread is how long a push took, and what came of it.
type spread struct {
	Version uint64  `json:"version"`
	Seconds float64 `json:"secondsToLastClient"` // -1: one has not heard
	Told    int     `json:"told"`                // clients that took or refused it
	Refused int     `json:"refused"`             // of them
}

func (p *publisher) spreads() []spread {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []spread
	for _, push := range p.pushes {
		s := spread{push.version, -1, push.told, push.refused}
		if !push.last.IsZero() {
			s.Seconds = push.last.Sub(push.published).Seconds()
		}
		all = append(all, s)
	}
	return all
}

// gathering is how many intervals it takes until clients that start together, without a document, poll
// at their usual rate: their second poll comes at a random moment of the interval.
const gathering = 2

// peakPolls is the busiest second at the config server after that, in polls for each that was due in it.
func (p *publisher) peakPolls() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := 0
	for _, n := range p.polls[min(gathering, len(p.polls)):] {
		most = max(most, n)
	}
	return float64(most) / (float64(len(p.watchers)) / pollInterval.Seconds())
}
