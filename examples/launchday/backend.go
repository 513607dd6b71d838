package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	workers = 8

	// The queue takes longer to work off than callers wait. So an overload that fills it makes the
	// backend work for callers that have gone: the state that lasts after its cause has ended.
	queueTime = 3500 * time.Millisecond

	// An attempt that arrives this soon after a "no" may have left before its client read the "no".
	grace = 50 * time.Millisecond

	clientField = "Client-Number"
)

type mode int

const (
	serving   mode = iota
	resetting      // every connection is reset, old ones and new ones
	holding        // 503 with Retry-After
)

// tally is what a backend saw in one second. Attempts counts requests, and while the backend
// resets connections, new connections.
type tally struct{ attempts, good, wasted, refused int }

// backend is a server with a capacity: a fixed number of workers, each busy for a fixed service
// time, and a queue with a bound. It is safe for concurrent use.
type backend struct {
	service time.Duration
	visits  visits
	places  chan struct{}  // one for each request that is queued or in service
	idle    chan time.Time // the workers, each with the time at which it was due to be idle
	closing chan struct{}
	server  *http.Server
	address string
	served  chan error // what Serve returned

	mu        sync.Mutex // guards all below
	mode      mode
	openAt    time.Time // the end of the hold that Retry-After names
	conns     map[net.Conn]struct{}
	start     time.Time
	seconds   []tally
	notBefore []time.Time // by client: it was told not to come before this
	toldAt    []time.Time // by client: when it was told so for the first time in this hold
	early     int         // attempts before notBefore
	killedAt  time.Time   // zero while no kill is on
	killed    int         // attempts while killed
	inFlight  int         // attempts under way when the kill came

	unaccepted int // times that a connection could not be accepted
}

// newBackend returns a backend for a number of requests a second. It has room for so many seconds
// of counts; the last one takes all that is later.
func newBackend(capacity, clients, seconds int) *backend {
	b := &backend{
		service:   workers * time.Second / time.Duration(capacity),
		places:    make(chan struct{}, workers+int(float64(capacity)*queueTime.Seconds())),
		idle:      make(chan time.Time, workers),
		closing:   make(chan struct{}),
		served:    make(chan error, 1),
		conns:     map[net.Conn]struct{}{},
		visits:    visits{seen: map[int]bool{}},
		start:     time.Now(),
		seconds:   make([]tally, seconds),
		notBefore: make([]time.Time, clients),
		toldAt:    make([]time.Time, clients),
	}
	for range workers {
		b.idle <- b.start
	}
	b.server = &http.Server{Handler: b, ConnState: b.track}
	return b
}

// listen starts the server on a free loopback port; close ends it.
func (b *backend) listen() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.address = listener.Addr().String()
	go func() { b.served <- b.server.Serve(door{listener, b}) }()
	return nil
}

// close drops what is queued, and returns when the server has ended.
func (b *backend) close() error {
	close(b.closing)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if b.server.Shutdown(ctx) != nil {
		b.server.Close() // a connection still has a request: enough has been waited
	}
	if err := <-b.served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP queues a request, serves it, and counts it. A caller that leaves does not stop the
// work: few servers notice, and by then most have paid for it.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch mode, wait := b.arrive(r.Header.Get(clientField)); mode {
	case resetting:
		panic(http.ErrAbortHandler)
	case holding:
		w.Header().Set("Retry-After", strconv.Itoa(wait))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if b.visits.arrive(r.URL.Path, r.Header.Get(callField)) {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	default:
		b.count(func(t *tally) { t.refused++ })
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !b.serve() {
		return
	}
	if r.Context().Err() != nil {
		b.count(func(t *tally) { t.wasted++ })
		return
	}
	b.count(func(t *tally) { t.good++ })
}

// serve waits for a worker, in order of arrival, and for its service. It is false if the backend
// closes before.
func (b *backend) serve() bool {
	begin := time.Now()
	select {
	case free := <-b.idle:
		// A timer that fires late must not cost capacity: with a queue, the next service begins
		// when the last one was due to end.
		if free.After(begin) {
			begin = free
		}
	case <-b.closing:
		return false
	}
	due := begin.Add(b.service)
	time.Sleep(time.Until(due))
	b.idle <- due
	return true
}

// arrive counts an attempt and says what to do with it. For a hold it gives the Retry-After, in
// whole seconds rounded up (RFC 9110, section 10.2.3): never sooner than the hold ends.
func (b *backend) arrive(field string) (mode, int) {
	now := time.Now()
	client, err := strconv.Atoi(field)
	known := err == nil && client >= 0 && client < len(b.notBefore)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.second(now).attempts++
	b.countKilled(now)
	if known && now.Before(b.notBefore[client]) && now.Sub(b.toldAt[client]) > grace {
		b.early++
	}
	if b.mode != holding {
		return b.mode, 0
	}
	b.second(now).refused++
	wait := max(1, int((b.openAt.Sub(now)+time.Second-1)/time.Second))
	if known {
		if now.After(b.notBefore[client]) {
			b.toldAt[client] = now
		}
		until := now.Add(time.Duration(wait) * time.Second)
		if until.After(b.notBefore[client]) { // the latest "no" counts
			b.notBefore[client] = until
		}
	}
	return b.mode, wait
}

func (b *backend) countKilled(now time.Time) {
	switch {
	case b.killedAt.IsZero():
	case now.Sub(b.killedAt) > grace:
		b.killed++
	default:
		b.inFlight++
	}
}

func (b *backend) count(add func(*tally)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	add(b.second(time.Now()))
}

// second returns the tally of the second that now is in. The caller holds mu.
func (b *backend) second(now time.Time) *tally {
	return &b.seconds[min(max(0, int(now.Sub(b.start)/time.Second)), len(b.seconds)-1)]
}

// begin makes start the beginning of the first second.
func (b *backend) begin(start time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start = start
}

// become changes what the backend does. For holding, until is the end that Retry-After names. A
// request in service when its connection is reset is lost to its caller; net/http repeats it once
// by itself (a GET on a reused connection), so each fleet's outage begins with a few attempts more.
func (b *backend) become(m mode, until time.Time) {
	b.mu.Lock()
	b.mode, b.openAt = m, until
	var open []net.Conn
	if m == resetting {
		for conn := range b.conns {
			open = append(open, conn)
		}
	}
	b.mu.Unlock()
	for _, conn := range open {
		reset(conn)
	}
}

// watchKill counts attempts apart from now on, or no longer.
func (b *backend) watchKill(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.killedAt = time.Time{}
	if on {
		b.killedAt = time.Now()
		b.inFlight += len(b.places)
	}
}

// counts is a copy of all that was counted.
type counts struct {
	seconds                             []tally
	early, killed, inFlight, unaccepted int
}

func (b *backend) counts() counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return counts{slices.Clone(b.seconds), b.early, b.killed, b.inFlight, b.unaccepted}
}
