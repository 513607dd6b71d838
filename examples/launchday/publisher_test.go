package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/policy"
)

// A good document, a bad one and the next good one, over real HTTP, to the clients of a fleet.
func TestPublisher(t *testing.T) {
	p, err := newPublisher(10)
	if err != nil {
		t.Fatal(err)
	}
	b := newBackend(400, 3, 10)
	b.address = "127.0.0.1:1" // nobody calls it
	fleet, err := newTetherFleet(b, 3, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.watch(fleet.engines); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i, e := range []edition{pathKilled, malformed, released} {
		version := uint64(i + 1)
		push, err := p.publish(compose(e, version, b.address, time.Now().Add(time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			running.Go(func() { p.run(ctx) })
		}
		select {
		case <-push.everybody:
		case <-time.After(10 * time.Second):
			t.Fatalf("version %d didn't reach everybody", version)
		}
		keeping := 0
		if e == malformed {
			keeping = 3
		}
		if got := p.keeping(version-1, version); got != keeping {
			t.Errorf("version %d: %d clients keep the one before, want %d", version, got, keeping)
		}
		err = fleet.ask(t.Context(), i, exportPath)
		if killed := errors.Is(err, tether.ErrKilled); killed == (e == released) {
			t.Errorf("version %d: the path is killed: %v (%v)", version, killed, err)
		}
	}
	cancel()
	running.Wait()
	for i, s := range p.spreads() {
		refused := 0
		if i == 1 {
			refused = 3
		}
		if s.Version != uint64(i+1) || s.Told != 3 || s.Refused != refused || s.Seconds < 0 {
			t.Errorf("spread %+v", s)
		}
	}
	// Of three clients whose intervals are up to 1.1 s, two may be all that poll in a second.
	if polls := p.peakPolls(); polls <= 0 || polls > 2 {
		t.Errorf("at most %v polls a second and client", polls)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

// What nobody has asked for yet has reached nobody.
func TestPublisherUnheard(t *testing.T) {
	p, err := newPublisher(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.publish(compose(first, 1, "", time.Time{})); err != nil {
		t.Fatal(err)
	}
	if got := p.spreads(); len(got) != 1 || got[0] != (spread{Version: 1, Seconds: -1}) {
		t.Errorf("spread %+v", got)
	}
	resp, err := http.Get(p.url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

func TestCompose(t *testing.T) {
	const host = "127.0.0.1:80"
	until := time.Now().Add(time.Minute)
	for e := first; e <= released; e++ {
		data, err := compose(e, 7, host, until).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		c, notes, err := policy.Parse(data)
		var mistakes *policy.Error
		if bad := errors.As(err, &mistakes); bad != (e == malformed) || !bad && err != nil {
			t.Errorf("edition %d: %v", e, err)
		}
		if len(notes) > 0 || c.Version != 7 || c.Document != documentName {
			t.Errorf("edition %d: %+v, notes %v", e, c, notes)
		}
		if killed := len(c.Kill) > 0; killed != (e == pathKilled) {
			t.Errorf("edition %d: kills %+v", e, c.Kill)
		}
		if calm := len(c.Schedules) > 0; e != malformed && calm != (e != first) {
			t.Errorf("edition %d: schedules %+v", e, c.Schedules)
		}
	}
}
