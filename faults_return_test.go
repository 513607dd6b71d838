package tether_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// A2: demand that grows after a short hold on a healthy server is served.
func TestFaultDemandGrowsAfterHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(200)}
		c := client(t, b, tether.Options{})
		var wg sync.WaitGroup
		openLoop(c, time.Second, time.Minute, &wg)
		b.becomes(always(503, "Retry-After", "2"))
		get(c, "http://api.example")
		b.becomes(always(200))
		openLoop(c, 250*time.Millisecond, 5*time.Minute, &wg)
		last := time.Now()
		openLoop(c, 250*time.Millisecond, time.Minute, &wg)
		n := b.attemptsSince(last)
		wg.Wait()
		if n < 200 {
			t.Errorf("5 min after a hold of 2 s: %d of 240 calls a minute were sent", n)
		}
	})
}

// A3: launch: first answers are 503 with a time.
func TestFaultHeldAtLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healthy := func(req *http.Request, _ int) (*http.Response, error) {
			time.Sleep(50 * time.Millisecond)
			return answer(req, 200), nil
		}
		b := &backend{serve: always(503, "Retry-After", "5")}
		c := client(t, b, tether.Options{})
		var stop atomic.Bool
		wg := workers(c, 10, &stop, "")
		time.Sleep(time.Second)
		b.becomes(healthy)
		time.Sleep(5 * time.Minute)
		last := time.Now()
		time.Sleep(time.Minute)
		after := b.attemptsSince(last) / 60
		stop.Store(true)
		wg.Wait()
		if after < 150 {
			t.Errorf("10 workers that could do 200 calls/s do %d, five minutes after a hold of 5 s", after)
		}
	})
}

// J: law 5: the result of a lapsed probe changes nothing.
func TestFaultLateProbeDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &backend{serve: dead}
		c := client(t, b, tether.Options{})
		for range 6 {
			get(c, "http://api.example")
		}
		time.Sleep(6 * time.Second)
		b.becomes(func(req *http.Request, _ int) (*http.Response, error) { <-release; return answer(req, 200), nil })
		var wg sync.WaitGroup
		wg.Go(func() { get(c, "http://api.example") })
		synctest.Wait()
		b.becomes(always(200))
		for range 600 {
			time.Sleep(500 * time.Millisecond)
			get(c, "http://api.example")
		}
		began := time.Now()
		get(c, "http://api.example")
		get(c, "http://api.example")
		if took := time.Since(began); took != 0 {
			t.Fatalf("not calm: %v", took)
		}
		close(release)
		wg.Wait()
		began = time.Now()
		for range 5 {
			get(c, "http://api.example")
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("five calls took %v after a lapsed probe's answer", took)
		}
		t.Logf("health: %v/s", c.Engine().Health().Targets[0].PacedPerSecond)
	})
}

// Q: Ended is decided by chance.
func TestFaultEndedByChance(t *testing.T) {
	ended, other := 0, 0
	for i := range 40 {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{serve: dead}
			c := client(t, b, tether.Options{Seed: uint64(i + 1)})
			for range 5 {
				get(c, "http://api.example")
			}
			time.Sleep(6 * time.Second)
			hang := make(chan struct{})
			b.becomes(func(req *http.Request, _ int) (*http.Response, error) { <-hang; return nil, errRefused })
			var wg sync.WaitGroup
			wg.Go(func() { get(c, "http://api.example") })
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://api.example", nil)
			_, err := c.Do(req)
			if os.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
				ended++
			} else {
				other++
			}
			close(hang)
			wg.Wait()
		})
	}
	if ended*other != 0 || other == 40 {
		t.Errorf("the deadline ended the wait 40 times, the error says so %d times", ended)
	}
}

// T: never asleep towards a deadline that the next attempt can't meet: pacing with nothing in flight.
func TestFaultPacedSleepsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: always(503)}
		c := client(t, b, tether.Options{})
		for range 8 {
			get(c, "http://api.example")
		}
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://api.example", nil)
			began := time.Now()
			resp, err := c.Do(req)
			took := time.Since(began)
			cancel()
			if err == nil {
				resp.Body.Close()
				continue
			}
			r := rejected(t, err)
			if took > 150*time.Millisecond && r.RetryAt.Sub(began) > time.Second {
				t.Errorf("slept %v, with nothing under way and the next turn in %v", took, r.RetryAt.Sub(began))
				break
			}
		}
	})
}

// G: a response without a body, as fakes return it.
func TestFaultNilBody(t *testing.T) {
	b := roundTrip(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 503, Header: http.Header{}}, nil
	})
	resp, err := client(t, b, tether.Options{}).Get("http://api.example")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// U: law 13: a loop against a server whose certificate has expired.
func TestFaultLoopAgainstBadCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}
		b := &backend{serve: func(*http.Request, int) (*http.Response, error) {
			time.Sleep(20 * time.Millisecond) // a handshake
			return nil, bad
		}}
		c := client(t, b, tether.Options{})
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			get(c, "http://api.example")
		}
		if n := b.attempts(); n > 610 { // ten a second, as refusals
			t.Errorf("%d handshakes in a minute by one loop", n)
		}
	})
}
