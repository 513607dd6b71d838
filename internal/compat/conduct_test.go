package compat_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tether-go/tether"
)

// subject is a client that somebody else wrote, and what is known of it.
type subject struct {
	name string
	// open returns a call that reads and one that writes, made with a wrapped client.
	open func(t *testing.T, wrapped *http.Client, url string) (read, write call)
	// healthy is what the client takes for a good answer.
	healthy http.Handler
	// inner stands between the wrapper and the network.
	inner func(http.RoundTripper) http.RoundTripper
	// repeatable says that a write may be repeated: it is a PUT, or has a key.
	repeatable bool
	// streams says that the client offers no GetBody, so that the wrapper sends a body once.
	streams bool
	// loop is how many attempts the client's own loop makes; 0 is none.
	loop int
	// loopsOver says that its loop doesn't stop at a refusal.
	loopsOver bool
}

type call func(ctx context.Context, text string) error

func subjects() []subject {
	return []subject{
		plain, plainPut, plainKey, github, resty2, restyLoop, elastic, elasticLoop, retryable,
		connectUnary, s3Single, s3Loop, otelOutside, otelInside, oauth2Outside, oauth2Inside,
	}
}

// bench is a subject at work.
type bench struct {
	subject
	*backend
	read, write call
	engine      *tether.Engine
	refuseDials *atomic.Int32
	refusals    atomic.Int32
}

// each runs a test with every client, in virtual time.
func each(t *testing.T, test func(t *testing.T, b *bench)) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{subject: s, backend: &backend{healthy: s.healthy}}
				transport, url, refuse := refusable(t, b.backend)
				b.refuseDials = refuse
				b.engine = engine(t, tether.Options{Observe: func(event tether.Event) {
					if event.Kind == tether.EventRefused {
						b.refusals.Add(1)
					}
				}})
				var base http.RoundTripper = transport
				if s.inner != nil {
					base = s.inner(base)
				}
				b.read, b.write = s.open(t, b.engine.Client(&http.Client{Transport: base}).Client, url)
				test(t, b)
			})
		})
	}
}

func works(t *testing.T, c call) {
	t.Helper()
	if err := c(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
}

func fails(t *testing.T, c call) {
	t.Helper()
	if err := c(t.Context(), "hello"); err == nil {
		t.Fatal("no error")
	}
}

// TestUnchanged: on a healthy server a wrapped client does what it did.
func TestUnchanged(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		began := time.Now()
		for range 20 {
			works(t, b.read)
			works(t, b.write)
		}
		if n := len(b.arrivals()); n != 40 {
			t.Errorf("%d requests arrived, want 40", n)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("healthy calls waited %v", took)
		}
	})
}

// TestReadsAreRepeated once, because a new client has saved one repeat.
func TestReadsAreRepeated(t *testing.T) {
	for name, fail := range map[string]failure{"503": status(503), "hangs up": hangUp} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				b.fails(fail)
				works(t, b.read)
				b.arrived(t, 2)
			})
		})
	}
}

// TestWritesAreRepeatedWhereSafe: a POST whose fate is unknown is nobody's to repeat, whatever the
// wrapper thinks of its body. Some clients' own loops do so all the same: that is their loop, not ours.
func TestWritesAreRepeatedWhereSafe(t *testing.T) {
	for name, fail := range map[string]failure{"503": status(503), "hangs up": hangUp} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				b.fails(fail)
				if b.repeatable && !b.streams || b.loop > 1 {
					works(t, b.write)
					b.arrived(t, 2)
					return
				}
				fails(t, b.write)
				b.arrived(t, 1)
			})
		})
	}
}

// TestWritesThatNeverLeftAreRepeated, with the same body.
func TestWritesThatNeverLeftAreRepeated(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.refuseDials.Store(1)
		if b.streams && b.loop <= 1 {
			fails(t, b.write)
			b.arrived(t, 0)
			return
		}
		works(t, b.write)
		b.arrived(t, 1)
		works(t, b.write) // the same text, sent at once
		b.arrived(t, 2)
	})
}

// TestEarlyAnswers: a server that refuses before it has read the body, so that the transport may still
// be sending when the body is wanted again, gets the whole of it in the end.
func TestEarlyAnswers(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		large := strings.Repeat("a large body ", 100_000)
		for i := range 5 {
			b.early.Store(1)
			err := b.write(t.Context(), large)
			if again := b.repeatable && !b.streams && i == 0 || b.loop > 1; again != (err == nil) {
				t.Errorf("write %d: %v", i, err)
			}
			b.early.Store(0)
			time.Sleep(time.Minute)
		}
		before := len(b.arrivals())
		if err := b.write(t.Context(), large); err != nil { // sent at once, for comparison
			t.Fatal(err)
		}
		b.arrived(t, before+1)
	})
}

// TestHoldsAreObeyed: no call of the process comes before the server said.
func TestHoldsAreObeyed(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.fails(notBefore)
		works(t, b.read)
		b.waited(t)
	})
}

// TestHoldsCoverLaterCalls: the call that was answered with the hold was not repeated, the next waits.
func TestHoldsCoverLaterCalls(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.fails(notBefore)
		b.write(t.Context(), "hello")
		if len(b.arrivals()) == 1 {
			works(t, b.write)
		}
		b.waited(t)
	})
}

// TestRefusalsAreFound: the reason of a refusal survives the client's wrapping, nothing is sent, and
// the client's own loop doesn't spin on it.
func TestRefusalsAreFound(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		apply(t, b.engine, kill)
		for name, c := range map[string]call{"read": b.read, "write": b.write} {
			b.refusals.Store(0)
			if err := c(t.Context(), "hello"); !isKilled(err) {
				t.Errorf("%s: %v hides the refusal", name, err)
			}
			want := 1
			if b.loopsOver {
				want = b.loop
			}
			if got := int(b.refusals.Load()); got != want {
				t.Errorf("%s: refused %d times, want %d", name, got, want)
			}
		}
		b.arrived(t, 0)
	})
}

// TestLoopsDoNotMultiply: at a server that always fails, a client's own loop costs its own attempts and
// the one repeat that was saved, not three attempts for each of its own.
func TestLoopsDoNotMultiply(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.failsForever(status(503))
		for i, saved := range []int{1, 0, 0} {
			before := len(b.arrivals())
			fails(t, b.read)
			if got, want := len(b.arrivals())-before, max(b.loop, 1)+saved; got != want {
				t.Errorf("call %d: %d requests arrived, want %d", i+1, got, want)
			}
		}
	})
}

// TestCancelled: a caller that gives up is obeyed at once, and the server isn't blamed.
func TestCancelled(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.failsForever(func(http.ResponseWriter) { time.Sleep(time.Hour) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := b.read(ctx, "hello"); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		b.arrived(t, 1)
	})
}
