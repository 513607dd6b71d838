package tethertest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
	"github.com/tether-go/tether/criticality"
)

// call is what happened to one call.
type call struct {
	criticality        criticality.Level
	asked, sent, ended time.Time // sent: the first attempt; zero if there was none
	attempts           int
	failed             bool // one of its attempts
	ok                 bool
	refused            *tether.RejectedError // by the client itself
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// log collects what happens. It is safe for concurrent use.
type log struct {
	mu       sync.Mutex // guards what follows, and the fields of calls
	calls    []*call
	attempts []time.Time
	wasted   []time.Time // work done for callers that had gone
	worked   []time.Time
}

func (l *log) attempt(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.attempts = append(l.attempts, now)
	if c == nil {
		return
	}
	if c.attempts++; c.attempts == 1 {
		c.sent = now
	}
}

func (l *log) failure(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c != nil {
		c.failed = true
	}
}

func (l *log) work(now time.Time, wasted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.worked = append(l.worked, now)
	if wasted {
		l.wasted = append(l.wasted, now)
	}
}

// Rehearse runs the fleet in virtual time and returns the figures. It fails the test if a client can't
// be built.
func Rehearse(t *testing.T, r Rehearsal) Report {
	t.Helper()
	r = r.withDefaults()
	var report Report
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		s := newServer(r, l)
		began := time.Now()
		f := &fleet{r: r, log: l, began: began, ends: began.Add(r.Warm + r.Fault.For + r.After)}
		var wg sync.WaitGroup
		var client *http.Client
		for i := range r.Clients {
			if i%r.Share == 0 {
				var err error
				seed := r.Seed<<32 + uint64(i) + 1
				if client, err = r.Client(&http.Client{Transport: s}, seed); err != nil {
					t.Fatal(err)
				}
			}
			caller := &caller{client, rand.New(rand.NewPCG(r.Seed, uint64(i)+1))}
			wg.Go(func() { f.ask(caller) })
		}
		if r.Fault.For > 0 {
			time.Sleep(r.Warm)
			s.befall(r.Fault)
			time.Sleep(r.Fault.For)
			s.befall(Fault{Capacity: 1, Slower: 1})
		}
		wg.Wait()
		l.mu.Lock() // the server may still be at work for callers who have given up
		defer l.mu.Unlock()
		report = newReport(r, l, began)
	})
	return report
}

type fleet struct {
	r     Rehearsal
	log   *log
	began time.Time
	ends  time.Time
}

type caller struct {
	client *http.Client
	rand   *rand.Rand
}

// ask makes one caller's calls until the rehearsal ends.
func (f *fleet) ask(c *caller) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		time.Sleep(f.gap(c.rand))
		if !time.Now().Before(f.ends) {
			return
		}
		criticality := f.r.criticality(c.rand)
		wg.Go(func() { f.call(c.client, criticality) })
	}
}

// gap is the time to the next call. The demand of the time at which it starts decides, corrected where
// the fault begins or ends within.
func (f *fleet) gap(r *rand.Rand) time.Duration {
	left := r.ExpFloat64() / f.r.Rate // in seconds of usual demand
	now := time.Since(f.began)
	from, to := f.r.Warm, f.r.Warm+f.r.Fault.For
	at := now
	for {
		factor, until := 1.0, time.Duration(1<<62)
		switch {
		case at < from:
			until = from
		case at < to:
			factor, until = f.r.Fault.Demand, to
		}
		need := time.Duration(left / factor * 1e9)
		if at+need <= until || until == 1<<62 {
			return at + need - now
		}
		left -= (until - at).Seconds() * factor
		at = until
	}
}

func (f *fleet) call(client *http.Client, level criticality.Level) {
	own := &call{asked: time.Now(), criticality: level}
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), callKey{}, own), f.r.Deadline)
	defer cancel()
	if level != criticality.Default {
		ctx = criticality.With(ctx, level)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://backend.example/work", nil)
	if err != nil {
		panic(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	own.ended = time.Now()
	own.ok = err == nil && resp.StatusCode == http.StatusOK
	errors.As(err, &own.refused)
	f.log.calls = append(f.log.calls, own)
}
