package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask sends one request straight to the handler.
func ask(b *backend, client int) *httptest.ResponseRecorder {
	return askContext(context.Background(), b, client)
}

func askContext(ctx context.Context, b *backend, client int) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.Header.Set(clientField, strconv.Itoa(client))
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

func TestBackendServesItsCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(400, 1, 10)
		var calls sync.WaitGroup
		for range 1000 { // 2.5 s of work
			calls.Go(func() { ask(b, 0) })
		}
		time.Sleep(10 * time.Millisecond)
		calls.Wait()
		for second, want := range []int{392, 400, 200} { // 8 finish on each border
			if got := b.counts().seconds[second].good; got < want || got > want+workers {
				t.Errorf("second %d: served %d, want about %d", second, got, want)
			}
		}
		if took := time.Since(b.start); took < 2500*time.Millisecond || took > 2600*time.Millisecond {
			t.Errorf("1000 requests took %v, want about 2.5 s", took)
		}
	})
}

func TestBackendQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(400, 1, 10)
		var calls sync.WaitGroup
		for range 1408 { // 3.5 s of queue and 8 in service
			calls.Go(func() { ask(b, 0) })
		}
		synctest.Wait()
		before := time.Now()
		w := ask(b, 0)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "" {
			t.Errorf("full queue: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("a refusal took %v", waited)
		}
		calls.Wait()
		if w := ask(b, 0); w.Code != http.StatusOK {
			t.Errorf("after the queue: %d", w.Code)
		}
		var total tally
		for _, s := range b.counts().seconds {
			total.attempts += s.attempts
			total.good += s.good
			total.refused += s.refused
		}
		if want := (tally{attempts: 1410, good: 1409, refused: 1}); total != want {
			t.Errorf("counted %+v, want %+v", total, want)
		}
	})
}

func TestBackendClosesWithAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(400, 1, 10)
		var calls sync.WaitGroup
		for range 1408 {
			calls.Go(func() { ask(b, 0) })
		}
		synctest.Wait()
		close(b.closing)
		calls.Wait()
		if took := time.Since(b.start); took > b.service {
			t.Errorf("took %v, want no more than what is in service, %v", took, b.service)
		}
	})
}

func TestBackendWorksForThoseWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(400, 1, 10)
		time.Sleep(time.Second) // a worker saves no time up while it is idle
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		before := time.Now()
		askContext(ctx, b, 0)
		if took := time.Since(before); took != b.service {
			t.Errorf("took %v, want the whole service time %v", took, b.service)
		}
		if got, want := b.counts().seconds[1], (tally{attempts: 1, wasted: 1}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}

func TestBackendHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(400, 2, 10)
		start := time.Now()
		b.become(holding, start.Add(2300*time.Millisecond))
		steps := []struct {
			at         time.Duration
			client     int
			retryAfter string
			early      int // all until here
		}{
			{0, 0, "3", 0},                        // 2.3 s, rounded up
			{grace, 0, "3", 0},                    // may have left before the "no" was heard
			{grace + time.Millisecond, 0, "3", 1}, // not any more; T is 3.051 s
			{200 * time.Millisecond, 1, "3", 1},   // the other client wasn't told
			{1350 * time.Millisecond, 0, "1", 2},  // a sooner T: the latest counts
			{2500 * time.Millisecond, 0, "1", 3},  // T is 3.5 s
			{3600 * time.Millisecond, 0, "1", 3},  // T has passed: told anew
			{3600*time.Millisecond + grace, 0, "1", 3},
		}
		for _, step := range steps {
			time.Sleep(time.Until(start.Add(step.at)))
			w := ask(b, step.client)
			if got := w.Header().Get("Retry-After"); w.Code != 503 || got != step.retryAfter {
				t.Errorf("at %v: %d, Retry-After %q, want %q", step.at, w.Code, got, step.retryAfter)
			}
			if got := b.counts().early; got != step.early {
				t.Errorf("at %v: %d early attempts, want %d", step.at, got, step.early)
			}
		}
		b.become(serving, time.Time{})
		if w := ask(b, 0); w.Code != http.StatusOK || b.counts().early != 3 {
			t.Errorf("open again: %d, %d early attempts", w.Code, b.counts().early)
		}
	})
}

func TestBackendCountsEarlyAttemptsWhenOpenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(400, 1, 10)
		b.become(holding, time.Now().Add(time.Millisecond))
		ask(b, 0)
		b.become(serving, time.Time{})
		time.Sleep(500 * time.Millisecond)
		ask(b, 0)
		if got := b.counts().early; got != 1 {
			t.Errorf("%d early attempts, want 1: T was a second away", got)
		}
	})
}

func TestBackendKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(400, 1, 10)
		var calls sync.WaitGroup
		calls.Go(func() { ask(b, 0) })
		synctest.Wait()
		b.watchKill(true)
		ask(b, 0) // within grace
		time.Sleep(grace)
		ask(b, 0)
		b.watchKill(false)
		ask(b, 0)
		calls.Wait()
		if c := b.counts(); c.killed != 1 || c.inFlight != 2 {
			t.Errorf("killed %d, in flight %d, want 1 and 2", c.killed, c.inFlight)
		}
	})
}

// In an outage old connections break, new ones break, and the backend has counted both.
func TestBackendResetsConnections(t *testing.T) {
	b := newBackend(4000, 1, 10)
	if err := b.listen(); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	get := func() error {
		resp, err := client.Get("http://" + b.address)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	attempts := func() (total int) {
		for _, s := range b.counts().seconds {
			total += s.attempts
		}
		return total
	}
	if err := get(); err != nil || attempts() != 1 {
		t.Fatalf("before: %v, %d attempts", err, attempts())
	}
	b.become(resetting, time.Time{})
	for want := 2; want < 5; want++ {
		if err := get(); err == nil || attempts() != want {
			t.Errorf("outage: error %v, %d attempts, want %d", err, attempts(), want)
		}
	}
	b.become(serving, time.Time{})
	if err := get(); err != nil || attempts() != 5 {
		t.Errorf("after: %v, %d attempts", err, attempts())
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
}
