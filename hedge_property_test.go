package tether

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether/internal/target"
	"github.com/tether-go/tether/policy"
)

// whimsical is a server that does whatever a server, or a transport, can do to an attempt.
type whimsical struct {
	mu             sync.Mutex // guards rng and contexts
	rng            *rand.Rand
	contexts       []context.Context
	sent           atomic.Int64
	opened, closed atomic.Int64
}

type whimsicalBody struct {
	io.Reader
	once sync.Once
	of   *whimsical
}

func (b *whimsicalBody) Close() error {
	b.once.Do(func() { b.of.closed.Add(1) })
	return nil
}

func (w *whimsical) RoundTrip(req *http.Request) (*http.Response, error) {
	w.sent.Add(1)
	w.mu.Lock()
	w.contexts = append(w.contexts, req.Context())
	kind, wait := w.rng.IntN(24), time.Duration(w.rng.ExpFloat64()*float64(200*time.Millisecond))
	w.mu.Unlock()
	if kind == 0 {
		wait = time.Hour
	}
	if kind == 1 { // it doesn't heed contexts
		time.Sleep(wait)
	}
	select {
	case <-time.After(wait):
	case <-req.Context().Done():
		if kind != 2 { // an answer in the very moment of the end
			return nil, req.Context().Err()
		}
	}
	status, header := 200, make(http.Header)
	switch kind {
	case 3:
		return nil, io.ErrUnexpectedEOF
	case 4:
		panic("broken")
	case 5:
		runtime.Goexit()
	case 6, 7:
		status = 500
	case 8:
		status = 503
		header.Set("Retry-After", "1")
	case 9:
		status = 429
	case 10:
		return nil, nil
	}
	w.opened.Add(1)
	return &http.Response{StatusCode: status, Header: header, Body: &whimsicalBody{Reader: http.NoBody, of: w},
		Request: req}, nil
}

// whimsicalCalls are one caller's, some of which it gives up.
func whimsicalCalls(e *Engine, w *whimsical, rng *rand.Rand, n int) (served int) {
	client := e.Client(&http.Client{Transport: w})
	for range n {
		ctx := WithCall(context.Background(), CallOptions{Explained: rng.IntN(2) == 0})
		if rng.IntN(4) == 0 { // else only the call itself ends its attempts' contexts
			given, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Duration(rng.ExpFloat64()*float64(300*time.Millisecond)), cancel)
			ctx = given
		}
		ended := make(chan struct{})
		go func() { // which Goexit and a panic end
			defer close(ended)
			defer func() { recover() }()
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://a.example/x", nil)
			resp, err := client.Do(req)
			if err != nil {
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				served++
			}
		}()
		<-ended
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
	}
	return served
}

// TestHedgeProperty: whatever servers, transports and callers do, every permit is settled once, every body
// is closed, every context ends, and re-attempts stay within the budget.
func TestHedgeProperty(t *testing.T) {
	var hedges uint64
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			w := &whimsical{rng: rand.New(rand.NewPCG(seed, 0))}
			e, err := New(Options{Policy: policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{Timeout: policy.Ptr(3 * time.Second),
				AttemptTimeout: policy.Ptr(time.Second), HedgingPolicy: &policy.HedgingSettings{
					HedgingDelay: policy.Ptr(100 * time.Millisecond), Quantile: policy.Ptr(0.8)}}}}, Seed: seed + 1})
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			var served atomic.Int64
			for i := range uint64(3) {
				all.Go(func() { served.Add(int64(whimsicalCalls(e, w, rand.New(rand.NewPCG(seed, 1+i)), 60))) })
			}
			all.Wait()
			h := e.Health().Targets[0]
			hedges += h.Hedges
			target := e.targets.ByKey[target.Key{Scheme: "http", Host: "a.example"}]
			if n := target.InFlight.Load(); n != 0 {
				t.Errorf("seed %d: %d permits are not settled", seed, n)
			}
			if n := target.Users.Load(); n != 0 {
				t.Errorf("seed %d: %d calls have not ended", seed, n)
			}
			if o, c := w.opened.Load(), w.closed.Load(); o != c {
				t.Errorf("seed %d: %d bodies were opened, %d closed", seed, o, c)
			}
			for _, ctx := range w.contexts {
				if !errors.Is(ctx.Err(), context.Canceled) {
					t.Errorf("seed %d: the context of an attempt has not ended", seed)
				}
			}
			if most := float64(h.Calls) + 1 + 0.1*float64(served.Load()); float64(w.sent.Load()) > most {
				t.Errorf("seed %d: %d attempts, at most %v", seed, w.sent.Load(), most)
			}
			if uint64(w.sent.Load()) != h.Attempts {
				t.Errorf("seed %d: %d attempts were counted, %d sent", seed, h.Attempts, w.sent.Load())
			}
		})
	}
	if hedges < 200 {
		t.Errorf("%d hedges: it proves nothing", hedges)
	}
}

// TestHedgeInTheSameMoment: an answer that comes as its hedge is due waits for nothing.
func TestHedgeInTheSameMoment(t *testing.T) {
	const due = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Options{Policy: policy.Document{Defaults: policy.Settings{Call: policy.CallSettings{HedgingPolicy: &policy.HedgingSettings{Quantile: policy.Ptr(0.9)}},
			Target: policy.TargetSettings{RetryBudget: &policy.BudgetSettings{Ratio: policy.Ptr(1.0)}}}}, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		takes := time.Duration(due)
		client := e.Client(&http.Client{Transport: exactly(func() time.Duration { return takes })})
		for range 2000 {
			for _, target := range e.targets.ByKey {
				if hedged := target.Late(maphash.Comparable(e.hashSeed, [3]string{"GET", "/x", ""})); hedged > 0 {
					takes = hedged
				}
			}
			began := time.Now()
			resp, err := client.Get("http://a.example/x")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if took := time.Since(began); took != takes {
				t.Fatalf("took %v", took)
			}
		}
		if e.Health().Targets[0].Hedges == 0 {
			t.Error("no hedge: it proves nothing")
		}
	})
}

// exactly is a server whose answers take the time that it returns.
type exactly func() time.Duration

func (s exactly) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(s()):
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: req}, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// TestUnadmittedHedge: what a hedge was given that is not sent is all given back.
func TestUnadmittedHedge(t *testing.T) {
	e, err := New(Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := &call{visit: visit{Call: &Call{Host: "orders"}}}
	c.start(t.Context(), e)
	if refusal := c.admit(); refusal != nil {
		t.Fatal(refusal)
	}
	permit := c.permit
	for range 10 {
		p := c.admitHedge()
		if p == nil || p == permit || c.permit != permit {
			t.Fatalf("admitted %v beside %v", p, permit)
		}
		if saved, _ := c.Target.Budget.Saved(); saved != 0 {
			t.Errorf("%v re-attempts are saved beside a hedge, want 0", saved)
		}
		c.unadmitHedge(p)
		if saved, _ := c.Target.Budget.Saved(); saved != 1 {
			t.Errorf("%v re-attempts are saved, want 1", saved)
		}
	}
	permit.Done(Outcome{Class: Healthy})
	if n := c.Target.InFlight.Load(); n != 0 || c.attempts != 1 {
		t.Errorf("%d permits are not settled, %d attempts", n, c.attempts)
	}
}
